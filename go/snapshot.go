package sigward

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Frozen is the bytes of a file as they were at one moment, whatever happens to the file since: it
// may be cut, written over, replaced or removed. Snapshot makes it.
//
// Nothing of it is mapped, so no access can fault. Bytes are ordinary Go memory, and stay valid as
// long as anything refers to them, also after Close. A clone is read by ReadAt without any memory:
// there a disk that fails is an error, *os.PathError with EIO.
//
// Methods may be called from many goroutines at once.
type Frozen struct {
	path string
	kind SnapshotKind
	size int

	moment Moment
	clone  *os.File // nil for SnapshotMemory

	whole   atomic.Pointer[[]byte]
	closed  atomic.Bool
	reading sync.Mutex // held by the first Bytes of a clone
}

// SnapshotKind is where a snapshot was taken to.
type SnapshotKind int

const (
	// SnapshotClone: blocks of the disk that are shared with the file until it is changed (xfs,
	// btrfs), in a file without a name that nobody else can open. inotify(7) tells of it, under the
	// name "#" and its inode number. It takes no memory until Bytes is called. The file system
	// cannot be mounted read-only meanwhile.
	SnapshotClone SnapshotKind = 1
	// SnapshotMemory: a copy in Go's memory.
	SnapshotMemory SnapshotKind = 2
)

func (k SnapshotKind) String() string { return nameOf(int(k), "kind", "", "clone", "memory") }

// Moment is what a snapshot is worth when somebody writes to the file by write(2) meanwhile. Of
// stores through a shared map the file's times tell only now and then, whatever it says.
type Moment int

const (
	// MomentProven: all or nothing of every write is in it. The file system keeps writers away from
	// a clone, or the file's times tell of each of them.
	MomentProven Moment = 1
	// MomentUnproven: what the file system says of times is worth something that nobody here knows
	// (FUSE, network file systems, others). They had not moved, and the file was the same when it
	// was read a second time, past the kernel's memory. A file of /proc is read once.
	MomentUnproven Moment = 2
)

func (m Moment) String() string { return nameOf(int(m), "moment", "", "proven", "unproven") }

// SnapshotOptions are for SnapshotWith. The zero value takes a file of whatever size.
type SnapshotOptions struct {
	// Limit: a file of more bytes is refused with a *TooLargeError. 0: only one that has to be
	// copied and is larger, holes included, than what the machine has available (MemAvailable,
	// SwapFree) or the control groups of this process have left (memory.max, memory.high,
	// memory.limit_in_bytes): ENOMEM.
	Limit int64

	// MemoryOnly copies into memory also where the file system could clone.
	MemoryOnly bool

	// Progress is told the bytes done and the bytes in all at the beginning of a copy and every 256
	// KiB, for a clone once, from the goroutine that takes the snapshot. An error ends it, and is
	// what SnapshotWith fails with: ctx.Err() for example. When the file was changed meanwhile, the
	// copy begins again at 0.
	Progress func(done, total int64) error
}

// TooLargeError is what a file larger than SnapshotOptions.Limit is refused with. errors.Is sees
// EFBIG.
type TooLargeError struct {
	Op, Path    string
	Size, Limit int64 // in bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf(
		"%s %s: the file has %d bytes, and %d are allowed; raise the limit, or read it by parts",
		e.Op, e.Path, e.Size, e.Limit)
}

// Unwrap returns EFBIG.
func (e *TooLargeError) Unwrap() error { return syscall.EFBIG }

var (
	_ io.ReaderAt = (*Frozen)(nil)
	_ io.Closer   = (*Frozen)(nil)
)

const snapshotChunk = 1 << 18

// Snapshot takes the bytes of a file as they are now: as a clone where the file system can, and we
// may write in the file's folder; else as a copy in memory. A symbolic link is followed. A file of
// /proc, whose length is 0, is read to its end.
//
// A clone has all of a write(2) or none of it. A copy is taken again when the file's length or
// times have moved meanwhile. Stores through a shared map move them only now and then: a file that
// is written so has to hold still. Frozen.Moment says what that is worth.
//
// It fails with an *os.PathError. errors.Is sees ErrSourceChanged (the file was written to during
// each of ten attempts) and the errno: EISDIR and ENODEV for a directory, pipe, socket or device,
// ENOMEM, and whatever open(2) and read(2) say.
func Snapshot(path string) (*Frozen, error) { return SnapshotWith(path, SnapshotOptions{}) }

