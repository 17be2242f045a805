package sigward

import (
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A mapping is one mmap of a Map's file. Refresh makes a new one and leaves the old one to those
// who are still reading it; nobody counts readers, because that would cost each read more than the
// read itself. The garbage collector knows who holds a mapping, on whatever goroutine, and gives it
// back when nobody does:
//
//	Bytes was never called        close, which unmaps
//	it was, and the Map is closed retire: all is given back but the addresses
//	it was, and the Map is not    nothing: slices of it may be all that is left, and they are in use
//
// A mapping that grows stays one; each new length is a mapping value of its own over the same
// ground.
type mapping struct {
	data       []byte
	lowestLost *uint64     // the poison word: ^0 while intact; lives as long as the mapping
	identity   *identity   // with Options.Strict
	handedOut  atomic.Bool // this data is among the Map's kept
	*ground
}

// ground is what has to be given back, once.
type ground struct {
	strict *identity // that of the mapping
	out    bool      // slices were handed out; changed with the Map's changing held
	left   bool      // counted in waiting
	backend
}

// waiting counts the mappings that no Map uses and that the garbage collector has not yet given
// back.
var waiting atomic.Int64

// waitingLimit is after how many of them a collection is started. Mappings are small to Go, so that
// it would see no reason for one while they hold all of the process's descriptors.
const waitingLimit = 256

// open makes a mapping of what the path names now. first is called before any of it is touched.
func (m *Map) open(op string, first func(*mapping) syscall.Errno) (*mapping, error) {
	c, errno := newMapping(m.path, m.options)
	// Again and again, as what was given back may have been taken by now, also by this goroutine's
	// last call.
	for try := 0; try < 100 && isShortage(errno) && reclaim(); try++ {
		c, errno = newMapping(m.path, m.options)
	}
	if errno != 0 {
		return nil, &MapError{Op: op, Path: m.path, Errno: errno}
	}
	c.strict = c.identity
	if errno := first(c); errno != 0 {
		c.release()
		return nil, &MapError{Op: op, Path: m.path, Errno: errno}
	}
	if m.options.Populate {
		if errno := c.populate(); errno != 0 {
			err := m.failure(c, op, errno)
			c.release()
			return nil, err
		}
	}
	runtime.SetFinalizer(c.ground, (*ground).release)
	return c, nil
}

// isShortage tells the errors that giving something back may cure.
func isShortage(errno syscall.Errno) bool {
	return errno == syscall.EMFILE || errno == syscall.ENFILE || errno == syscall.ENOMEM
}

// reclaim waits a moment for mappings that were left to be given back, if there are any.
func reclaim() bool {
	before := waiting.Load()
	if before == 0 {
		return false
	}
	runtime.GC()
	for try := 0; try < 100; try++ {
		if waiting.Load() < before {
			return true
		}
		// Finalizers run after the collection, on a goroutine of their own.
		time.Sleep(time.Millisecond)
	}
	return false
}

// keep notes that slices of c are in other hands. It is called with changing held.
func (m *Map) keep(c *mapping) {
	if c.handedOut.Load() {
		return
	}
	runtime.SetFinalizer(c.ground, nil)
	c.out = true
	at := slices.IndexFunc(m.kept, func(k *mapping) bool {
		return k.ground == c.ground && unsafe.SliceData(k.data) == unsafe.SliceData(c.data)
	})
	if at < 0 {
		m.kept = append(m.kept, c)
	} else if len(m.kept[at].data) < len(c.data) {
		m.kept[at] = c // the same, longer
	}
	c.handedOut.Store(true)
}

// leave hands g, which the Map no longer uses, to the garbage collector.
func (g *ground) leave(giveBack func(*ground)) {
	g.left = true
	runtime.SetFinalizer(g, nil)
	runtime.SetFinalizer(g, giveBack)
	if waiting.Add(1)%waitingLimit == 0 {
		go runtime.GC()
	}
}

// Refresh maps what the path names now, with the same options: the new file, or the old one with
// the bytes that it holds now. What was lost is forgotten. It does nothing if Verify finds nothing
// and no Flush has failed. When it fails the map stays as it was.
//
// Reads and calls of Do that run at the same time see either the old or the new map, not both, and
// their errors are about the one that they saw. Slices from Bytes keep showing the old one: each
// that was handed out stays mapped until the Map is closed and can no longer be reached, so who
// refreshes again and again should use ReadAt and Do.
//
// After a Flush that has failed the kernel's memory has bytes that the device has not, and takes
// them for written. So they are dropped, also below slices and other old maps of this one, and what
// was written since the last Flush that succeeded may be gone. Where somebody else has the file
// mapped, or reads what is being dropped all the time, that is not possible: then Refresh fails
// with Flush's errno, and so does each Flush. Without cgo nothing is dropped: the map may go on
// showing what is not on the device; all that was written since the last Flush that succeeded is to
// be written again, and on ext4 that is not enough for blocks that were to be written for the first
// time, as after Grow (they are zeros after a power failure all the same, seen on Linux 6.18):
// there only a new file is sure, [CreateReplacement].
func (m *Map) Refresh() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	old := m.current.Load()
	if old == nil {
		return closedError("refresh", m.path)
	}
	if old.verify(m.path) == 0 && !m.flushFailed.Load() {
		return nil
	}
	next, err := m.open("refresh", func(c *mapping) (errno syscall.Errno) {
		// Again, as mappings that were left may have pages of the file until they are given back.
		for try := 0; try < 3; try++ {
			if errno = c.succeed(append([]*mapping{old}, m.kept...)); errno == 0 || !reclaim() {
				break
			}
		}
		return errno
	})
	if err != nil {
		return err
	}
	m.current.Store(next)
	m.flushFailed.Store(false)
	if !old.out {
		old.leave((*ground).release)
	}
	return nil
}

// Close ends the use of the Map; a second one fails with os.ErrClosed. Calls that run at the same
// time on other goroutines end as if they had come before.
//
// Memory and descriptor are given back by the garbage collector, when no such call and, after
// Bytes, no pointer to the Map is left. It does not flush: the kernel writes what was written in
// its own time.
func (m *Map) Close() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	last := m.current.Swap(nil)
	if last == nil {
		return closedError("close", m.path)
	}
	if !last.out {
		last.leave((*ground).release)
	}
	for _, c := range m.kept {
		if !c.left { // a mapping that has moved is there more than once
			c.leave((*ground).retire)
		}
	}
	return nil
}

// release gives everything back.
func (g *ground) release() {
	g.giveBack(false)
}

// retire gives everything back but the addresses.
func (g *ground) retire() {
	g.giveBack(true)
}

func (g *ground) giveBack(addressesStay bool) {
	if g.strict != nil {
		g.strict.close()
	}
	g.end(addressesStay)
	if g.left {
		waiting.Add(-1)
	}
}

// wholeFile tells whether the map has all of the file.
func (o *Options) wholeFile() bool { return o.Offset == 0 && o.Len == 0 }

// valid tells whether the options can be met at all.
func (o *Options) valid() syscall.Errno {
	switch {
	case o.Offset < 0 || o.Len < 0 || o.Capacity < 0:
		return syscall.EINVAL
	case o.Offset+o.Len < 0:
		return syscall.EOVERFLOW
	case o.Capacity > 0 && (!o.wholeFile() || o.CopyOnWrite || o.NoDescriptor || o.Strict):
		return syscall.EINVAL
	case o.Strict && (o.NoDescriptor || o.Writable && !o.CopyOnWrite):
		return syscall.EINVAL
	}
	return 0
}
