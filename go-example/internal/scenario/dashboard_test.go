package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
)

// A query is one expression of the dashboard, as Prometheus gets it, and the labels that its legend
// shows.
type query struct {
	panel, expression string
	legend            []string
}

// dashboard are the queries of grafana/sigward.json, with the variables filled in.
func dashboard(t *testing.T) (queries []query) {
	t.Helper()
	text, err := os.ReadFile("../../grafana/sigward.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "10s").Replace
	for _, variable := range board.Templating.List {
		if about, ok := variable.Query.(map[string]any); ok {
			m := labelValues.FindStringSubmatch(fmt.Sprint(about["query"]))
			if m == nil {
				t.Fatalf("the variable %s asks %v", variable.Name, about)
			}
			queries = append(queries, query{"$" + variable.Name, fill(m[1]), []string{m[2]}})
		}
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			q := query{panel: panel.Title, expression: fill(target.Expr)}
			for _, m := range shown.FindAllStringSubmatch(target.LegendFormat, -1) {
				q.legend = append(q.legend, m[1])
			}
			queries = append(queries, q)
		}
	}
	if len(queries) < 20 {
		t.Fatalf("%d queries", len(queries))
	}
	return queries
}

var (
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	shown       = regexp.MustCompile(`\{\{(\w+)\}\}`)
	matchers    = regexp.MustCompile(`\{[^}]*\}`)
	matched     = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping    = regexp.MustCompile(`\b(?:by|without)\s*\(([^)]*)\)`)
	ranges      = regexp.MustCompile(`\[[^\]]*\]`)
	identifier  = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
)

// names are the metrics and the labels that an expression names.
func names(expression string) (metrics, labels []string) {
	for _, selector := range matchers.FindAllString(expression, -1) {
		for _, m := range matched.FindAllStringSubmatch(selector, -1) {
			labels = append(labels, m[1])
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expression, -1) {
		labels = append(labels, strings.Fields(strings.ReplaceAll(m[1], ",", " "))...)
	}
	for _, part := range []*regexp.Regexp{matchers, grouping, ranges} {
		expression = part.ReplaceAllString(expression, " ")
	}
	for _, word := range identifier.FindAllString(expression, -1) {
		if !strings.HasSuffix(word, "(") { // a function
			metrics = append(metrics, strings.TrimSpace(word))
		}
	}
	return metrics, labels
}

// unknown are the names that the page of metrics does not have: labels of each metric by its name.
func unknown(q query, page map[string]map[string]bool) (missing []string) {
	metrics, labels := names(q.expression)
	if len(metrics) == 0 {
		missing = append(missing, "any metric")
	}
	have := map[string]bool{"job": true, "instance": true} // Prometheus' own
	for _, metric := range metrics {
		if page[metric] == nil {
			missing = append(missing, metric)
		}
		for label := range page[metric] {
			have[label] = true
		}
	}
	for _, label := range append(labels, q.legend...) {
		if !have[label] {
			missing = append(missing, label)
		}
	}
	return missing
}

func metricsPage(t *testing.T, api string) map[string]map[string]bool {
	t.Helper()
	response, err := metricsClient.Get("http://" + api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	families, err := (&expfmt.TextParser{}).TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := map[string]map[string]bool{}
	for name, family := range families {
		page[name] = map[string]bool{}
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				page[name][label.GetName()] = true
			}
		}
	}
	return page
}

// TestDashboard holds each query of the dashboard against what the real service says, and, where
// there is a Prometheus, against that.
func TestDashboard(t *testing.T) {
	ctx := context.Background()
	options := Quick(binaries(t))
	var err error
	if options.Generations, err = WriteGenerations(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	journal := filepath.Join(t.TempDir(), "journal.log")
	d, err := options.database(ctx, wardedBuild, overwritten, "-journal", journal)
	defer d.end()
	if err != nil {
		t.Fatal(err)
	}
	d.orders.start(d.service.addresses.API)
	defer d.orders.stop()
	happen := func() {
		if err := d.collector.upgrade(ctx); err != nil {
			t.Fatal(err)
		}
		if err := d.reopen(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); d.counter("sigward_sigpipe_swallowed_total") == 0 ||
		d.counter(faults) == 0; happen() {
		d.service.exitedWithin(ctx, interval)
		if time.Since(start) > patience {
			t.Fatal("no signal has come")
		}
	}

	queries, page := dashboard(t), metricsPage(t, d.service.addresses.API)
	for _, q := range queries {
		if missing := unknown(q, page); len(missing) != 0 {
			t.Errorf("%s: the service has no %v: %s", q.panel, missing, q.expression)
		}
	}
	// Any other name would be found missing.
	for _, q := range []query{
		{expression: "sum(rate(sigward_sigpipes_total[5m]))"},
		{expression: `sigward_sigpipe_total{lib="a"}`},
		{expression: "sum by (kind, cause) (sigward_sigpipe_total)"},
		{expression: "sigward_maps", legend: []string{"signal"}},
		{expression: "time()"},
	} {
		if len(unknown(q, page)) != 1 {
			t.Errorf("%s: %v", q.expression, unknown(q, page))
		}
	}

	if t.Failed() {
		return // Prometheus would say the same, much later
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("no Prometheus here (apt-get install prometheus): its answers are not looked at")
	}
	server := startPrometheus(t, program, d.service.addresses.API)
	for start := time.Now(); len(queries) > 0; happen() {
		var left []query
		for _, q := range queries {
			if !server.answers(q) {
				left = append(left, q)
			}
		}
		if queries = left; time.Since(start) > patience {
			t.Fatalf("Prometheus has no answer: %+v", queries)
		}
		d.service.exitedWithin(ctx, time.Second)
	}
}

type prometheus struct{ address string }

// startPrometheus starts it with grafana/prometheus.yml, for this service, and faster.
func startPrometheus(t *testing.T, program, api string) prometheus {
	t.Helper()
	text, err := os.ReadFile("../../grafana/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := string(text)
	for old, now := range map[string]string{
		`"127.0.0.1:8080"`:    `"` + api + `"`,
		"scrape_interval: 5s": "scrape_interval: 500ms",
	} {
		if strings.Count(config, old) != 1 {
			t.Fatalf("grafana/prometheus.yml has not one %s", old)
		}
		config = strings.Replace(config, old, now, 1)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+address, "--log.level=error")
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return prometheus{address}
}

// answers says whether there is data for the query, with the labels that its legend shows.
func (p prometheus) answers(q query) bool {
	address := "http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(q.expression)
	response, err := http.Get(address)
	if err != nil {
		return false // it is still starting
	}
	defer response.Body.Close()
	var answer struct {
		Status string
		Data   struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil || answer.Status != "success" {
		return false
	}
	for _, series := range answer.Data.Result {
		for _, label := range q.legend {
			if series.Metric[label] == "" {
				return false
			}
		}
	}
	return len(answer.Data.Result) > 0
}
