package sigwardvar

import (
	"encoding/json"
	"expvar"
	"reflect"
	"testing"

	sigward "github.com/sigward/sigward/go"
)

func TestPublished(t *testing.T) {
	var got map[string]uint64
	if err := json.Unmarshal([]byte(expvar.Get("sigward").String()), &got); err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeOf(sigward.CounterValues{})
	for i := 0; i < fields.NumField(); i++ {
		if name := fields.Field(i).Name; len(got) != fields.NumField() || !has(got, name) {
			t.Errorf("no %s in %v", name, got)
		}
	}
	var status sigward.StatusReport
	if err := json.Unmarshal([]byte(expvar.Get("sigward_status").String()), &status); err != nil {
		t.Fatal(err)
	}
	if status != sigward.Status() || status == (sigward.StatusReport{}) {
		t.Errorf("%+v", status)
	}
}

func has(values map[string]uint64, name string) bool {
	_, ok := values[name]
	return ok
}
