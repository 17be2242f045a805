package sigward

import (
	"os"
	"syscall"
	"time"
)

// longestTick: before Linux 6.13, and on file systems that have not followed, the change time moves once in a tick of the clock, and a
// second change in the same tick shows nothing. So a copy begins in a later one than the file's last change.
const longestTick = 10 * time.Millisecond

// steady is what tells that a file held still.
type steady struct {
	size    int64
	changed time.Time
}

func (s steady) equal(other steady) bool {
	return s.size == other.size && s.changed.Equal(other.changed)
}

// settled looks at a file, in a later tick than the one of its last change, and waits for a write that had begun before. So a copy that
// is made after it is of one moment if the file looks the same then.
func settled(f *os.File) (steady, syscall.Errno) {
	now, errno := steadyLook(f)
	for wait := 0; errno == 0 && wait < 20 && time.Since(now.changed) < longestTick; wait++ {
		time.Sleep(time.Millisecond)
		now, errno = steadyLook(f)
	}
	if errno == 0 {
		waitForWriters(f)
	}
	return now, errno
}