// SnapshotWith is Snapshot as options say. It fails as Snapshot does, with a *TooLargeError, and
// with what Progress returned.
func SnapshotWith(path string, o SnapshotOptions) (*Frozen, error) {
	source, errno := openSource(path)
	if errno != 0 {
		return nil, pathError("snapshot", path, errno, nil)
	}
	defer source.Close()
	t := &taking{path, source, &o}
	for try := 0; try < 10; try++ {
		if try > 0 {
			time.Sleep(time.Millisecond << min(try, 6))
		}
		frozen, err := t.once()
		if err == nil && frozen == nil {
			continue // changed meanwhile
		}
		if errno, ok := err.(syscall.Errno); ok {
			err = pathError("snapshot", path, errno, nil)
		}
		return frozen, err
	}
	return nil, pathError("snapshot", path, syscall.ESTALE, ErrSourceChanged)
}

// taking is a snapshot that is being taken.
type taking struct {
	path   string
	source *os.File
	o      *SnapshotOptions
}

// once returns nothing at all when the file has changed.
func (t *taking) once() (*Frozen, error) {
	before, errno := steadyNow(t.source)
	if errno != 0 {
		return nil, errno
	}
	if err := t.allow(before.size); err != nil {
		return nil, err
	}
	frozen, err := t.cloned(before.size)
	if frozen == nil && err == nil {
		if before, errno = settled(t.source, true); errno != 0 {
			return nil, errno
		}
		if err := t.allow(before.size); err != nil {
			return nil, err
		}
		frozen, err = t.copied(before.size)
	}
	if err != nil {
		return nil, err
	}
	if frozen.kind == SnapshotClone && clonesAtOneMoment(frozen.clone) {
		frozen.moment = MomentProven
		return frozen, nil
	}
	frozen.moment = momentOf(t.source)
	same := true
	// A file of /proc has other contents each time, and no length.
	if frozen.moment != MomentProven && before.size != 0 {
		same, err = sameAgain(t.source, frozen)
	}
	if same && err == nil {
		waitForWriters(t.source)
		after, errno := steadyNow(t.source)
		if errno != 0 {
			err = errno
		}
		same = after.equal(before)
	}
	if err != nil || !same {
		frozen.Close()
		return nil, err
	}
	return frozen, nil
}

// sameAgain reads the file a second time, past the page cache where that can be: it may have some
// from before a change and some from after.
func sameAgain(source *os.File, copied *Frozen) (bool, error) {
	one, other := aligned(snapshotChunk), make([]byte, snapshotChunk)
	if direct := pastCache(source, one[:4096]); direct != nil {
		defer direct.Close()
		source = direct
	}
	for at := int64(0); ; at += snapshotChunk {
		n, err := source.ReadAt(one, at)
		if err != nil && err != io.EOF {
			return false, errnoIn(err)
		}
		m, err := copied.ReadAt(other, at)
		if err != nil && err != io.EOF {
			return false, errnoIn(err)
		}
		if !bytes.Equal(one[:n], other[:m]) {
			return false, nil
		}
		if n < snapshotChunk {
			return true, nil
		}
	}
}

// aligned is memory that O_DIRECT can read into.
func aligned(length int) []byte {
	room := make([]byte, length+4096)
	skip := -int(uintptr(unsafe.Pointer(&room[0]))) & 4095
	return room[skip : skip+length]
}

func (t *taking) allow(size int64) error {
	if t.o.Limit > 0 && size > t.o.Limit {
		return &TooLargeError{"snapshot", t.path, size, t.o.Limit}
	}
	return nil
}

func (t *taking) tell(done, total int64) error {
	if t.o.Progress == nil {
		return nil
	}
	if err := t.o.Progress(done, total); err != nil {
		return &os.PathError{Op: "snapshot", Path: t.path, Err: err}
	}
	return nil
}

