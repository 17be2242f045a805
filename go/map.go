package sigward

import (
	"errors"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/sigward/sigward/go/internal/order"
)

// Map is a file mapped into memory whose bytes may vanish without killing the process.
//
// A mapped file that is truncated, overwritten by cp, on a full disk or on a broken device answers
// an access with SIGBUS, and that is the end of a Go program, whatever it recovers from. In a Map
// the fault is caught, on every thread and in every language. From then on the lost bytes read as
// zeros, writes to them go nowhere, and the Map remembers the lowest lost offset; ReadAt, WriteAt
// and Do look there after they have touched the data and return a *MapError instead of success.
// Refresh maps what the file holds now.
//
// Methods may be called from many goroutines at once, Refresh and Close included. After Close they
// fail with os.ErrClosed. A Map that is no longer used and was not closed is given back by the
// garbage collector, unless Bytes was called.
//
// A child that os/exec starts has nothing of a Map. In a child that C code forks, the maps are
// there and guarded.
//
// What no signal tells: bytes that the file lost inside its last page read as zeros; where a file
// system has large folios (ext4) whole pages behind a cut may do so for a while; and a file that
// was truncated and grew again between two accesses, or was overwritten in place, shows its new
// content. Options.Strict and Verify see it. A fault in a thread where C code has blocked SIGBUS
// ends the process: ThreadCheck.
//
// Without cgo, and elsewhere than on Linux on amd64 and arm64, ReadAt, WriteAt and Do guard by
// debug.SetPanicOnFault: only what Go code touches inside of them, and more slowly. What comes from
// Bytes is not guarded there.
type Map struct {
	current atomic.Pointer[mapping] // nil after Close
	path    string
	options Options

	changing sync.Mutex // held by Refresh, Close and the first Bytes of each mapping
	growing  sync.Mutex // held by Grow, which may take long

	flushFailed atomic.Bool // since the last Refresh

	// Those whose slices were handed out: they stay while the Map can be reached.
	kept []*mapping
}

// Options are for OpenWith. The zero value maps the whole file read-only.
type Options struct {
	Offset      int64 // where in the file the map begins, in bytes; any byte will do
	Len         int64 // bytes; 0: to the end of the file as it is when it is mapped
	Writable    bool  // WriteAt and writes to slices reach the file, at the latest with Flush
	CopyOnWrite bool  // they stay in memory (MAP_PRIVATE)
	Populate    bool  // every page is read at once, so that what is lost is found at once
	// NoDescriptor: the Map keeps no file descriptor: for very many; causes are then CauseUnknown.
	NoDescriptor bool

	// Capacity is address space kept for Grow and Follow, in bytes from the file's start: up to
	// there the map grows where it is. It costs no memory. A file that is longer already is mapped
	// whole, and an empty one can be mapped. It is for whole files: EINVAL with Offset, Len,
	// CopyOnWrite, NoDescriptor or Strict. ENOMEM or EAGAIN of OpenWith say that so many addresses
	// cannot be had. A longer file is no change then, to Verify and Refresh, nor is its ctime.
	Capacity int64

	// ReserveSlowly: where the file system cannot promise blocks (ext2, some network file systems),
	// Grow writes zeros instead of failing.
	ReserveSlowly bool

	// Strict: ReadAt, Do, Check and Err fail with ErrStale when the file's length or its time of
	// change (ctime) is no longer what it was when it was mapped. For files that should be replaced
	// and that somebody overwrites with cp, as GeoIP data: without it a reader may see half of the
	// old and half of the new file. It costs one fstat(2) a call and one more descriptor. It tells
	// also when the file is renamed, removed or replaced. It is not for files that this process
	// writes to: EINVAL with Writable, unless CopyOnWrite is set as well. Kernels before Linux 6.13
	// tell times apart to about 4 ms only.
	Strict bool
}

