package sigward

import (
	"errors"
	"hash/maphash"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// One look at the file: whether it is another one, whether its writer is done, and what it becomes.

// reloadSeen is what tells one state of a file from another; errno if there is none.
type reloadSeen struct {
	info  os.FileInfo
	state steady
	errno syscall.Errno
}

func (s *reloadSeen) equal(other *reloadSeen) bool {
	if s == nil || other == nil || s.errno != other.errno {
		return false
	}
	return s.errno != 0 || os.SameFile(s.info, other.info) && s.state.equal(other.state)
}

func seenAt(path string) *reloadSeen {
	info, err := os.Stat(path)
	if err != nil {
		return &reloadSeen{errno: errnoIn(err)}
	}
	return &reloadSeen{info: info, state: steadyOf(info)}
}

// look looks once, and returns how long to wait for news after that.
func (l *reloadLoop) look(force bool) time.Duration {
	reloadTurns <- struct{}{}
	done := sync.OnceFunc(func() { <-reloadTurns })
	defer done()
	seen := seenAt(l.path)
	if !force && seen.equal(l.concluded) && !l.unsettled {
		l.heard = false
		return l.o.Tick
	}
	size, again, err, refused := l.attempt(&seen, done)
	done()
	l.concluded = seen
	switch {
	case err == nil && again > 0: // whoever had it open has it open still
		return min(again, l.o.Tick)
	case err == nil:
		l.heard = false
		return l.o.Tick
	case again > 0:
		l.concluded = nil // to be looked at again, also if it stays as it is
	default:
		l.heard = false
	}
	problem := l.notTaken(size, err, refused)
	l.lock.Lock()
	if refused {
		l.told.Refused++
	} else {
		l.told.NotYet++
	}
	known := problem.same(l.wrong)
	if known {
		problem.Since, problem.Count = l.wrong.Since, l.wrong.Count+1
	}
	l.wrong = problem
	l.lock.Unlock()
	if !known && l.o.OnProblem != nil && l.version > 0 {
		l.o.OnProblem(problem)
	}
	if again > 0 {
		return min(again, l.o.Tick)
	}
	return l.o.Tick
}

// attempt takes what is there. again: it is to be tried after that time, though nothing may change
// until then. done is called when it has read the file, before the parser.
func (l *reloadLoop) attempt(seen **reloadSeen, done func()) (
	size int64, again time.Duration, err error, refused bool) {
	file, errno := openSource(l.path)
	if errno != 0 {
		size = -1
		if now := seenAt(l.path); now.errno == 0 {
			*seen, size = now, now.state.size
		} else {
			*seen = now
		}
		if isShortage(errno) {
			again = l.o.Tick
		}
		return size, again, reloadReason(errno, nil), false
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return -1, l.o.Tick, reloadReason(errnoIn(err), nil), false
	}
	now := &reloadSeen{info: info, state: steadyOf(info)}
	known := now.equal(l.concluded) // not what the look found: somebody may have written since
	*seen, size = now, now.state.size
	settled, again, err := l.unfinished(file, now)
	if known && l.unsettled && !settled && (err == nil || errors.Is(err, ErrBeingWritten)) {
		return size, max(again, reloadPace), nil, false // the wait for this one has ended before
	}
	if err != nil {
		return size, again, err, false
	}
	if size == 0 && !l.o.AcceptEmpty {
		return size, 0, reloadReason(errEmpty, ErrEmpty), false
	}
	frozen, again, err := l.copy(file, now, settled)
	if err != nil {
		return size, again, err, false
	}
	if after, errno := steadyNow(file); errno != 0 || !after.equal(now.state) {
		*seen = nil // it is being written: to be looked at again
	}
	l.waiting = time.Time{} // the next contents are waited for anew
	return l.parse(frozen, settled, done)
}

// copy takes the file that was looked at. Nobody has written to it meanwhile; of one that is being
// written it is a copy of one moment, and more was not promised.
func (l *reloadLoop) copy(file *os.File, now *reloadSeen, settled bool) (
	*Frozen, time.Duration, error) {
	size, most := now.state.size, l.o.Limit
	if most == 0 {
		// Half of what is left. Small files are not worth the question.
		if most = 1 << 20; size > most {
			most = max(memoryLeft()/2, 1)
		}
	}
	changed := reloadReason(syscall.ESTALE, errChanged)
	frozen, err := SnapshotWith(l.path, SnapshotOptions{Limit: most})
	var large *TooLargeError
	switch {
	case errors.As(err, &large) && size <= most: // it has grown meanwhile
		return nil, reloadRest, changed
	case errors.As(err, &large) && l.o.Limit > 0:
		// The user's limit stays, and so does what is larger.
		return nil, 0, err
	case errors.Is(err, ErrSourceChanged):
		// Whoever does not stop writing is not copied all the time.
		l.waiting = time.Now().Add(l.o.Tick - max(l.patience(), l.o.Tick))
		return nil, l.o.Tick, changed
	case err != nil:
		return nil, l.o.Tick, err
	}
	// The events of a writer who is gone are all there by now. One that was left for the next look
	// would seem to tell of what happens after this one.
	written := settled && l.hear()
	here := seenAt(l.path)
	good := here.errno == 0 && os.SameFile(here.info, now.info)
	if settled {
		after, errno := steadyNow(file)
		writing, _ := isBeingWritten(file)
		good = good && errno == 0 && !writing && after.equal(now.state) && here.equal(now) &&
			int64(frozen.Len()) == size && !written
	}
	if !good {
		frozen.Close()
		return nil, reloadRest, changed
	}
	return frozen, 0, nil
}

func (l *reloadLoop) parse(frozen *Frozen, settled bool, done func()) (
	int64, time.Duration, error, bool) {
	var hash maphash.Hash
	hash.SetSeed(l.seed)
	size := int64(frozen.Len())
	if _, err := io.Copy(&hash, io.NewSectionReader(frozen, 0, size)); err != nil {
		frozen.Close()
		return size, l.o.Tick, err, false
	}
	done()
	if l.version > 0 && hash.Sum64() == l.digest {
		frozen.Close()
		newly := settled && l.unsettled
		l.unsettled = l.unsettled && !settled
		l.good(func() {
			l.told.Unchanged++
			l.told.Settled = !l.unsettled
		})
		if newly && l.o.OnSettled != nil {
			l.o.OnSettled(l.version)
		}
		return size, 0, nil, false
	}
	publish, err := l.accept(frozen, settled)
	if err != nil {
		frozen.Close()
		return size, 0, err, true
	}
	l.digest = hash.Sum64()
	l.version++
	l.unsettled = !settled
	l.good(func() { // at once: who has the new version does not find the trouble of before in Err
		publish()
		l.told.Settled = settled
	})
	if l.version > 1 && l.o.OnChange != nil {
		l.o.OnChange(l.version)
	}
	return size, 0, nil, false
}

// good notes that what is served is what the path names.
func (l *reloadLoop) good(note func()) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.wrong = nil
	note()
}

// unfinished tells whether the file may be in the midst of being written: then why it is not taken,
// and when to look again; nothing, and not settled, if its writer was waited for long enough.
func (l *reloadLoop) unfinished(file *os.File, now *reloadSeen) (
	settled bool, again time.Duration, err error) {
	writing, known := isBeingWritten(file)
	if writing || !known && l.writing {
		again, l.pace = l.pace, min(2*l.pace, l.o.Tick)
		if l.waiting.IsZero() {
			l.waiting = time.Now()
		}
		if !known || l.o.WaitWriter > 0 {
			again = min(again, l.patience()-time.Since(l.waiting))
		}
		if again <= 0 {
			return false, 0, nil
		}
		return false, again, reloadReason(syscall.EBUSY, ErrBeingWritten)
	}
	l.waiting = time.Time{}
	if known && l.heard {
		return true, 0, nil
	}
	if !now.equal(l.settling) {
		l.settling, l.since = now, time.Now()
	}
	if left := l.o.Settle - time.Since(l.since); left > 0 {
		return true, left, reloadReason(syscall.EBUSY, errSettling)
	}
	return true, 0, nil
}