// cloned returns nothing where no clone can be had.
func (t *taking) cloned(size int64) (*Frozen, error) {
	// An empty file may be one of /proc, with contents all the same.
	if t.o.MemoryOnly || size == 0 {
		return nil, nil
	}
	file := cloneNameless(t.source, t.path)
	if file == nil {
		return nil, nil
	}
	now, errno := steadyNow(file)
	var err error
	switch {
	case errno != 0:
		err = errno
	case int64(int(now.size)) != now.size:
		err = syscall.EOVERFLOW
	default:
		if err = t.allow(now.size); err == nil {
			err = t.tell(now.size, now.size)
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Frozen{path: t.path, kind: SnapshotClone, size: int(now.size), clone: file}, nil
}

func (t *taking) copied(size int64) (*Frozen, error) {
	whole, err := t.readAll(t.source, size)
	if err != nil {
		return nil, err
	}
	frozen := &Frozen{path: t.path, kind: SnapshotMemory, size: len(whole)}
	frozen.whole.Store(&whole)
	return frozen, nil
}

// readAll reads a file to its end, wherever its length says that that is.
func (t *taking) readAll(from *os.File, size int64) ([]byte, error) {
	left := memoryLeft()
	if size > left || int64(int(size)) != size {
		return nil, syscall.ENOMEM // rather than the end of the program
	}
	if err := t.tell(0, size); err != nil {
		return nil, err
	}
	room := size + 1 // to meet the end
	if size == 0 {
		room = 1 << 16
	}
	whole := make([]byte, 0, room)
	for {
		if len(whole) == cap(whole) {
			whole = append(whole, 0)[:len(whole)]
		}
		room := whole[len(whole):min(cap(whole), len(whole)+snapshotChunk)]
		n, err := from.ReadAt(room, int64(len(whole)))
		whole = whole[:len(whole)+n]
		done := int64(len(whole))
		if err := t.allow(done); err != nil {
			return nil, err
		}
		if done > left {
			return nil, syscall.ENOMEM // longer than its length
		}
		if err != nil && err != io.EOF {
			return nil, errnoIn(err)
		}
		if n > 0 {
			if err := t.tell(done, max(done, size)); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			if size == 0 {
				whole = append([]byte{}, whole...)
			}
			return whole[:done:done], nil
		}
	}
}

// Len is the length in bytes. It stays what it is after Close.
func (f *Frozen) Len() int { return f.size }

// Kind is where the snapshot was taken to.
func (f *Frozen) Kind() SnapshotKind { return f.kind }

// Moment is what it rests on that the bytes are of one moment.
func (f *Frozen) Moment() Moment { return f.moment }

// Memory is how many bytes of memory it holds: its length, or 0 for a clone before the first Bytes,
// and after Close.
func (f *Frozen) Memory() int64 {
	if whole := f.whole.Load(); whole != nil {
		return int64(len(*whole))
	}
	return 0
}

// ReadAt reads len(p) bytes from byte off on, as io.ReaderAt says; io.EOF at the end. Of a clone by
// pread(2).
func (f *Frozen) ReadAt(p []byte, off int64) (int, error) {
	switch whole := f.whole.Load(); {
	case f.closed.Load():
		return 0, closedError("read", f.path)
	case off < 0:
		return 0, pathError("read", f.path, syscall.EINVAL, nil)
	case whole != nil:
		return bytes.NewReader(*whole).ReadAt(p, off)
	}
	return f.clone.ReadAt(p, off)
}

// Bytes returns everything as one slice, the same each time. It is Go's memory: nobody else can
// change it, and it is valid as long as it is referred to. It is for reading: who writes to it
// changes what the others see.
//
// A clone is read into memory the first time; that can fail, with EIO or ENOMEM. A copy in memory
// fails only after Close.
func (f *Frozen) Bytes() ([]byte, error) {
	if whole := f.whole.Load(); whole != nil && !f.closed.Load() {
		return *whole, nil
	}
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.closed.Load() {
		return nil, closedError("read", f.path)
	}
	if whole := f.whole.Load(); whole != nil {
		return *whole, nil
	}
	whole, err := (&taking{f.path, f.clone, new(SnapshotOptions)}).readAll(f.clone, int64(f.size))
	if err != nil {
		return nil, pathError("read", f.path, errnoIn(err), nil)
	}
	f.whole.Store(&whole)
	return whole, nil
}

// Close gives a clone's blocks and descriptor back, and lets go of the memory; slices from Bytes
// stay. A second one fails with os.ErrClosed. What is not closed is given back by the garbage
// collector.
func (f *Frozen) Close() error {
	if f.closed.Swap(true) {
		return closedError("close", f.path)
	}
	f.reading.Lock()
	defer f.reading.Unlock()
	f.whole.Store(nil)
	if f.clone != nil {
		return f.clone.Close()
	}
	return nil
}
