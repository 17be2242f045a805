//go:build unix && (!cgo || !linux || (!amd64 && !arm64))

package sigward

import (
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// backend is what Go can do alone: it turns a fault into a panic while debug.SetPanicOnFault is
// set, on that goroutine and in Go code only, and the panic into the error that the library would
// have found.
type backend struct {
	fd    int   // -1 with NoDescriptor
	lead  int   // where in its first page data begins
	begin int64 // offset of data in the file
	alone bool  // only others can change the file's times
	seen  snapshot
	grows atomic.Bool // a longer file is no news

	promised int64        // so many bytes have blocks; changed while growing
	kept     atomic.Int64 // and so many of them keep those, whatever is written
	named    bool         // the file had a name

	unwritten atomic.Int32 // the errno of a flush that has failed

	faulted sync.Mutex
	wholes  [][]byte // what syscall.Mmap gave: one, and more after moves, the newest last
	first   *Fault   // that of the lowest lost byte
}

// newMapping maps a file.
func newMapping(path string, o Options) (*mapping, syscall.Errno) {
	if errno := o.valid(); errno != 0 {
		return nil, errno
	}
	fd, errno := openFile(path, &o)
	if errno != 0 {
		return nil, errno
	}
	c, errno := mapDescriptor(fd, &o)
	if errno != 0 || o.NoDescriptor {
		syscall.Close(fd)
	}
	return c, errno
}

func mapDescriptor(fd int, o *Options) (*mapping, syscall.Errno) {
	length, errno := lengthToMap(fd, o)
	if errno != 0 {
		return nil, errno
	}
	protection, kind := syscall.PROT_READ, syscall.MAP_SHARED
	if o.Writable {
		protection |= syscall.PROT_WRITE
	}
	if o.CopyOnWrite {
		kind = syscall.MAP_PRIVATE
	}
	seen, errno := statNow(fd)
	if errno != 0 {
		return nil, errno
	}
	lead := int(o.Offset % int64(os.Getpagesize()))
	var whole []byte
	if errno := eintr(func() (err error) {
		reserved := lead + max(length, int(o.Capacity))
		whole, err = syscall.Mmap(fd, o.Offset-int64(lead), reserved, protection, kind)
		return err
	}); errno != 0 {
		return nil, errno
	}
	c := &mapping{
		data:       whole[lead : lead+length : lead+length],
		lowestLost: new(uint64),
		ground:     new(ground),
	}
	*c.lowestLost = ^uint64(0)
	c.wholes, c.lead, c.fd, c.begin, c.seen = [][]byte{whole}, lead, fd, o.Offset, seen
	c.alone = !o.Writable || o.CopyOnWrite
	c.named = fileHasName(fd)
	c.grows.Store(o.Capacity > 0)
	if o.NoDescriptor {
		c.fd = -1
	}
	if o.Strict {
		c.identity = &identity{fd, seen}
	}
	return c, 0
}

func fileHasName(fd int) bool {
	var s syscall.Stat_t
	return eintr(func() error { return syscall.Fstat(fd, &s) }) == 0 && s.Nlink != 0
}

func lengthToMap(fd int, o *Options) (int, syscall.Errno) {
	var s syscall.Stat_t
	if errno := eintr(func() error { return syscall.Fstat(fd, &s) }); errno != 0 {
		return 0, errno
	}
	length := o.Len
	switch s.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		switch {
		case s.Size == 0 && o.Capacity > 0:
		case s.Size == 0:
			return 0, errEmpty
		case o.Offset >= s.Size || o.Len > s.Size-o.Offset:
			return 0, syscall.ENXIO
		case length == 0:
			length = s.Size - o.Offset
		}
	case syscall.S_IFDIR:
		return 0, syscall.EISDIR
	default:
		return 0, syscall.ENODEV
	}
	if most := max(length, o.Capacity); int64(int(most)) != most || int(most)+os.Getpagesize() < 0 {
		return 0, syscall.EOVERFLOW
	}
	return int(length), 0
}

