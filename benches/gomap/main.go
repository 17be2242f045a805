// Command gomap measures what a Go program pays to read a guarded map and to append to a log, and
// prints rows for benches/run: ReadAt against copy from a plain map, and against
// debug.SetPanicOnFault with a recover for every access; Append against C's through cgo.
//
// The sides take turns, one short batch each, on one thread; the figures are medians. A copy that
// brought the wrong bytes fails the run.
package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	sigward "github.com/sigward/sigward/go"
)

const (
	length = 1 << 20
	rounds = 400
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: gomap FOLDER")
	}
	// No collector and no other thread of ours in between.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	path := filepath.Join(os.Args[1], "gomap.data")
	must(os.WriteFile(path, content(), 0o600))
	file, err := os.Open(path)
	must(err)
	plain, err := syscall.Mmap(int(file.Fd()), 0, length, syscall.PROT_READ, syscall.MAP_SHARED)
	must(err)
	guarded, err := sigward.Open(path)
	must(err)

	readAt := func(buffer []byte, at int) {
		if n, err := guarded.ReadAt(buffer, int64(at)); n != len(buffer) || err != nil {
			fail("ReadAt: ", n, " ", err)
		}
	}
	plainCopy := func(buffer []byte, at int) { copy(buffer, plain[at:at+len(buffer)]) }
	byHand := func(buffer []byte, at int) { must(recovered(buffer, plain, at)) }

	for _, row := range []struct {
		name        string
		size, count int
		peer        func([]byte, int)
		target      string
	}{
		{"Go ReadAt / copy, 16 B", 16, 20_000, plainCopy, "1.5"},
		{"Go ReadAt / copy, 4 KiB", 4096, 4_000, plainCopy, "-"},
		{"Go ReadAt / SetPanicOnFault, 16 B", 16, 20_000, byHand, "-"},
		{"Go ReadAt / SetPanicOnFault, 4 KiB", 4096, 4_000, byHand, "-"},
	} {
		copies := func(side func([]byte, int)) func() float64 {
			return func() float64 { return batch(row.size, row.count, side) }
		}
		measure(row.name, copies(readAt), copies(row.peer), row.target)
	}
	measureAppend(os.Args[1], 64, "1.0")
	measureAppend(os.Args[1], 4096, "-")
}

// recovered copies as a careful Go programmer does without us: a fault becomes a panic, and that an
// error.
func recovered(buffer, plain []byte, at int) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the map is gone: %v", cause)
		}
	}()
	copy(buffer, plain[at:at+len(buffer)])
	return nil
}

func byteAt(at int) byte { return byte(at%251 + 1) }

func content() []byte {
	all := make([]byte, length)
	for i := range all {
		all[i] = byteAt(i)
	}
	return all
}

// batch returns the nanoseconds of one copy, over count of them.
func batch(size, count int, side func([]byte, int)) float64 {
	buffer := make([]byte, size)
	place := 0
	start := time.Now()
	for i := 0; i < count; i++ {
		place = i * 61 % (1 << 16)
		side(buffer, place)
	}
	took := time.Since(start)
	if buffer[0] != byteAt(place) || buffer[size-1] != byteAt(place+size-1) {
		fail("the copy is wrong")
	}
	return float64(took.Nanoseconds()) / float64(count)
}

// measure prints a row: name, unit, ours, peer, ratio, its 95 % interval, target.
func measure(name string, ours, peer func() float64, target string) {
	var mine, theirs, ratios []float64
	for round := 0; round < rounds; round++ {
		var a, b float64
		// Who goes first changes: the second finds warmer caches.
		if round%2 == 0 {
			a, b = ours(), peer()
		} else {
			b, a = peer(), ours()
		}
		mine, theirs, ratios = append(mine, a), append(theirs, b), append(ratios, a/b)
	}
	for _, values := range [][]float64{mine, theirs, ratios} {
		slices.Sort(values)
	}
	// The 95 % interval of a median lies 0.98 sqrt(n) ranks to both sides.
	middle, reach := rounds/2, int(0.98*math.Sqrt(rounds))+1
	fmt.Printf("%s\tns\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%s\n", name, mine[middle], theirs[middle],
		ratios[middle], ratios[middle-reach], ratios[middle+reach], target)
}

func must(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(what ...any) {
	fmt.Fprintln(os.Stderr, "gomap:", fmt.Sprint(what...))
	os.Exit(1)
}