var (
	_ io.ReaderAt = (*Map)(nil)
	_ io.WriterAt = (*Map)(nil)
	_ io.Closer   = (*Map)(nil)
)

// Open maps the whole file for reading.
//
// It fails with a *MapError: ENOENT (fs.ErrNotExist), EACCES (fs.ErrPermission), ENODATA for an
// empty file, EISDIR, ENODEV for a pipe, socket or terminal, ENOMEM and EMFILE at the system's
// limits.
func Open(path string) (*Map, error) { return OpenWith(path, Options{}) }

// OpenWith maps a file as options say.
//
// It fails as Open does, and with ENXIO for an offset past the end of the file, EOVERFLOW for a
// length that does not fit, EINVAL for a negative one or options that exclude each other. With
// Populate, also with the cause of a lost byte.
func OpenWith(path string, options Options) (*Map, error) {
	m := &Map{path: path, options: options}
	first, err := m.open("open", func(*mapping) syscall.Errno { return 0 })
	if err != nil {
		return nil, err
	}
	m.current.Store(first)
	return m, nil
}

// Len is the length of the map in bytes, 0 after Close. Grow and Follow make it larger, Refresh may
// change it.
func (m *Map) Len() int {
	if c := m.current.Load(); c != nil {
		return len(c.data)
	}
	return 0
}

// ReadAt reads len(p) bytes from byte off of the map, as io.ReaderAt says; io.EOF at the end.
//
// When bytes of what was to be read are lost, it returns how many before them are right, and
// a *MapError. It makes no cgo call unless something is lost.
func (m *Map) ReadAt(p []byte, off int64) (n int, err error) {
	c := m.current.Load()
	if c == nil {
		return 0, closedError("read", m.path)
	}
	if uint64(off) < uint64(len(c.data)) { // a negative offset is a huge one
		n = c.copyOut(p, int(off))
	}
	order.LoadLoad()
	if n < len(p) || off < 0 || atomic.LoadUint64(c.lowestLost) < uint64(off)+uint64(n) ||
		c.identity != nil {
		return m.readAtChecked(c, len(p), off, n)
	}
	runtime.KeepAlive(c)
	return n, nil
}