// touch runs fn and tells whether it ended without a fault in the map. All other panics pass
// through.
func (c *mapping) touch(write bool, fn func()) (whole bool) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if whole {
			return
		}
		if reason := recover(); reason != nil && !c.note(reason, write) {
			panic(reason)
		}
	}()
	fn()
	return true
}

// note finds out what a fault in the map was about, and is false for any other panic.
func (c *mapping) note(reason any, write bool) bool {
	// Of package runtime; a nil dereference has none.
	fault, ok := reason.(interface{ Addr() uintptr })
	if !ok {
		return false
	}
	at := fault.Addr()
	into, ours := c.into(at)
	if !ours {
		return false
	}
	page := into &^ uintptr(os.Getpagesize()-1)
	found := Fault{
		Offset:  max(int64(page)-int64(c.lead), 0),
		Address: at,
		Time:    time.Now(),
		Cause:   CauseUnknown,
		Errno:   syscall.EFAULT,
		Write:   write,
	}
	c.explain(&found)
	c.lose(found)
	return true
}

// into is how far in a mapping of ours an address is.
func (c *mapping) into(at uintptr) (offset uintptr, ours bool) {
	c.faulted.Lock()
	defer c.faulted.Unlock()
	for _, whole := range c.wholes {
		base := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
		if at >= base && at-base < uintptr(len(whole)) {
			return at - base, true
		}
	}
	return 0, false
}

// explain asks the file for the cause.
func (c *mapping) explain(found *Fault) {
	if c.fd < 0 {
		return
	}
	now, errno := statNow(c.fd)
	if errno != 0 {
		return
	}
	if now.size <= c.begin+found.Offset {
		found.Cause, found.LenNow = CauseTruncated, now.size
		// Of a page that is lost only in part nobody can tell.
		found.Offset = max(now.size-c.begin, 0)
		return
	}
	var one [1]byte
	if errno := eintr(func() error {
		_, err := syscall.Pread(c.fd, one[:], c.begin+found.Offset)
		return err
	}); errno != 0 {
		found.Cause, found.Errno = CauseIO, errno
	}
}

// copyOut copies what can be read. What it returns goes beyond the lowest lost offset only if
// nothing was lost.
func (c *mapping) copyOut(p []byte, off int) (n int) {
	for {
		if c.touch(false, func() { n = copy(p, c.data[off:]) }) {
			return n
		}
		// Which bytes came over before the fault, only copy knows: those before the loss are copied
		// again.
		lowest := atomic.LoadUint64(c.lowestLost)
		if n = min(len(p), len(c.data)-off); lowest <= uint64(off) {
			return n
		}
		c.touch(false, func() { copy(p[:lowest-uint64(off)], c.data[off:]) })
		if atomic.LoadUint64(c.lowestLost) == lowest {
			return n
		}
	}
}

func (c *mapping) copyIn(p []byte, off int) (n int) {
	n = min(len(p), len(c.data)-off)
	for end := n; !c.touch(true, func() { copy(c.data[off:], p[:end]) }); {
		lowest := atomic.LoadUint64(c.lowestLost)
		if lowest <= uint64(off) {
			break
		}
		end = min(end, int(lowest-uint64(off)))
	}
	return n
}

func (c *mapping) run(fn func([]byte) error) (err error) {
	c.touch(false, func() { err = fn(c.data) })
	return err
}

func (g *ground) status() (Fault, bool) {
	g.faulted.Lock()
	defer g.faulted.Unlock()
	if g.first == nil {
		return Fault{}, false
	}
	return *g.first, true
}

