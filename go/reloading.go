package sigward

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Reloading keeps the newest good version of a file at hand: GeoIP data, a configuration, a list
// that somebody updates while it is read.
//
// It is the loop that every reader of such a file writes, once: notice that the file was replaced
// or written over, wait until its writer has finished, take a copy, parse it, put it in the place
// of the old one under the readers. When the new one is no good, the old one stays and Err says
// why.
//
//	what happens to the file             Get                      Err
//	replaced by rename, or a link or     the new version
//	folder on its way is
//	written over, however slowly         the old one until the    ErrBeingWritten
//	                                     writer closes the file
//	its writer dies half-way             what the parser accepts  ErrRefused
//	removed, emptied, unreadable,        the old version          fs.ErrNotExist,
//	no file any more                                              ErrEmpty, …
//	written again with the same bytes    the old version
//
// No map of the file is read, so no byte of a version can be lost, and no SIGBUS comes. What the
// parser gets is ordinary Go memory: it may keep all of it, and the garbage collector gives it back
// when the last user of the version is done. It takes as much memory as the file is long, and twice
// that while a version takes the place of another. A parser that reads by offsets can do without:
// see OpenReloadingWith.
//
// Changes are told by inotify(7): on the file, and on every folder and symbolic link that leads to
// it, so that the exchange of a ConfigMap's ..data is noticed. Where nothing tells of them (another
// machine's changes to a network file system, or a mount over a folder; systems other than Linux),
// a look every second finds them, and the file is taken when it has not changed for a while. All
// files of a process share one inotify queue, and four of them at most are read at once. It needs
// no cgo.
//
// Methods may be called from many goroutines at once.
type Reloading[T any] struct {
	current atomic.Pointer[Version[T]]
	loop    *reloadLoop

	lock    sync.Mutex
	changed chan struct{} // closed at the next version
}

// Version is what the parser made of the file at one moment. It does not change.
type Version[T any] struct {
	Value T
	// Number: 1 for the first; a file that is written again with the same bytes is no new version.
	Number uint64
	Size   int64     // of the file, in bytes
	Loaded time.Time // when it was taken
	// Settled is false if it was taken though somebody had the file open for writing, or had
	// written to it and not closed it, because they took longer than WaitWriter. It is of one
	// moment, and may be half of what they mean to write; ReloadStats.Settled tells when they are
	// done.
	Settled bool
}

// ReloadOptions are for OpenReloadingWith.
type ReloadOptions struct {
	// Tick: how often to look though nothing was told. 0: every second; at least 10 ms.
	Tick time.Duration

	// Settle: where nobody can say whether a writer exists (files of other users, file systems
	// without leases, changes that no event told of, systems other than Linux), how long size and
	// change time must stay before the file is taken. 0: 500 ms.
	Settle time.Duration

	// WaitFirst: how long to wait for a first version when the file is missing or refused. A writer
	// who is at work is waited for in any case, 10 s at least.
	WaitFirst time.Duration

	// WaitWriter: how long to wait for whoever has the file open for writing before it is taken all
	// the same: a copy of one moment, of which Version.Settled says that it may be half of what
	// they mean to write. The time counts from the look that met them, and anew for each version.
	// 0: without an end where the kernel says that there is a writer (by a lease: for the owner of
	// the file and processes with CAP_LEASE), and 30 s where only events tell of one, a write that
	// no close follows.
	WaitWriter time.Duration

	// Limit: a file of more bytes is not taken, holes included (a *TooLargeError). 0: half of the
	// memory that the machine has available or the control groups of this process have left when
	// the file is looked at; the other half is for what the parser makes of it.
	Limit int64

	// AcceptEmpty: an empty file goes to the parser as well.
	AcceptEmpty bool

	// OnChange is called with the number of each new version but the first, OnProblem with each new
	// reason for not taking one, OnSettled with the number of one that was taken while somebody had
	// the file open, when they have closed it with these very bytes in it. They run on the
	// goroutine that watches: what they do holds the next version up, and they must not call
	// Refresh or Close.
	OnChange  func(number uint64)
	OnProblem func(*ReloadError)
	OnSettled func(number uint64)
}

