package sigward

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/sigward/sigward/go/internal/order"
)

// LogReader reads a log's records one after the other while a Log, in this process or another, in
// Go, Rust or C, goes on writing. It takes no lock. It is for one goroutine at a time.
type LogReader struct {
	path     string
	file     *os.File // it may get another name, and outgrow the map
	m        *Map
	capacity int64
	salt     uint32
	position int64
	room     []byte
}

// OpenLogReader opens the log at path for reading, from the first record on. It fails with
// ErrNotALog, ENODATA where nobody has begun the log, ErrLogDamaged where not even its header can
// be read, and as Open.
func OpenLogReader(path string) (*LogReader, error) {
	r := &LogReader{path: path, position: firstRecord}
	var err error
	if r.m, r.capacity, err = mapToRead(path); err != nil {
		return nil, err
	}
	if r.file, err = os.Open(path); err != nil {
		r.m.Close()
		return nil, err
	}
	h, errno, err := headerOf(r.m)
	if err == nil && errno != 0 {
		err = logError("open", path, errno, watermarkSlots[0])
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	r.salt = h.salt
	return r, nil
}

func mapToRead(path string) (*Map, int64, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	return openWithRoom(path, Options{}, s.Size()+defaultCapacity, s.Size()+leastCapacity)
}

// Next returns the next record, until the next call, and io.EOF if there is none for now: ask again
// later. It fails with ErrLogDamaged if what is there was durable once and is not what was written,
// and with ErrLost if the file was cut; the reader stays where it is then.
func (r *LogReader) Next() ([]byte, error) {
	if ok, err := r.reaches(r.position + recordPrefix); !ok {
		return nil, err
	}
	number, err := r.number()
	if err != nil {
		return nil, err
	}
	length, end := readPrefix(number)
	switch {
	case end:
		return nil, io.EOF
	case length < 0:
		return nil, r.bad()
	}
	if ok, err := r.reaches(r.position + recordPrefix + int64(length)); !ok {
		if err == io.EOF {
			err = r.bad()
		}
		return nil, err
	}
	if cap(r.room) < length {
		r.room = make([]byte, length)
	}
	record := r.room[:length]
	if length > 0 {
		if _, err := r.m.ReadAt(record, r.position+recordPrefix); err != nil {
			return nil, err
		}
	}
	if prefixOf(crc32.Update(r.salt, crc32.IEEETable, record), r.position, length) != number {
		return nil, r.bad()
	}
	r.position += sizeOfRecord(length)
	return record, nil
}

// number is what stands before the record; the payload is there when it is.
func (r *LogReader) number() (uint64, error) {
	c := r.m.current.Load()
	if c == nil {
		return 0, closedError("read", r.path)
	}
	var bytes [8]byte
	if err := c.run(func(data []byte) error {
		*(*uint64)(unsafe.Pointer(&bytes)) = atomic.LoadUint64((*uint64)(unsafe.Pointer(&data[r.position])))
		return nil
	}); err != nil {
		return 0, err
	}
	order.LoadLoad()
	_, err := r.m.judge(c, "read", uint64(r.position), recordPrefix)
	runtime.KeepAlive(c)
	return binary.LittleEndian.Uint64(bytes[:]), err
}

// reaches tells whether the map has bytes up to end, the file having grown perhaps; io.EOF if not.
func (r *LogReader) reaches(end int64) (bool, error) {
	if end <= int64(r.m.Len()) {
		return true, nil
	}
	n, err := r.m.Follow()
	if err == nil && int64(n) == r.capacity {
		if n, err = r.mapAgain(); err == nil {
			n, err = r.m.Follow()
		}
	}
	switch {
	case err != nil:
		return false, err
	case end <= int64(n):
		return true, nil
	}
	return false, io.EOF
}

// mapAgain maps a log that has outgrown the map, or does nothing. It may have been renamed.
func (r *LogReader) mapAgain() (int, error) {
	ours, err := r.file.Stat()
	if err != nil || ours.Size() <= r.capacity {
		return r.m.Len(), err
	}
	path := r.path
	if named, err := os.Stat(path); err != nil || !os.SameFile(ours, named) {
		withFd(r.file, func(fd int) { path = procPath(fd) })
	}
	m, capacity, err := mapToRead(path)
	if err != nil {
		return 0, err
	}
	h, errno, err := headerOf(m)
	if err == nil && (errno != 0 || h.salt != r.salt) {
		err = logError("read", r.path, syscall.ESTALE, r.position)
	}
	if err != nil {
		m.Close()
		return 0, err
	}
	r.m.Close()
	r.m, r.capacity = m, capacity
	return m.Len(), nil
}

// bad is the end for now, or damage.
func (r *LogReader) bad() error {
	h, errno, err := headerOf(r.m)
	if err != nil {
		return err
	}
	if errno == 0 && r.position < h.watermark {
		return logError("read", r.path, syscall.EBADMSG, r.position)
	}
	return io.EOF
}

// Position is where the next record is or will be, in bytes from the start of the file.
func (r *LogReader) Position() int64 { return r.position }

// SeekTo goes to a position that Append or Position returned. At any other one there is no record,
// or damage; EINVAL where none can begin.
func (r *LogReader) SeekTo(position int64) error {
	if position < firstRecord || position%recordPrefix != 0 {
		return logError("seek", r.path, syscall.EINVAL, 0)
	}
	r.position = position
	return nil
}

// Close ends the use of the reader.
func (r *LogReader) Close() error {
	r.file.Close()
	return r.m.Close()
}
