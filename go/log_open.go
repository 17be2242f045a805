package sigward

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"
)

// OpenLog opens the log at path, or makes it.
func OpenLog(path string) (*Log, error) { return OpenLogWith(path, LogOptions{}) }

// OpenLogWith opens the log at path, or makes it; a symbolic link is followed. After a crash it
// finds the end and puts zeros in the place of what is torn behind it.
//
// It fails with ErrLogBusy, ErrNotALog, ErrLogDamaged (the file stays as it is), ErrNoSpace,
// ErrNoPromise, and as Open.
func OpenLogWith(path string, options LogOptions) (*Log, error) {
	if options.Capacity < 0 || options.Step < 0 {
		return nil, logError("open", path, syscall.EINVAL, 0)
	}
	file, made, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	l := &Log{path: path, file: file, options: options, hint: 1 << 62}
	if err := l.prepare(); err != nil {
		if l.m != nil {
			l.m.Close()
		}
		if made {
			os.Remove(path) // ours, and locked: nobody else has begun with it
		}
		unlockFile(file)
		file.Close()
		return nil, err
	}
	return l, nil
}

// openLocked opens or makes the file, locks it, and looks that it still has the name.
func openLocked(path string) (file *os.File, made bool, err error) {
	const flags = os.O_RDWR | waitForNobody
	for {
		file, err = os.OpenFile(path, flags, 0)
		if errors.Is(err, os.ErrNotExist) {
			file, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o666)
			made = err == nil
			if errors.Is(err, os.ErrExist) { // somebody was quicker, or a symbolic link names nothing yet
				file, err = os.OpenFile(path, flags|os.O_CREATE, 0o666)
			}
		}
		if err != nil {
			return nil, false, err
		}
		ours, err := file.Stat()
		if err == nil && ours.IsDir() {
			err = &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
		} else if err == nil && !ours.Mode().IsRegular() {
			err = &os.PathError{Op: "open", Path: path, Err: syscall.ENODEV}
		} else if errno := lockFile(file); err == nil && errno != 0 {
			if errno == syscall.EAGAIN {
				errno = syscall.EBUSY
			}
			err = logError("open", path, errno, 0)
		}
		if err != nil {
			file.Close()
			return nil, false, err
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(ours, named) {
			return file, made, nil
		}
		unlockFile(file)
		file.Close()
	}
}

// prepare makes or recovers the log.
func (l *Log) prepare() error {
	length, err := l.length()
	if err != nil {
		return err
	}
	if length == 0 {
		writeInPlace(l.file)
		if _, err := reserveFile(l.file, 0, firstRecord, l.options.SlowZeros); err != nil {
			return err
		}
		length = firstRecord
	}
	wanted := max(l.options.Capacity, length, firstRecord+recordPrefix)
	least := wanted
	if l.options.Capacity == 0 {
		wanted, least = max(defaultCapacity, 4*length), length+leastCapacity
	}
	if l.m, l.options.Capacity, err = openWithRoom(l.path, Options{Writable: true}, wanted, least); err != nil {
		return err
	}
	if ours, err := l.file.Stat(); err != nil {
		return err
	} else if named, err := os.Stat(l.path); err != nil || !os.SameFile(ours, named) {
		return logError("open", l.path, syscall.ESTALE, 0)
	}
	h, errno, err := headerOf(l.m)
	if err != nil {
		return err
	}
	switch errno {
	case 0:
	case errEmpty:
		if h, err = l.begin(); err != nil {
			return err
		}
	default:
		return logError("open", l.path, errno, watermarkSlots[0])
	}
	l.salt = h.salt
	found := LogRecovery{Durable: h.watermark}
	if found.Records, found.End, err = findEnd(l.m, h.salt); err != nil {
		return err
	}
	if found.End < h.watermark {
		return logError("open", l.path, syscall.EBADMSG, found.End)
	}
	if found.Torn, err = l.scrub(found.End); err != nil {
		return err
	}
	l.recovery, l.end, l.durable, l.slot = found, found.End, h.watermark, 1-h.slot
	// What lies behind the end may be a hole: nothing there is taken for granted. The padding may
	// have been cut off.
	l.reserved = min(found.End, int64(l.m.Len()))
	return nil
}

// leastCapacity will do where more addresses cannot be had.
const leastCapacity = 1 << 20