// ReloadStats is what has happened since the file was opened.
type ReloadStats struct {
	Version   uint64 // the number of the newest version
	Refused   uint64 // contents that the parser did not accept
	NotYet    uint64 // looks that found the file being written, missing, or otherwise not to be had
	Unchanged uint64 // files that were written or replaced with the same bytes
	// Watching: everything that leads to the file is watched; if not, changes are found at the next
	// tick, and WatchErr says why: EMFILE (no descriptor, or fs.inotify.max_user_instances), ENOSPC
	// (fs.inotify.max_user_watches), EACCES (a folder that may not be read), …
	Watching bool
	WatchErr error
	// Settled: the writer of the newest version has finished, when it was taken or since.
	Settled bool
}

// OpenReloading reads and parses the file, and keeps the newest good version of it from then on,
// until Close.
//
// parse gets the whole file as it was at one moment, and may keep it. It is called here for the
// first version and on the goroutine that watches for all others, never twice at once. A panic of
// it is a refusal.
//
// It fails with a *ReloadError about the first version.
func OpenReloading[T any](path string, parse func(data []byte) (T, error)) (*Reloading[T], error) {
	return OpenReloadingWith(path, func(f *Frozen) (value T, err error) {
		defer f.Close()
		data, err := f.Bytes()
		if err != nil {
			return value, err
		}
		return parse(data)
	}, ReloadOptions{})
}

// OpenReloadingWith is OpenReloading as options say, and with a parser that gets the copy itself:
// Bytes, or ReadAt, which reads from a clone without memory where the file system can share blocks.
// The parser may keep it; nobody has to close it.
func OpenReloadingWith[T any](
	path string,
	parse func(*Frozen) (T, error),
	o ReloadOptions,
) (*Reloading[T], error) {
	r := &Reloading[T]{changed: make(chan struct{})}
	r.loop = newReloadLoop(path, o, func(f *Frozen, settled bool) (publish func(), err error) {
		defer func() {
			if reason := recover(); reason != nil {
				err = fmt.Errorf("it panicked: %v", reason)
			}
		}()
		value, err := parse(f)
		size := int64(f.Len())
		return func() { r.publish(value, size, settled) }, err
	})
	if err := r.loop.start(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Reloading[T]) publish(value T, size int64, settled bool) {
	number := uint64(1)
	if before := r.current.Load(); before != nil {
		number = before.Number + 1
	}
	r.current.Store(&Version[T]{value, number, size, time.Now(), settled})
	r.lock.Lock()
	defer r.lock.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Get is the newest good version: hold it for as long as one answer should come from one version,
// and not longer. It waits for nobody, and works after Close.
func (r *Reloading[T]) Get() *Version[T] { return r.current.Load() }

// Changed returns a channel that is closed when there is a version after the one that Get returns
// now. Ask for it before Get, so that none is missed.
func (r *Reloading[T]) Changed() <-chan struct{} {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.changed
}

// Err is a *ReloadError if what the path names is not the newest version, else nil.
func (r *Reloading[T]) Err() error {
	if err := r.loop.problem(); err != nil {
		return err
	}
	return nil
}

// Stats tells what has happened so far.
func (r *Reloading[T]) Stats() ReloadStats {
	stats := r.loop.stats()
	stats.Version = r.Get().Number
	return stats
}

// Refresh has the file looked at now, also if nothing seems to have changed, and returns Err: nil
// if Get returns what the path names. For contents that the parser would accept now and did not
// before, and where nothing tells of changes. After Close it is os.ErrClosed.
func (r *Reloading[T]) Refresh() error { return r.loop.refresh() }

// Close ends the watching and waits until it has ended. Get goes on with the version that was
// there. A second Close is os.ErrClosed.
func (r *Reloading[T]) Close() error { return r.loop.close() }
