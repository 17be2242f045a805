package sigward

import (
	"hash/maphash"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// reloadRest is between two looks at least, and from a write to the look that follows: a writer of
// many small pieces wakes nobody for each.
const reloadRest = 10 * time.Millisecond

// reloadPace is from a look that met a writer to the next. The kernel tells that a writer has
// closed the file a moment before it counts one writer less, so that look has to be soon, and the
// ones after it less and less often.
const reloadPace = 5 * time.Millisecond

// reloadUnclosed is how long a write that only events tell of is waited for, unless the user says
// otherwise: there are writes that no close follows (truncate(2) of a path).
const reloadUnclosed = 30 * time.Second

// reloadTurns are those who may read files at once: each of them holds a thread meanwhile.
var reloadTurns = make(chan struct{}, 4)

// reloadLoop looks, and looks again. It knows nothing of what the parser makes of the file.
type reloadLoop struct {
	path   string
	o      ReloadOptions
	accept func(f *Frozen, settled bool) (publish func(), err error) // parses
	watch  *pathWatch

	asks    chan chan<- struct{} // somebody wants a look, and be told when it is done
	closing chan struct{}
	ended   chan struct{}
	once    sync.Once

	// Of the goroutine that looks.
	// What was there when the last look came to an end: nothing is to be done while it stays.
	concluded *reloadSeen
	settling  *reloadSeen // where leases are refused: what is there, and since when
	since     time.Time
	pace      time.Duration
	waiting   time.Time // since when the writer of the file is waited for; zero: there is none
	writing   bool      // events tell of a write, and not of its end
	// Something was told since the last look that came to an end. What changes untold has a writer
	// whom no lease knows either: another machine, the lower side of an overlay.
	heard     bool
	unsettled bool // what is served was taken while somebody had it open for writing
	seed      maphash.Seed
	digest    uint64
	version   uint64

	lock  sync.Mutex
	told  ReloadStats
	wrong *ReloadError
}

func newReloadLoop(
	path string,
	o ReloadOptions,
	accept func(*Frozen, bool) (func(), error),
) *reloadLoop {
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	if o.Settle == 0 {
		o.Settle = 500 * time.Millisecond
	}
	o.Tick = max(o.Tick, reloadRest)
	return &reloadLoop{
		path:    path,
		o:       o,
		accept:  accept,
		pace:    reloadPace,
		heard:   true,
		seed:    maphash.MakeSeed(),
		asks:    make(chan chan<- struct{}),
		closing: make(chan struct{}),
		ended:   make(chan struct{}),
	}
}

// start takes the first version, and watches from then on.
func (l *reloadLoop) start() error {
	if l.path != "" && !filepath.IsAbs(l.path) {
		folder, err := os.Getwd()
		if err != nil {
			return l.notTaken(-1, err, false)
		}
		// Not cleaned: a link may come before a "..".
		l.path = folder + string(filepath.Separator) + l.path
	}
	l.watch = newPathWatch()
	if err := l.first(); err != nil {
		l.watch.close()
		return err
	}
	go l.run()
	return nil
}

func (l *reloadLoop) first() error {
	began, force := time.Now(), false
	for {
		l.renew()
		again := l.look(force)
		problem := l.problem()
		if l.version > 0 {
			return nil
		}
		patience := l.o.WaitFirst
		if problem.passing() {
			patience = max(patience, 10*time.Second)
		}
		left := patience - time.Since(began)
		if left <= 0 {
			return problem
		}
		force = l.wait(min(again, left), nil)
	}
}

func (l *reloadLoop) run() {
	defer close(l.ended)
	defer l.watch.close()
	var waiting []chan<- struct{}
	force := false
	for {
		l.renew()
		l.heard = l.heard || len(waiting) > 0 // who asks should know
		again := l.look(force || len(waiting) > 0)
		for _, done := range waiting {
			close(done)
		}
		waiting = nil
		force = l.wait(again, &waiting)
		select {
		case <-l.closing:
			return
		default:
		}
	}
}

// wait waits for a reason to look again, and tells what hear does.
func (l *reloadLoop) wait(limit time.Duration, waiting *[]chan<- struct{}) (written bool) {
	asked := l.pause(reloadRest, nil, waiting)
	if !asked && l.watch.read() == (fileNews{}) {
		asked = l.pause(limit, l.watch.bell(), waiting)
	}
	if news := l.watch.read(); news.written && !news.concluded && !asked {
		l.pause(reloadRest, nil, waiting)
	}
	return l.hear()
}

// renew comes between hear and look: what is told of a folder that is new is forgotten only once
// the folder is watched.
func (l *reloadLoop) renew() {
	err := l.watch.renew(l.path)
	l.heard, l.writing = l.heard || err != nil, l.watch.isWriting()
	l.lock.Lock()
	defer l.lock.Unlock()
	l.told.Watching, l.told.WatchErr = err == nil, err
}

// hear takes what has happened to the file, and tells whether the bytes may be others, whatever the
// times say.
func (l *reloadLoop) hear() (written bool) {
	news := l.watch.take()
	l.heard = l.heard || news != (fileNews{})
	if news.written {
		l.settling = nil
	}
	if news.concluded {
		l.pace = reloadPace
	}
	return news.written
}

// pause ends early when the bell rings, somebody asks for a look, or at the end; the latter two it
// tells.
func (l *reloadLoop) pause(
	limit time.Duration,
	bell <-chan struct{},
	waiting *[]chan<- struct{},
) (called bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	asks := l.asks
	if waiting == nil {
		asks = nil
	}
	select {
	case <-timer.C:
	case <-bell:
	case <-l.closing:
		return true
	case done := <-asks:
		*waiting = append(*waiting, done)
		return true
	}
	return false
}

func (l *reloadLoop) patience() time.Duration {
	if l.o.WaitWriter > 0 {
		return l.o.WaitWriter
	}
	return reloadUnclosed
}

func (l *reloadLoop) notTaken(size int64, err error, refused bool) *ReloadError {
	now := time.Now()
	return &ReloadError{
		Path:    l.path,
		Size:    size,
		Kept:    l.version,
		Since:   now,
		Last:    now,
		Count:   1,
		Err:     err,
		refused: refused,
	}
}

func (l *reloadLoop) problem() *ReloadError {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.wrong
}

func (l *reloadLoop) stats() ReloadStats {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.told
}

func (l *reloadLoop) refresh() error {
	done := make(chan struct{})
	select {
	case l.asks <- done:
	case <-l.ended:
		return closedError("refresh", l.path)
	}
	select {
	case <-done:
	case <-l.ended:
		return closedError("refresh", l.path)
	}
	if err := l.problem(); err != nil {
		return err
	}
	return nil
}

func (l *reloadLoop) close() error {
	err := closedError("close", l.path)
	l.once.Do(func() {
		close(l.closing)
		err = nil
	})
	<-l.ended
	return err
}
