package sigward

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// fileNews is what events amount to.
type fileNews struct {
	// Something was written to the file (the writer may go on), or the path leads elsewhere: the
	// bytes may be others, whatever the times say. A file in the place of another often has its
	// inode's number, and then all else within one tick of the kernel's clock.
	written   bool
	concluded bool // a writer has closed the file, or the path leads elsewhere
}

// pathWatch is told of changes by inotify(7): on the file, on each folder in which a name of the
// path is a link or the file, and on the other folders on the way for being renamed or removed
// themselves. What cannot be watched the tick finds.
type pathWatch struct {
	rang  chan struct{}
	queue *eventQueue // nil while the kernel refuses one

	// Under the queue's lock.
	chain map[string]chainPlace
	spots map[int32]map[string]bool // by watch: the names that decide
	file  int32                     // the file's own watch
	err   error                     // why not everything is watched
	whole bool                      // everything is
	news  fileNews
	// What came last of the file: a write, and not a writer's close.
	writing bool
}

// eventQueue is one inotify queue, with one goroutine that reads it, for all files of the process.
// It comes with the first and goes with the last.
type eventQueue struct {
	file *os.File
	raw  syscall.RawConn
	gone chan struct{} // closed when nobody reads any more

	lock  sync.Mutex
	spots map[int32]*watchSpot
	ways  map[*pathWatch]bool
}

// watchSpot is what one watch is for: several paths may lead through it.
type watchSpot struct {
	users map[*pathWatch]bool
	names map[string]map[*pathWatch]bool
}

// The queue of the process.
var events struct {
	lock  sync.Mutex
	queue *eventQueue
}

const (
	watchSelf    = syscall.IN_MOVE_SELF | syscall.IN_DELETE_SELF
	watchEntries = syscall.IN_CREATE | syscall.IN_DELETE | watchMoves
	watchMoves   = syscall.IN_MOVED_TO | syscall.IN_MOVED_FROM
	watchFile    = syscall.IN_MODIFY | syscall.IN_CLOSE_WRITE | syscall.IN_ATTRIB
	// What says nothing of the bytes. Also on the folder of a file that we may not read.
	watchBlind = syscall.IN_ATTRIB | syscall.IN_CLOSE_WRITE
)

func newPathWatch() *pathWatch { return &pathWatch{rang: make(chan struct{}, 1)} }

// joinQueue takes part in the queue, and makes it if there is none.
func joinQueue(w *pathWatch) (*eventQueue, error) {
	events.lock.Lock()
	defer events.lock.Unlock()
	if events.queue == nil {
		queue, err := newEventQueue()
		if err != nil {
			return nil, err
		}
		events.queue = queue
	}
	events.queue.lock.Lock()
	defer events.queue.lock.Unlock()
	events.queue.ways[w] = true
	return events.queue, nil
}

func newEventQueue() (*eventQueue, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err // the limit of instances, or of descriptors
	}
	q := &eventQueue{file: os.NewFile(uintptr(fd), "inotify"), gone: make(chan struct{}),
		spots: map[int32]*watchSpot{}, ways: map[*pathWatch]bool{}}
	if q.raw, err = q.file.SyscallConn(); err != nil {
		q.file.Close()
		return nil, err
	}
	go func() {
		defer close(q.gone)
		// Never done: it ends with an error, when the file is closed.
		q.raw.Read(func(fd uintptr) bool {
			q.lock.Lock()
			defer q.lock.Unlock()
			q.drain(int(fd))
			return false
		})
	}()
	return q, nil
}

func (w *pathWatch) close() {
	q := w.queue
	if q == nil {
		return
	}
	events.lock.Lock()
	defer events.lock.Unlock()
	q.raw.Control(func(fd uintptr) {
		q.lock.Lock()
		defer q.lock.Unlock()
		delete(q.ways, w)
		old := w.spots
		w.spots = nil
		q.detach(w, old)
		q.sweep(int(fd), old)
	})
	if len(q.ways) == 0 {
		events.queue = nil
		q.file.Close()
		<-q.gone
	}
}

func (w *pathWatch) bell() chan struct{} { return w.rang }

// read is what has happened since the last take. It does not wait.
func (w *pathWatch) read() (news fileNews) {
	w.with(func(int) { news = w.news })
	return news
}

// isWriting tells whether somebody has written to the file and not closed it.
func (w *pathWatch) isWriting() (writing bool) {
	w.with(func(int) { writing = w.writing })
	return writing
}

func (w *pathWatch) take() (news fileNews) {
	w.with(func(int) {
		select {
		case <-w.rang:
		default:
		}
		news, w.news = w.news, fileNews{}
	})
	return news
}

// with reads what the queue has, and calls work under its lock.
func (w *pathWatch) with(work func(fd int)) {
	if w.queue == nil {
		return
	}
	w.queue.raw.Control(func(fd uintptr) {
		w.queue.lock.Lock()
		defer w.queue.lock.Unlock()
		w.queue.drain(int(fd))
		work(int(fd))
	})
}