// measure is status after a look at the file's length.
func (c *mapping) measure() (Fault, bool) {
	end := c.begin + int64(len(c.data))
	if now, errno := statNow(c.fd); c.fd >= 0 && errno == 0 && now.size < end {
		c.lose(Fault{
			Offset: max(now.size-c.begin, 0),
			LenNow: now.size,
			Time:   time.Now(),
			Cause:  CauseTruncated,
			Errno:  syscall.EFAULT,
		})
	}
	return c.status()
}

// lose notes a loss, if it is the lowest.
func (c *mapping) lose(found Fault) {
	c.faulted.Lock()
	defer c.faulted.Unlock()
	if c.first == nil || found.Offset < c.first.Offset {
		c.first = &found
		atomic.StoreUint64(c.lowestLost, uint64(found.Offset))
	}
}

func (c *mapping) verify(path string) syscall.Errno {
	if _, lost := c.status(); lost {
		return syscall.EFAULT
	}
	now, errno := c.seen.named(path)
	switch {
	case errno != 0:
		return errno
	case now.size < c.begin+int64(len(c.data)):
		return syscall.EFAULT
	case c.grows.Load():
		if !c.alone {
			return c.checkGround()
		}
		return 0
	case now.size != c.seen.size || c.alone && now != c.seen:
		return syscall.ESTALE
	}
	return 0
}

func (c *mapping) populate() syscall.Errno {
	writable := !c.alone
	if !c.touch(writable, func() {
		whole := unsafe.Slice(
			(*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(c.data)), -c.lead)),
			c.lead+len(c.data))
		for at := 0; at < len(whole); at += os.Getpagesize() {
			if word := (*uint32)(unsafe.Pointer(&whole[at])); writable {
				// A write that changes nothing makes the page be allocated.
				atomic.AddUint32(word, 0)
			} else {
				atomic.LoadUint32(word)
			}
		}
	}) {
		return syscall.EFAULT
	}
	return 0
}

// flush uses fsync(2), which on these systems takes what was written through a map as well.
func (c *mapping) flush() syscall.Errno {
	if _, lost := c.status(); lost {
		return syscall.EFAULT
	}
	if c.alone {
		return 0
	}
	if errno := eintr(func() error { return syscall.Fsync(c.fd) }); errno != 0 {
		// Pages whose writing has failed count as written from then on: the next fsync(2) says 0.
		c.unwritten.CompareAndSwap(0, int32(errno))
		return errno
	}
	if errno := c.checkGround(); errno != 0 {
		return errno
	}
	return syscall.Errno(c.unwritten.Load())
}

// checkGround tells whether what is written through the map is in the file, and somebody will find
// it there: the file reaches to the map's end, has the blocks that growing gave it, and has a name
// if it had one.
func (c *mapping) checkGround() syscall.Errno {
	kept := c.kept.Load() // before the look: the map may be growing
	if c.fd < 0 {
		return 0
	}
	var now syscall.Stat_t
	errno := eintr(func() error { return syscall.Fstat(c.fd, &now) })
	switch {
	case errno != 0:
		return errno
	case int64(now.Size) < c.begin+int64(len(c.data)):
		c.measure()
		return syscall.EFAULT
	case c.named && now.Nlink == 0, int64(now.Blocks)*512 < kept:
		return syscall.ESTALE // cut and made as long again, or replaced
	}
	return 0
}

// end gives the mapping back. Where slices were handed out it stays.
func (g *ground) end(addressesStay bool) {
	for _, whole := range g.wholes {
		if !addressesStay {
			syscall.Munmap(whole)
		}
	}
	if g.fd >= 0 && g.strict == nil {
		syscall.Close(g.fd)
	}
}

// succeed does nothing: without cgo the kernel goes on keeping what it has of the file, also after
// a flush that has failed.
func (c *mapping) succeed([]*mapping) syscall.Errno { return 0 }

// ThreadCheck is a *ThreadError: without the library only ReadAt, WriteAt and Do are guarded, on
// every thread.
func ThreadCheck() error { return &ThreadError{Unguarded: true} }