// readAtChecked finds out what is to be said of n bytes, already copied, of the wanted ones.
//
//go:noinline
func (m *Map) readAtChecked(c *mapping, wanted int, off int64, n int) (int, error) {
	if off < 0 {
		return 0, &MapError{Op: "read", Path: m.path, Errno: syscall.EINVAL}
	}
	if n > 0 {
		intact, err := m.judge(c, "read", uint64(off), n)
		if err != nil {
			return intact, err
		}
	}
	if n < wanted {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes p to the map from byte off on, as io.WriterAt says. That does not make the map
// longer: ENXIO past its end (see Grow).
//
// When bytes of what was written are lost, it returns how many before them have reached the file,
// and a *MapError: ErrNoSpace when the file was sparse and the disk is full. EBADF: the map is not
// writable.
func (m *Map) WriteAt(p []byte, off int64) (n int, err error) {
	c := m.current.Load()
	switch {
	case c == nil:
		return 0, closedError("write", m.path)
	case !m.options.Writable:
		return 0, &MapError{Op: "write", Path: m.path, Errno: syscall.EBADF}
	case off < 0:
		return 0, &MapError{Op: "write", Path: m.path, Errno: syscall.EINVAL}
	}
	if uint64(off) < uint64(len(c.data)) {
		n = c.copyIn(p, int(off))
	}
	if n > 0 {
		if intact, err := m.judge(c, "write", uint64(off), n); err != nil {
			return intact, err
		}
	}
	if n < len(p) {
		return n, &MapError{Op: "write", Path: m.path, Errno: syscall.ENXIO}
	}
	return n, nil
}

// Do runs fn on the whole map and then looks whether anything in it is lost: then the result is
// a *MapError even if fn returned nil, and what fn made of the data must be thrown away. When both
// failed, errors.Is and errors.As find both errors.
//
// A system call that is given bytes of the slice (os.File.Write, net.Conn.Write) meets a lost page
// as a short count or EFAULT, and nobody else notices. So if fn returns an error, and nothing is
// known to be lost, the file's length is looked at, and after EFAULT every page as by Populate.
//
// The slice is valid until fn returns, also when another goroutine calls Refresh or Close
// meanwhile. Writing to it is allowed where the map is writable; else it crashes the program. A
// panic of fn passes through.
func (m *Map) Do(fn func(data []byte) error) error {
	c := m.current.Load()
	if c == nil {
		return closedError("do", m.path)
	}
	err := c.run(fn)
	_, lost := m.judge(c, "do", 0, len(c.data))
	if err != nil && lost == nil {
		lost = m.unmet(c, err)
	}
	switch {
	case lost == nil:
		return err
	case err == nil:
		return lost
	}
	return errors.Join(err, lost)
}

// unmet looks, after an error, for a loss that a system call has met: one that is given the map's
// own bytes returns fewer, or EFAULT, and there is no fault that anybody could catch.
func (m *Map) unmet(c *mapping, err error) error {
	defer runtime.KeepAlive(c)
	fault, lost := c.measure()
	if !lost && errors.Is(err, syscall.EFAULT) {
		c.populate()
		fault, lost = c.status()
	}
	if !lost {
		return nil
	}
	return lostError("do", m.path, fault)
}

// Bytes returns the whole map as a slice, nil after Close. It is for code that wants one, a parser
// or a decoder; ask Err, or Check with Refresh about, after what was read was used and before the
// result is believed. Reading lost bytes gives zeros. Writing crashes the program unless the map is
// writable.
//
// Nobody can tell when the last such slice is gone: the garbage collector does not look for
// pointers to memory that is not Go's. So hold the Map for as long as the slices, in the same
// struct for example, or end their use with runtime.KeepAlive(m). The content stays mapped at least
// while the Map can be reached, also after Close and Refresh. When a closed Map can no longer be
// reached, its memory and its file are given back, but the addresses stay readable for ever, as
// zeros: a forgotten slice reads wrong data and never faults. A Map that is not closed stays mapped
// for ever once Bytes was called. Do needs none of this.
func (m *Map) Bytes() []byte {
	c := m.current.Load()
	if c == nil {
		return nil
	}
	if !c.handedOut.Load() {
		m.changing.Lock()
		defer m.changing.Unlock()
		if c = m.current.Load(); c == nil {
			return nil
		}
		m.keep(c)
	}
	return c.data
}

// Err is nil while no byte of the map is lost, and the *MapError for the lowest lost one after
// that. It is for slices from Bytes: ask after the data was used. It makes no cgo call while
// nothing is lost.
//
// What a system call met that was given the slice itself (os.File.Write) is not known here: ask
// Status, which looks at the file's length, after an error of such a call.
//
// It is about the map as the last Refresh left it. Where another goroutine may call Refresh between
// Bytes and Err, use Check or Do.
func (m *Map) Err() error {
	c := m.current.Load()
	if c == nil {
		return closedError("check", m.path)
	}
	_, err := m.judge(c, "check", 0, len(c.data))
	return err
}

// Check is nil if no byte of p is lost. It takes a slice from Bytes, of before or after a Refresh,
// or a part of one; EINVAL for any other.
func (m *Map) Check(p []byte) error {
	if m.current.Load() == nil {
		return closedError("check", m.path)
	}
	if len(p) == 0 {
		return nil
	}
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	m.changing.Lock()
	defer m.changing.Unlock()
	for _, c := range m.kept {
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(c.data)))
		if at >= begin && at-begin < uintptr(len(c.data)) {
			_, err := m.judge(c, "check", uint64(at-begin), len(p))
			return err
		}
	}
	return &MapError{Op: "check", Path: m.path, Errno: syscall.EINVAL}
}

