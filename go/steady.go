package sigward

import (
	"os"
	"syscall"
	"time"
)

// longestTick: before Linux 6.13, and on file systems that have not followed, the change time moves
// once in a tick of the clock, and a second change in the same tick shows nothing. So a copy begins
// in a later one than the file's last change. Where times are whole seconds, or two, that is a wait
// of up to two seconds, of a file that has just been changed.
const longestTick, longestCoarseTick = 10 * time.Millisecond, 2 * time.Second

// steady is what tells that a file held still.
type steady struct {
	size    int64
	changed time.Time
}

func (s steady) equal(other steady) bool {
	return s.size == other.size && s.changed.Equal(other.changed)
}

// settled looks at a file, in a later tick than the one of its last change, and waits for a write
// that had begun before. So a copy that is made after it is of one moment if the file looks the
// same then. Where times are whole seconds it waits for those only if told to.
func settled(f *os.File, waitForSeconds bool) (steady, syscall.Errno) {
	now, errno := steadyNow(f)
	// A server's clock may be ahead of ours for ever.
	tick, pause, most := longestTick, time.Millisecond, 20
	if errno == 0 && waitForSeconds && now.changed.Nanosecond() == 0 {
		tick, pause, most = longestCoarseTick, 50*time.Millisecond, 42
	}
	for wait := 0; errno == 0 && wait < most && time.Since(now.changed) < tick; wait++ {
		time.Sleep(pause)
		now, errno = steadyNow(f)
	}
	if errno == 0 {
		waitForWriters(f)
	}
	return now, errno
}