func (q *eventQueue) drain(fd int) {
	var buffer [16 << 10]byte
	for {
		n, err := syscall.Read(fd, buffer[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		q.judge(buffer[:n])
	}
}

// judge takes the events of one read: number, mask, cookie, length of the name, name.
func (q *eventQueue) judge(events []byte) {
	for len(events) >= syscall.SizeofInotifyEvent {
		number := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		length := binary.NativeEndian.Uint32(events[12:])
		events = events[syscall.SizeofInotifyEvent:]
		name := events[:min(int(length), len(events))]
		events = events[len(name):]
		name, _, _ = bytes.Cut(name, []byte{0})
		q.event(number, mask, string(name))
	}
}

func (q *eventQueue) event(number int32, mask uint32, name string) {
	if mask&syscall.IN_Q_OVERFLOW != 0 {
		for w := range q.ways {
			// Among what was lost may be its close, and the end of a watch.
			w.whole, w.writing = false, false
			w.tell(fileNews{written: true, concluded: true})
		}
		return
	}
	spot := q.spots[number]
	if spot == nil {
		return
	}
	users, gone := spot.users, mask&syscall.IN_IGNORED != 0
	switch {
	case gone:
		delete(q.spots, number)
	case name != "":
		users = spot.names[name]
	}
	for w := range users {
		switch {
		case gone:
			// What it watched is gone, and something else may have got its inode's number:
			// everything is watched anew.
			delete(w.spots, number)
			w.chain, w.whole = nil, false
			w.tell(fileNews{written: true, concluded: true})
		case mask&syscall.IN_MODIFY != 0:
			w.writing = true
			w.tell(fileNews{written: true})
		default:
			w.writing = w.writing && mask&syscall.IN_CLOSE_WRITE == 0
			w.tell(fileNews{written: mask&watchBlind == 0, concluded: true})
		}
	}
}

func (w *pathWatch) tell(more fileNews) {
	w.news.written = w.news.written || more.written
	w.news.concluded = w.news.concluded || more.concluded
	select {
	case w.rang <- struct{}{}:
	default:
	}
}

// renew watches the way to the path as it is now, and tells why not all of it is watched; nil if it
// is. What changes after this is told.
func (w *pathWatch) renew(path string) (err error) {
	if w.queue == nil {
		if w.queue, err = joinQueue(w); err != nil {
			return err
		}
	}
	// A way that changes while it is being watched is walked again; should it never rest, there is
	// the tick.
	for try, again := 0, true; again && try < 8; try++ {
		chain := followPath(path)
		w.with(func(fd int) {
			again = !sameChain(chain, w.chain)
			if again || !w.whole {
				w.put(fd, chain)
			}
			err = w.err
		})
	}
	return err
}

func (w *pathWatch) put(fd int, chain map[string]chainPlace) {
	spots, file, blind := map[int32]map[string]bool{}, int32(-1), ""
	w.err = nil
	add := func(at string, mask uint32, names map[string]bool) int32 {
		watch, err := syscall.InotifyAddWatch(fd, at, mask)
		if err != nil {
			w.err = err
			return -1
		}
		number := int32(watch)
		if spots[number] == nil {
			spots[number] = map[string]bool{}
		}
		for name := range names {
			spots[number][name] = true
		}
		return number
	}
	for at, place := range chain {
		if !place.isFile {
			continue
		}
		if file = add(at, watchSelf|watchFile, nil); file < 0 {
			blind = filepath.Dir(at)
		}
	}
	for at, place := range chain {
		if place.isFile {
			continue
		}
		// The same folder by two ways has one watch: IN_MASK_ADD keeps what the other way asked
		// for.
		mask := uint32(watchSelf | syscall.IN_ONLYDIR | syscall.IN_MASK_ADD)
		if len(place.names) > 0 {
			mask |= watchEntries
		}
		if at == blind {
			mask |= watchBlind
		}
		add(at, mask, place.names)
	}
	if file != w.file {
		// Whoever wrote to the file before writes to another one.
		w.writing = false
	}
	old := w.spots
	w.spots, w.chain, w.file, w.whole = spots, chain, file, w.err == nil
	w.queue.detach(w, old)
	w.queue.attach(w)
	w.queue.sweep(fd, old)
}

func (q *eventQueue) attach(w *pathWatch) {
	for number, names := range w.spots {
		spot := q.spots[number]
		if spot == nil {
			spot = &watchSpot{map[*pathWatch]bool{}, map[string]map[*pathWatch]bool{}}
			q.spots[number] = spot
		}
		spot.users[w] = true
		for name := range names {
			if spot.names[name] == nil {
				spot.names[name] = map[*pathWatch]bool{}
			}
			spot.names[name][w] = true
		}
	}
}

func (q *eventQueue) detach(w *pathWatch, spots map[int32]map[string]bool) {
	for number, names := range spots {
		spot := q.spots[number]
		if spot == nil {
			continue
		}
		delete(spot.users, w)
		for name := range names {
			if delete(spot.names[name], w); len(spot.names[name]) == 0 {
				delete(spot.names, name)
			}
		}
	}
}

// sweep gives those of these watches back that nobody uses.
func (q *eventQueue) sweep(fd int, spots map[int32]map[string]bool) {
	for number := range spots {
		if spot := q.spots[number]; spot != nil && len(spot.users) == 0 {
			delete(q.spots, number)
			syscall.InotifyRmWatch(fd, uint32(number))
		}
	}
}
