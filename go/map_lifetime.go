package sigward

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// A mapping is one mmap of a Map's file. Refresh makes a new one and leaves the old one to those who are still
// reading it; nobody counts readers, because that would cost each read more than the read itself. The garbage
// collector knows who holds a mapping, on whatever goroutine, and gives it back when nobody does:
//
//	Bytes was never called        close, which unmaps
//	it was, and the Map is closed retire: all is given back but the addresses
//	it was, and the Map is not    nothing: slices of it may be all that is left, and they are in use
type mapping struct {
	data       []byte
	lowestLost *uint64   // the poison word: ^0 while intact; lives as long as the mapping
	identity   *identity // with Options.Strict
	handedOut  atomic.Bool
	left       bool // counted in waiting
	backend
}

// waiting counts the mappings that no Map uses and that the garbage collector has not yet given back.
var waiting atomic.Int64

// waitingLimit is after how many of them a collection is started. Mappings are small to Go, so that it would see no
// reason for one while they hold all of the process's descriptors.
const waitingLimit = 256

// open makes a mapping of what the path names now.
func (m *Map) open(op string) (*mapping, error) {
	c, errno := newMapping(m.path, m.options)
	if (errno == syscall.EMFILE || errno == syscall.ENFILE || errno == syscall.ENOMEM) && reclaim() {
		c, errno = newMapping(m.path, m.options)
	}
	if errno != 0 {
		return nil, &MapError{Op: op, Path: m.path, Errno: errno}
	}
	if m.options.Populate {
		if errno := c.populate(); errno != 0 {
			err := m.failure(c, op, errno)
			c.release()
			return nil, err
		}
	}
	runtime.SetFinalizer(c, (*mapping).release)
	return c, nil
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
		time.Sleep(time.Millisecond) // finalizers run after the collection, on a goroutine of their own
	}
	return false
}

// keep notes that slices of c are in other hands. It is called with changing held.
func (m *Map) keep(c *mapping) {
	if c.handedOut.Load() {
		return
	}
	runtime.SetFinalizer(c, nil)
	m.kept = append(m.kept, c)
	c.handedOut.Store(true)
}

// leave hands c, which the Map no longer uses, to the garbage collector.
func (c *mapping) leave(giveBack func(*mapping)) {
	c.left = true
	runtime.SetFinalizer(c, nil)
	runtime.SetFinalizer(c, giveBack)
	if waiting.Add(1)%waitingLimit == 0 {
		go runtime.GC()
	}
}

// Refresh maps what the path names now, with the same options: the new file, or the old one with the bytes that it
// holds now. What was lost is forgotten. It does nothing if Verify finds nothing. When it fails the map stays as it was.
//
// Reads and calls of Do that run at the same time see either the old or the new map, not both, and their errors are
// about the one that they saw. Slices from Bytes keep showing the old one: each that was handed out stays mapped until
// the Map is closed and can no longer be reached, so who refreshes again and again should use ReadAt and Do.
func (m *Map) Refresh() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	old := m.current.Load()
	if old == nil {
		return closedError("refresh", m.path)
	}
	if old.verify(m.path) == 0 {
		return nil
	}
	next, err := m.open("refresh")
	if err != nil {
		return err
	}
	m.current.Store(next)
	if !old.handedOut.Load() {
		old.leave((*mapping).release)
	}
	return nil
}

// Close ends the use of the Map; a second one fails with os.ErrClosed. Calls that run at the same time on other
// goroutines end as if they had come before.
//
// Memory and descriptor are given back by the garbage collector, when no such call and, after Bytes, no pointer to
// the Map is left. It does not flush: the kernel writes what was written in its own time.
func (m *Map) Close() error {
	m.changing.Lock()
	defer m.changing.Unlock()
	last := m.current.Swap(nil)
	if last == nil {
		return closedError("close", m.path)
	}
	if !last.handedOut.Load() {
		last.leave((*mapping).release)
	}
	for _, c := range m.kept {
		c.leave((*mapping).retire)
	}
	return nil
}

// release gives everything back.
func (c *mapping) release() {
	c.giveBack(false)
}

// retire gives everything back but the addresses.
func (c *mapping) retire() {
	c.giveBack(true)
}

func (c *mapping) giveBack(addressesStay bool) {
	if c.identity != nil {
		c.identity.close()
	}
	c.end(addressesStay)
	if c.left {
		waiting.Add(-1)
	}
}

// valid tells whether the options can be met at all.
func (o *Options) valid() syscall.Errno {
	switch {
	case o.Offset < 0 || o.Len < 0:
		return syscall.EINVAL
	case o.Offset+o.Len < 0:
		return syscall.EOVERFLOW
	case o.Strict && (o.NoDescriptor || o.Writable && !o.CopyOnWrite):
		return syscall.EINVAL
	}
	return 0
}