// Status is the fault of the lowest lost byte, and false while nothing is lost or after Close.
// While nobody has met a loss, it looks whether the file has become shorter than the map.
func (m *Map) Status() (Fault, bool) {
	c := m.current.Load()
	if c == nil {
		return Fault{}, false
	}
	defer runtime.KeepAlive(c)
	return c.measure()
}

// Verify looks whether the map still is what its path names: ErrLost if bytes are lost, ErrStale if
// the file has been changed in place or another file has its name. Refresh then maps what is there
// now.
func (m *Map) Verify() error {
	return m.ask("verify", func(c *mapping) syscall.Errno { return c.verify(m.path) })
}

// Populate reads every page of the map, and allocates it where the map is writable, so that later
// accesses find it and what is lost or has no space is told now.
func (m *Map) Populate() error { return m.ask("populate", (*mapping).populate) }

// Flush waits until what was written is in the file on its device (msync). It fails if any of it
// was lost: then what the file holds from that offset on is older. Where the writing itself fails,
// the errno is msync's, and nobody knows which part is missing; the kernel says so once and does
// not try again, so every later Flush fails, too, until Refresh, which shows what the device has:
// all that was written since the last Flush that succeeded may be gone, and is to be written again.
// On FUSE and network file systems a full disk is first met here.
//
// ErrStale says that what was written is on the device, but not where somebody finds it: the file
// was unlinked, or another has taken its place (a file that has a name left, also another, is
// well); or that the file has fewer blocks than Grow has given it, because somebody has cut it and
// made it as long again, or punched holes. Of a map that has not grown, and on btrfs and FUSE, a
// file that was cut and is as long again cannot be told.
func (m *Map) Flush() error {
	err := m.ask("flush", (*mapping).flush)
	if err != nil {
		m.flushFailed.Store(true)
	}
	return err
}

// ask makes one call on the current mapping and turns what it says into an error.
func (m *Map) ask(op string, call func(*mapping) syscall.Errno) error {
	c := m.current.Load()
	if c == nil {
		return closedError(op, m.path)
	}
	defer runtime.KeepAlive(c)
	if errno := call(c); errno != 0 {
		return m.failure(c, op, errno)
	}
	return nil
}

// failure is the error for what the library said of a mapping: about the loss, if there is one.
func (m *Map) failure(c *mapping, op string, errno syscall.Errno) error {
	if fault, lost := c.status(); lost && errno != syscall.ESTALE {
		return lostError(op, m.path, fault)
	}
	failed := &MapError{Op: op, Path: m.path, Errno: errno}
	if errno == syscall.EFAULT { // lost, and nobody has met it yet
		failed.Cause = CauseUnknown
		if now, err := os.Stat(m.path); err == nil &&
			now.Size() < m.options.Offset+int64(len(c.data)) {
			failed.Cause, failed.LenNow = CauseTruncated, now.Size()
			failed.Offset = max(now.Size()-m.options.Offset, 0)
		}
	}
	return failed
}

// judge looks, after n bytes from off on were touched, how many of them from the first on are
// right, and why the others are not.
func (m *Map) judge(c *mapping, op string, off uint64, n int) (intact int, err error) {
	defer runtime.KeepAlive(c)
	if m.options.Writable {
		order.StoreLoad()
	} else {
		order.LoadLoad()
	}
	if lowest := atomic.LoadUint64(c.lowestLost); lowest < off+uint64(n) {
		fault, lost := c.status()
		if !lost { // the handler on another thread has not yet told more
			fault = Fault{Offset: int64(lowest), Cause: CauseUnknown, Errno: syscall.EFAULT}
		}
		if lowest > off {
			intact = int(lowest - off)
		}
		return intact, lostError(op, m.path, fault)
	}
	if c.identity != nil && c.identity.changed() {
		return 0, &MapError{Op: op, Path: m.path, Errno: syscall.ESTALE}
	}
	return n, nil
}
