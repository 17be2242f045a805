//go:build cgo && linux && (amd64 || arm64)

package sigwardprom

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	sigward "github.com/sigward/sigward/go"
	"github.com/sigward/sigward/go/internal/foreign"
)

func writeBroken(t *testing.T, count int) {
	t.Helper()
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ends[1])
	syscall.Close(ends[0])
	for n := 0; n < count; n++ {
		if err := foreign.Write(ends[1]); err != syscall.EPIPE {
			t.Fatalf("%v", err)
		}
	}
}

// lose reads a page that the file no longer has.
func lose(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, make([]byte, 1<<15), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := sigward.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	foreign.Sum(m.Bytes())
}

const (
	written = "sigward_sigpipe_total call=write kind=pipe library=sigwardprom.test"
	lost    = "sigward_sigbus_total access=read cause=truncated library=sigwardprom.test"
	when    = "sigward_last_event_timestamp_seconds signal="
)

func TestEventsAreCounted(t *testing.T) {
	c := New()
	before := page(t, c)
	began := time.Now()
	writeBroken(t, 3)
	lose(t)
	after := page(t, c)
	for name, grown := range map[string]float64{
		written: 3, "sigward_sigpipe_swallowed_total": 3, "sigward_deliveries_total": 4,
		lost: 1, "sigward_sigbus_faults_total": 1, "sigward_sigbus_patches_total": 1,
		"sigward_events_missed_total": 0, "sigward_maps": 1, "sigward_armed signal=SIGPIPE": 0,
	} {
		if after[name]-before[name] != grown {
			t.Errorf("%s: %v, then %v", name, before[name], after[name])
		}
	}
	for _, signal := range []string{"SIGPIPE", "SIGBUS"} {
		if after["sigward_armed signal="+signal] != 1 {
			t.Errorf("%s is not armed", signal)
		}
		// Somebody may set the clock meanwhile.
		if age := after[when+signal] - float64(began.UnixNano())/1e9; age < -60 || age > 600 {
			t.Errorf("%s: the latest event was %v s after the test began", signal, age)
		}
	}
	if again := page(t, c); again[written] != after[written] || again[lost] != after[lost] {
		t.Errorf("counted twice: %v", again)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// More than the library keeps between two scrapes: each is counted, or missed.
func TestWhatIsMissedIsCounted(t *testing.T) {
	const many = 700
	c, late := New(), New()
	before := page(t, c)
	writeBroken(t, many)
	after, all := page(t, c), page(t, late)
	counted := after[written] - before[written]
	missed := after["sigward_events_missed_total"] - before["sigward_events_missed_total"]
	if counted+missed != many || missed < many-512 || counted < 256 {
		t.Errorf("%v and %v are not %d", counted, missed, many)
	}
	// The one that was never asked before has missed what was before as well.
	whole := all[written] + all[lost] + all["sigward_events_missed_total"]
	if whole < many || all["sigward_events_missed_total"] < missed {
		t.Errorf("%v of %d", whole, many)
	}
}

func TestScrapesAtOnceCountEachEventOnce(t *testing.T) {
	c := New()
	before := page(t, c)
	var scrapes sync.WaitGroup
	for n := 0; n < 4; n++ {
		scrapes.Add(1)
		go func() {
			defer scrapes.Done()
			for n := 0; n < 20; n++ {
				testutil.CollectAndCount(c)
			}
		}()
	}
	writeBroken(t, 200)
	scrapes.Wait()
	if after := page(t, c); after[written]-before[written] != 200 {
		t.Errorf("%v, then %v", before[written], after[written])
	}
}

func TestArmedIsAskedOfTheKernel(t *testing.T) {
	if err := sigward.Restore(); err != nil {
		t.Fatal(err)
	}
	restored := page(t, New())
	if err := sigward.Filter(); err != nil {
		t.Fatal(err)
	}
	filtered := page(t, New())
	const name = "sigward_armed signal=SIGPIPE"
	if restored[name] != 0 || filtered[name] != 1 || restored["sigward_armed signal=SIGBUS"] != 1 {
		t.Errorf("%v, then %v", restored[name], filtered[name])
	}
}
