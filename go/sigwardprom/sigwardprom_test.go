package sigwardprom

import (
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	sigward "github.com/sigward/sigward/go"
)

// page is what a scrape of this collector says: by name and labels, in one string.
func page(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.Metric {
			name := family.GetName()
			for _, label := range metric.Label {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return values
}

// A field that CounterValues gets later needs a metric here.
func TestEveryCounterIsOneMetric(t *testing.T) {
	var values sigward.CounterValues
	fields := reflect.ValueOf(&values).Elem()
	for i := 0; i < fields.NumField(); i++ {
		fields.Field(i).SetUint(uint64(i + 1))
	}
	seen := map[uint64]int{}
	for _, counter := range counters {
		seen[counter.of(&values)]++
	}
	for i := 0; i < fields.NumField(); i++ {
		if count := seen[uint64(i+1)]; count != 1 {
			t.Errorf("%s: %d metrics", fields.Type().Field(i).Name, count)
		}
	}
}

func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	problems, err := testutil.CollectAndLint(New())
	if err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// The README and the comment of New name each metric, and none that is not there.
func TestEachMetricIsDocumented(t *testing.T) {
	described := map[string]bool{}
	descs := make(chan *prometheus.Desc, 100)
	New().Describe(descs)
	close(descs)
	for desc := range descs {
		described[regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(desc.String())[1]] = true
	}
	for _, name := range []string{"README.md", "sigwardprom.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "sigwardprom.go" {
			text = regexp.MustCompile(`(?s)// New returns.*?\nfunc New`).Find(text)
		}
		said := map[string]bool{}
		for _, metric := range regexp.MustCompile(`\bsigward_\w+`).FindAllString(string(text), -1) {
			said[metric] = true
		}
		if !reflect.DeepEqual(said, described) {
			t.Errorf("%s says %v, there are %v", name, said, described)
		}
	}
}
