package sigward

import (
	"io"
	"runtime"
	"syscall"
)

// LogReader reads a log's records one after the other while a Log, in this process or another, in
// Go, Rust or C, goes on writing. It takes no lock. It is for one goroutine at a time.
type LogReader struct {
	path     string
	handle   readerHandle
	isClosed bool
	room     []byte
}

// OpenLogReader opens the log at path for reading, from the first record on. It fails with
// ErrNotALog, ENODATA where nobody has begun the log, ErrLogDamaged where not even its header can
// be read, and as Open.
func OpenLogReader(path string) (*LogReader, error) {
	handle, errno := openReaderHandle(path)
	if errno != 0 {
		return nil, logFailure("open", path, errno, 0)
	}
	r := &LogReader{path: path, handle: handle, room: make([]byte, 512)}
	runtime.SetFinalizer(r, (*LogReader).Close)
	return r, nil
}

// Next returns the next record, until the next call, and io.EOF if there is none for now: ask again
// later. It fails with ErrLogDamaged if what was there was durable once and is not, or not what was
// written, and with ErrLost if the file was cut; the reader stays where it is then.
func (r *LogReader) Next() ([]byte, error) {
	for {
		if r.isClosed {
			return nil, closedError("read", r.path)
		}
		length, errno := r.handle.next(r.room)
		runtime.KeepAlive(r)
		switch {
		case errno == syscall.EAGAIN:
			return nil, io.EOF
		case errno != 0:
			return nil, logFailure("read", r.path, errno, r.handle.position())
		case length <= len(r.room):
			return r.room[:length], nil
		}
		r.room = make([]byte, length)
	}
}

// Durable is up to where everything is on the disk, and survives a power failure: bytes from the
// start of the file.
func (r *LogReader) Durable() (int64, error) {
	if r.isClosed {
		return 0, closedError("read", r.path)
	}
	durable, errno := r.handle.durable()
	if errno != 0 {
		return 0, logFailure("read", r.path, errno, 0)
	}
	return durable, nil
}

// Position is where the next record is or will be, in bytes from the start of the file.
func (r *LogReader) Position() int64 {
	if r.isClosed {
		return 0
	}
	return r.handle.position()
}

// SeekTo goes to a position that Append or Position returned. At any other one there is no record,
// or damage; EINVAL where none can begin.
func (r *LogReader) SeekTo(position int64) error {
	if r.isClosed {
		return closedError("seek", r.path)
	}
	if errno := r.handle.seek(position); errno != 0 {
		return logError("seek", r.path, errno, 0)
	}
	return nil
}

// Close ends the use of the reader.
func (r *LogReader) Close() error {
	if r.isClosed {
		return closedError("close", r.path)
	}
	r.isClosed = true
	runtime.SetFinalizer(r, nil)
	r.handle.close()
	return nil
}
