// Command soak runs every kind of user of guarded maps at once, in a Go process with an eager
// collector, preemption signals, a CPU profile, panics on fault, C threads and children:
//
//	soak SECONDS FOLDER FOLDER [bare]
//
// It prints one line of figures and exits 1 if one of the wrongs is not 0, 2 if something that
// should be tested did not happen. The first folder is in memory. How it judges is in oracle.go.
// Bare, nobody handles SIGBUS: it must die.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sigward "github.com/sigward/sigward/go"
)

// counts are what happened, and the wrongs.
var counts struct {
	reads, bytes, flagged, exempt, writes, flushes, opens, closes, refreshes atomic.Uint64
	cuts, grows, rewrites, replaces, children, collections, neighbours       atomic.Uint64
	foreign, stale, adopted, libraries, native, faults, patches              atomic.Uint64

	clobbers, stolen, lost, unflagged, wrong, liars, unexpected, leaks atomic.Uint64
}

// firstWrong is how many fields of counts must not be 0.
const firstWrong = 23

// patience is how much longer than asked for it runs until each of them has happened, some of which
// are rare, and how long whatever must come at last is waited for.
const patience = 2 * time.Minute

var (
	folders [2]string
	stop    atomic.Bool
	told    atomic.Int32
)

func going() bool { return !stop.Load() }

func rest(most int64) { time.Sleep(time.Duration(rand.Int63n(most)) * time.Microsecond) }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// wrong counts a violation, tells the first few, and ends the run.
func wrong(which *atomic.Uint64, format string, arguments ...any) {
	which.Add(1)
	if told.Add(1) <= 10 {
		fmt.Fprintf(os.Stderr, "wrong: "+format+"\n", arguments...)
	}
	stop.Store(true)
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	must(err)
	folders = [2]string{os.Args[2], os.Args[3]}
	debug.SetGCPercent(5)
	runtime.GOMAXPROCS(8)
	for i := range slots {
		s := &slots[i]
		s.path = fmt.Sprintf("%s/map%d", folders[i%2], i)
		s.immovable = i < len(slots)/2
		s.file.Store(note(newFile(s.path)))
	}
	if len(os.Args) > 4 && os.Args[4] == "bare" {
		unguard()
	}
	must(pprof.StartCPUProfile(io.Discard))
	go stuck(time.Duration(seconds*float64(time.Second)) + 3*patience)
	run(seconds/4, 0)
	before := descriptors()
	if going() || told.Load() == 0 {
		run(seconds*3/4, patience)
		compare(before)
	}
	pprof.StopCPUProfile()
	os.Exit(report())
}

// run lets all of them loose, and gives everything back. It runs for longer while something has not
// happened yet.
func run(seconds float64, longer time.Duration) {
	stop.Store(false)
	var all sync.WaitGroup
	kinds := []struct {
		run   func()
		count int
	}{
		{reader, 5}, {writer, 2}, {opener, 3}, {refresher, 2}, {staleReader, 1}, {truncator, 2},
		{grower, 2}, {replacer, 1}, {starter, 1}, {collector, 1}, {busy, 1}, {neighbour, 1},
		{foreigner, 1}, {adopter, 2}, {library, 1},
	}
	for _, kind := range kinds {
		for i := 0; i < kind.count; i++ {
			all.Add(1)
			go func(run func()) {
				defer all.Done()
				run()
			}(kind.run)
		}
	}
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	for last := end.Add(longer); going() && time.Now().Before(last); {
		if _, _, idle := figures(); idle == "" && time.Now().After(end) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	for i := range pool {
		if v := pool[i].Swap(nil); v != nil {
			v.m.Close()
		}
	}
	settle()
}

// settle waits until the collector has given back what nobody uses.
func settle() {
	for i := range alive {
		alive[i].Store(nil)
	}
	for i := range slots {
		note(slots[i].file.Load())
	}
	for try, last := 0, time.Now().Add(patience/2); time.Now().Before(last); try++ {
		runtime.GC()
		if c, err := sigward.Counters(); err == nil && c.Maps == 0 && try > 5 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func descriptors() int {
	open, err := os.ReadDir("/proc/self/fd")
	must(err)
	return len(open)
}

func compare(before int) {
	c, err := sigward.Counters()
	must(err)
	if c.Maps != 0 {
		wrong(&counts.leaks, "%d maps are still registered", c.Maps)
	}
	// Files of Go's own wait for the collector.
	last := time.Now().Add(patience / 4)
	for descriptors() > before+2 && time.Now().Before(last) {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	if now := descriptors(); now > before+2 {
		wrong(&counts.leaks, "%d descriptors, now %d", before, now)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	must(err)
	for _, folder := range folders {
		if n := strings.Count(string(maps), folder); n > 0 {
			wrong(&counts.leaks, "%d mappings of files in %s", n, folder)
		}
	}
}

// figures are all counts by name, the sum of the wrongs, and what has not happened.
func figures() (all map[string]uint64, wrongs uint64, idle string) {
	c, err := sigward.Counters()
	must(err)
	counts.faults.Store(c.Faults)
	counts.patches.Store(c.Patches)
	fields := reflect.ValueOf(&counts).Elem()
	all = map[string]uint64{}
	for i := 0; i < fields.NumField(); i++ {
		name := fields.Type().Field(i).Name
		number := (*atomic.Uint64)(fields.Field(i).Addr().UnsafePointer()).Load()
		all[name] = number
		switch {
		case i >= firstWrong:
			wrongs += number
		case number == 0:
			idle += " " + name
		}
	}
	return all, wrongs, idle
}

func report() int {
	all, wrongs, idle := figures()
	text, err := json.Marshal(all)
	must(err)
	fmt.Println(string(text))
	switch {
	case wrongs > 0:
		return 1
	case idle != "":
		fmt.Fprintln(os.Stderr, "did not happen at all, so nothing is proved:"+idle)
		return 2
	}
	return 0
}

func stuck(after time.Duration) {
	time.Sleep(after)
	fmt.Fprintln(os.Stderr, "stuck: the goroutines did not end")
	pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	os.Exit(1)
}
