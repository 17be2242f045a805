package sigwardvar

import (
	"encoding/json"
	"expvar"
	"testing"
)

func TestPublished(t *testing.T) {
	var got map[string]uint64
	if err := json.Unmarshal([]byte(expvar.Get("sigward").String()), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Deliveries", "Swallowed", "Chained", "Unattributed", "Overwritten", "RacesRepaired", "CyclesCut", "EventsDropped",
		"Faults", "Patches", "Healed", "Maps"} {
		if _, ok := got[name]; !ok {
			t.Errorf("no %s in %v", name, got)
		}
	}
}
