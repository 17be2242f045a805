package main

// Maps in the pool: those who open, read, write, refresh and close them. Nobody waits for anybody:
// a map may be closed or refreshed while others read it.

import (
	"errors"
	"io"
	"math/rand"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

const chunk = 2 * page

// slot is a name of the pool. Files of every second one are replaced by rename; maps of the others
// are refreshed, so that it is always known which file a map is of.
type slot struct {
	path      string
	replaced  atomic.Uint64 // odd during a rename
	file      atomic.Pointer[file]
	immovable bool
}

type view struct {
	m        *sigward.Map
	file     *file
	slot     *slot
	options  sigward.Options
	slices   bool // Bytes may be called: such a map must be closed
	finished atomic.Bool
}

var (
	slots [8]slot
	pool  [16]atomic.Pointer[view]
)

func openView() *view {
	s := &slots[rand.Intn(len(slots))]
	before := s.replaced.Load()
	v := &view{slot: s, file: s.file.Load(), slices: rand.Intn(3) == 0}
	v.options.Writable = rand.Intn(3) == 0
	v.options.CopyOnWrite = rand.Intn(5) == 0
	v.options.Populate = rand.Intn(8) == 0
	v.options.NoDescriptor = rand.Intn(5) == 0
	v.options.Strict = rand.Intn(6) == 0 && !v.options.Writable && !v.options.NoDescriptor
	length := v.file.length.Load()
	if rand.Intn(3) == 0 {
		v.options.Offset = rand.Int63n(length + 1)
	}
	if rest := length - v.options.Offset; rand.Intn(3) == 0 && rest > 0 {
		v.options.Len = 1 + rand.Int63n(rest)
	}
	var err error
	if v.m, err = sigward.OpenWith(s.path, v.options); err != nil {
		if !isAny(err, syscall.ENODATA, syscall.ENXIO, sigward.ErrLost) {
			wrong(&counts.unexpected, "open: %v", err)
		}
		return nil
	}
	if before%2 == 1 || before != s.replaced.Load() || v.file != s.file.Load() {
		v.m.Close()
		return nil
	}
	counts.opens.Add(1)
	return v
}

// drop closes the map or, where no slice was handed out, leaves it to the garbage collector.
func (v *view) drop() {
	if v == nil || !v.slices && rand.Intn(3) == 0 {
		return
	}
	counts.closes.Add(1)
	if err := v.m.Close(); err != nil {
		wrong(&counts.unexpected, "close: %v", err)
	}
}

func opener() {
	for going() {
		pool[rand.Intn(len(pool))].Swap(openView()).drop()
		rest(300)
	}
}

func refresher() {
	for going() {
		v := pool[rand.Intn(len(pool))].Load()
		if v != nil && v.slot.immovable {
			counts.refreshes.Add(1)
			if err := v.m.Refresh(); err != nil &&
				!isAny(err, os.ErrClosed, syscall.ENODATA, syscall.ENXIO, sigward.ErrLost) {
				wrong(&counts.unexpected, "refresh: %v", err)
			}
		}
		rest(300)
	}
}

func isAny(err error, of ...error) bool {
	for _, one := range of {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// allowed are the errors of a map that others cut, overwrite and close.
func allowed(what string, err error) bool {
	if err == nil || isAny(err, io.EOF, os.ErrClosed, sigward.ErrLost, sigward.ErrStale) {
		return true
	}
	wrong(&counts.unexpected, "%s: %v", what, err)
	return false
}

// read reads some bytes in one of the ways there are and judges those that came back as good.
func (v *view) read() {
	length := int64(v.m.Len())
	if length == 0 {
		return
	}
	at := rand.Int63n(length)
	wanted := min(1+rand.Int63n([]int64{64, chunk}[rand.Intn(2)]), length-at)
	out := make([]byte, wanted)
	if v.options.Offset+at+wanted > longest {
		return // refreshed meanwhile
	}
	seen := v.file.look(v.options.Offset+at, v.options.Offset+at+wanted, v.options.CopyOnWrite)
	who, good, err := "ReadAt", len(out), error(nil)
	switch how := rand.Intn(6); {
	case how < 3:
		good, err = v.m.ReadAt(out, at)
	case how == 3 || !v.slices:
		who = "Do"
		err = v.m.Do(func(data []byte) error {
			if int64(len(data)) < at+wanted {
				return io.EOF
			}
			copy(out, data[at:])
			return nil
		})
	default:
		var data []byte
		if data = v.m.Bytes(); int64(len(data)) < at+wanted {
			return
		}
		part := data[at : at+wanted]
		if who = "Bytes"; how == 4 {
			copy(out, part)
		} else {
			who = "C threads"
			second := readOnThreads(part, out)
			if err = v.m.Check(part); err == nil {
				seen.judge(second, who)
			}
		}
		if err == nil {
			err = v.m.Check(part)
		}
	}
	if err != nil {
		counts.flagged.Add(1)
		allowed(who, err)
		if who != "ReadAt" {
			good = 0
		}
	}
	if excused := seen.judge(out[:good], who); excused && !v.slot.immovable &&
		!v.options.CopyOnWrite {
		counts.exempt.Add(1)
		err := v.m.Verify()
		if err == nil && seen.epoch%2 == 0 && seen.epoch == v.file.epoch.Load() {
			wrong(&counts.liars, "Verify does not see a file cut to %d", v.file.length.Load())
		}
	}
	runtime.KeepAlive(v)
}

func reader() {
	for going() {
		v := pool[rand.Intn(len(pool))].Load()
		if v == nil {
			runtime.Gosched()
			continue
		}
		for i := 0; i < 24; i++ {
			v.read()
		}
		switch rand.Intn(24) {
		case 0:
			allowed("Populate", v.m.Populate())
		case 1:
			allowed("Verify", v.m.Verify())
		}
	}
}

// staleReader reads slices of maps that are closed and collected: wrong data, but never a fault.
func staleReader() {
	var kept [32][]byte
	for turn := 0; going(); turn++ {
		if v := pool[rand.Intn(len(pool))].Load(); v != nil && v.slices {
			kept[turn%len(kept)] = v.m.Bytes()
		}
		sum := byte(0)
		for _, data := range kept {
			for i := 0; i < len(data); i += 512 {
				sum += data[i]
			}
		}
		sink.Store(uint32(sum))
		counts.stale.Add(1)
		rest(500)
	}
}

var sink atomic.Uint32

func (v *view) write() {
	length := int64(v.m.Len())
	from, to := roundUp(v.options.Offset, block), min(v.options.Offset+length, longest)/block*block
	if from >= to {
		return
	}
	from += rand.Int63n((to-from)/block) * block
	to = from + min((1+rand.Int63n(4))*block, to-from)
	f := v.file
	epoch, before := f.epoch.Load(), f.length.Load()
	w, out := f.begin(from, to)
	kept, err := v.m.WriteAt(out, from-v.options.Offset)
	if err != nil && !isAny(err, syscall.ENXIO) {
		allowed("WriteAt", err)
	}
	// Where nobody refreshes, a flush that succeeds speaks for all.
	if rand.Intn(2) == 0 && err == nil {
		err = v.m.Flush()
		counts.flushes.Add(1)
		if allowed("Flush", err); err == nil && !v.slot.immovable {
			kept = len(out)
		}
	}
	back := make([]byte, kept)
	n, _ := f.disk.ReadAt(back, from)
	missing := w.missing(back[:n])
	steady := epoch%2 == 0 && epoch == f.epoch.Load() && to <= before
	if steady && missing > 0 {
		wrong(&counts.lost, "file %d: %d of %d bytes at %d", f.id, missing, len(out), from)
	}
	if !steady {
		kept = 0
	}
	w.end(int64(kept))
	counts.writes.Add(1)
}

func writer() {
	for going() {
		if v := pool[rand.Intn(len(pool))].Load(); v != nil && v.options.Writable &&
			!v.options.CopyOnWrite {
			v.write()
		}
		rest(100)
	}
}