// openWithRoom maps with as much room as can be had between the two: RLIMIT_AS may leave little.
func openWithRoom(path string, o Options, wanted, least int64) (*Map, int64, error) {
	for o.Capacity = wanted; ; o.Capacity = max(o.Capacity/4, least) {
		m, err := OpenWith(path, o)
		none := errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EOVERFLOW)
		if !none || o.Capacity <= least {
			return m, o.Capacity, err
		}
	}
}

func (l *Log) length() (int64, error) {
	s, err := l.file.Stat()
	if err != nil {
		return 0, err
	}
	return s.Size(), nil
}

func headerOf(m *Map) (logHeader, syscall.Errno, error) {
	page := make([]byte, min(m.Len(), firstRecord))
	if _, err := m.ReadAt(page, 0); err != nil && err != io.EOF {
		return logHeader{}, 0, err
	}
	h, errno := readLogHeader(page)
	return h, errno, nil
}

// begin makes a log of a file of zeros, which must be nothing but zeros.
func (l *Log) begin() (h logHeader, err error) {
	_, last, err := l.written(firstRecord)
	if err != nil {
		return h, err
	}
	if last > 0 || l.m.Len() < firstRecord {
		return h, logError("open", l.path, syscall.EILSEQ, 0)
	}
	h = logHeader{salt: randomSalt(), watermark: firstRecord, slot: 1}
	if err := l.writeAt(newLogHeader(h.salt), 0); err != nil {
		return h, err
	}
	if err := syncData(l.file); err != nil {
		return h, err
	}
	return h, syncFolder(l.path)
}

// findEnd goes from record to record.
func findEnd(m *Map, salt uint32) (records, end int64, err error) {
	end = firstRecord
	room := make([]byte, 1<<16)
	for {
		length, ok, err := recordAt(m, salt, end, room)
		if err != nil || !ok {
			return records, end, err
		}
		records, end = records+1, end+sizeOfRecord(length)
	}
}

// recordAt is the length of the record at a position, and whether there is one that counts.
func recordAt(m *Map, salt uint32, position int64, room []byte) (length int, ok bool, err error) {
	rest := int64(m.Len()) - position
	if rest < recordPrefix {
		return 0, false, nil
	}
	if _, err := m.ReadAt(room[:recordPrefix], position); err != nil {
		return 0, false, err
	}
	number := binary.LittleEndian.Uint64(room)
	length, end := readPrefix(number)
	if end || length < 0 || int64(length) > rest-recordPrefix {
		return 0, false, nil
	}
	sum, at := salt, position+recordPrefix
	for stop := at + int64(length); at < stop; {
		part := room[:min(stop-at, int64(len(room)))]
		if _, err := m.ReadAt(part, at); err != nil {
			return 0, false, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, part)
		at += int64(len(part))
	}
	return length, prefixOf(sum, position, length) == number, nil
}

// written is from where to where there is something else than zeros behind start; last is 0 if
// there is nothing.
func (l *Log) written(start int64) (first, last int64, err error) {
	err = l.eachData(start, int64(l.m.Len()), func(part []byte, at int64) error {
		from, to := notZero(part)
		if to > 0 {
			if last == 0 {
				first = at + int64(from)
			}
			last = at + int64(to)
		}
		return nil
	})
	return first, last, err
}

func notZero(part []byte) (from, to int) {
	for from < len(part) && part[from] == 0 {
		from++
	}
	for to = len(part); to > from && part[to-1] == 0; to-- {
	}
	if from == to {
		return 0, 0
	}
	return from, to
}

// eachData shows what is not a hole.
func (l *Log) eachData(start, end int64, look func(part []byte, at int64) error) error {
	room := make([]byte, 1<<16)
	for at := start; at < end; {
		from, to := nextData(l.file, at, end)
		for at = from; at < to; {
			part := room[:min(to-at, int64(len(room)))]
			if _, err := l.m.ReadAt(part, at); err != nil {
				return err
			}
			if err := look(part, at); err != nil {
				return err
			}
			at += int64(len(part))
		}
		at = max(to, from)
	}
	return nil
}

// scrub puts zeros behind the end: a torn record must not come to life again behind a shorter new
// one.
func (l *Log) scrub(end int64) (torn int64, err error) {
	_, last, err := l.written(end)
	if err != nil || last == 0 {
		return 0, err
	}
	zeros := make([]byte, 1<<16)
	if err = l.eachData(end, last, func(part []byte, at int64) error {
		from, to := notZero(part)
		if to == 0 {
			return nil
		}
		_, err := l.m.WriteAt(zeros[:to-from], at+int64(from))
		return err
	}); err != nil {
		return 0, err
	}
	return last - end, syncData(l.file)
}
