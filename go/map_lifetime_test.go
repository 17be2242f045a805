//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigward/sigward/go/internal/foreign"
)

// settles waits until a condition holds that the garbage collector brings about.
func settles(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if holds() {
			return
		}
		runtime.GC()
	}
	t.Errorf("%s: not after a minute of collections", what)
}

func maps(t *testing.T) uint64 {
	t.Helper()
	all, err := Counters()
	if err != nil {
		t.Fatal(err)
	}
	return all.Maps
}

// settledMaps is how many maps there are when what earlier tests closed is given back.
func settledMaps(t *testing.T) uint64 {
	t.Helper()
	settles(t, "earlier tests", func() bool { return waiting.Load() == 0 })
	return maps(t)
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// areas counts the mappings of files under a path.
func areas(t *testing.T, path string) int {
	t.Helper()
	all, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(all), path)
}

func TestEverythingIsGivenBack(t *testing.T) {
	content := pattern(page, 0)
	path := file(t, content)
	mapsBefore, descriptorsBefore := settledMaps(t), descriptors(t)
	one := make([]byte, 1)
	for i := 0; i < 600; i++ {
		m, err := OpenWith(path, Options{Strict: i%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		handOut := func() {
			if i%3 == 0 && sum(m.Bytes()) != sum(content) {
				t.Error("not the content")
			}
		}
		handOut()
		if i%5 == 0 {
			replace(t, path, content)
			if err := m.Refresh(); err != nil {
				t.Fatal(err)
			}
			handOut()
		}
		if _, err := m.ReadAt(one, 0); err != nil && i%2 != 0 {
			t.Fatal(err)
		}
		if i%3 == 0 || i%7 == 0 { // others are just dropped
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	settles(t, "maps", func() bool { return maps(t) == mapsBefore })
	settles(t, "areas", func() bool { return areas(t, path) == 0 })
	settles(t, "descriptors", func() bool { return descriptors(t) <= descriptorsBefore })
	settles(t, "the count of those that wait", func() bool { return waiting.Load() == 0 })
}

func TestSlicesOutliveTheMap(t *testing.T) {
	content := pattern(2*page, 0)
	folder := t.TempDir()
	path := folder + "/data"
	write(t, path, content)
	mapsBefore, descriptorsBefore := settledMaps(t), descriptors(t)

	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	slices := [][]byte{m.Bytes()}
	for version := byte(1); version < 4; version++ {
		replace(t, path, pattern(2*page, version))
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		slices = append(slices, m.Bytes())
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	collect := func() {
		for i := 0; i < 30; i++ {
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
	}
	collect()
	for version, slice := range slices {
		if want := pattern(2*page, byte(version)); !bytes.Equal(slice, want) ||
			foreign.Sum(slice) != sum(want) {
			t.Errorf("version %d has changed after Close", version)
		}
	}
	if got := maps(t); got != mapsBefore+4 {
		t.Errorf("%d maps, want 4", got-mapsBefore)
	}
	truncate(t, path, page) // still guarded
	if got, want := sum(slices[3]), sum(pattern(2*page, 3)[:page]); got != want {
		t.Errorf("truncated after Close: sum %d, want %d", got, want)
	}
	runtime.KeepAlive(m)

	m = nil
	settles(t, "maps", func() bool { return maps(t) == mapsBefore })
	settles(t, "areas", func() bool { return areas(t, folder) == 0 })
	settles(t, "descriptors", func() bool { return descriptors(t) <= descriptorsBefore })
	collect()
	others := make([]*Map, 50) // must not get the same addresses
	for i := range others {
		others[i] = open(t, path, Options{})
	}
	for version, slice := range slices {
		if foreign.Sum(slice) != 0 || sum(slice) != 0 {
			t.Errorf("version %d must read as zeros", version)
		}
	}
}

// A Map that nobody closes may be nothing but its slice.
func TestASliceOfADroppedMap(t *testing.T) {
	content := pattern(2*page, 0)
	slice := func() []byte {
		m, err := Open(file(t, content))
		if err != nil {
			t.Fatal(err)
		}
		return m.Bytes()
	}()
	for i := 0; i < 30; i++ {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if !bytes.Equal(slice, content) {
		t.Error("the content is gone")
	}
}

// Descriptors are Go's to give back only when it collects: it must do so when they run out, and
// before.
func fewDescriptors(t *testing.T) {
	path := file(t, pattern(page, 0))
	debug.SetGCPercent(-1)
	limit := func(to uint64) {
		err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: to, Max: 1024})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(64) // runs out before the collection that Close starts
	for i := 0; i < 500; i++ {
		m, err := Open(path)
		if err != nil {
			t.Fatalf("at %d: %v", i, err)
		}
		m.Close()
	}
	limit(1024) // does not: nobody asks for the collection
	for i := 0; i < waitingLimit+50; i++ {
		m, err := Open(path)
		if err != nil {
			t.Fatalf("at %d: %v", i, err)
		}
		m.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for ; waiting.Load() > waitingLimit/2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait to be given back", waiting.Load())
		}
	}
	var held []*Map
	limit(64)
	for i := 0; i < 100; i++ {
		m, err := Open(path)
		if err != nil {
			if !errors.Is(err, syscall.EMFILE) {
				t.Errorf("out of descriptors: %v", err)
			}
			break
		}
		held = append(held, m)
	}
	if len(held) == 100 {
		t.Fatal("the limit is none")
	}
	last := len(held) - 1
	closeAfterAnother(held[last])
	held[last] = nil
	if _, err := Open(path); err != nil {
		t.Errorf("with a descriptor to come: %v", err)
	}
	runtime.KeepAlive(held)
	limit(1024)
}

// closeAfterAnother closes m so that something is given back that frees no descriptor, and m's own
// only in the collection after that one. A waiter sees the same when its last call took the
// descriptor that a finalizer had just closed.
func closeAfterAnother(m *Map) {
	later := m.current.Load().ground
	m.Close()
	new(ground).leave(func(*ground) {
		runtime.KeepAlive(later)
		waiting.Add(-1)
	})
}

func TestFewDescriptors(t *testing.T) { passes(t, "few descriptors") }

// The collector at its most eager, with what it frees overwritten.
func TestMapsUnderAnEagerCollector(t *testing.T) {
	for _, environment := range []string{
		"GODEBUG=clobberfree=1,gccheckmark=1",
		"GODEBUG=gcstoptheworld=1",
		"GODEBUG=asyncpreemptoff=1",
	} {
		passes(t, "readers", "GOGC=1", environment)
		passes(t, "slices", "GOGC=1", environment)
	}
}
