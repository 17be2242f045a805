package sigward

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Log is an append log on a Map that grows. Appending is a copy into memory, without a system call;
// blocks are reserved before, so a full disk is an error of one Append, and what was appended is
// safe. Programs in Rust and C read and write the same files.
//
//	the process dies, kill -9 too  no record whose Append has returned is lost, none is there in part
//	the machine stops              nothing that was appended before a Flush that returned is lost; of the rest a prefix stays
//	the disk is full               Append fails with ErrNoSpace; a later one works when there is room
//	somebody cuts the file         Append and Flush fail with ErrLost
//
// On btrfs, which copies on write, a new log is exempted from that (chattr +C). In a file that is
// not, a store into a page that was written before may find no room: an error of Append as well,
// after which the log has to be opened anew.
//
// Methods may be called from many goroutines. One process at a time has the log open for writing: a
// lock on the file (flock), which a child started by os/exec does not get.
type Log struct {
	path     string
	file     *os.File
	m        *Map
	salt     uint32
	options  LogOptions
	recovery LogRecovery

	appending sync.Mutex
	end       int64 // where the next record will be
	reserved  int64 // up to here there are blocks
	hint      int64 // the largest step that was not refused lately
	failed    error // why nothing more can be done with it

	flushing sync.Mutex
	durable  int64
	slot     int // where the watermark is written next
}

// LogOptions are for OpenLogWith.
type LogOptions struct {
	Capacity  int64 // how long the log can become while it is open, in bytes of addresses; 0: 64 GiB, or four times what there is
	Step      int64 // bytes to reserve at a time; 0: an eighth of what there is, 1 MiB at least and 64 MiB at most
	SlowZeros bool  // where the file system cannot promise blocks (ext2, some network file systems), write zeros
}

// LogRecovery is what OpenLog found.
type LogRecovery struct {
	Records int64 // whole records
	End     int64 // where the next one will be, in bytes from the start of the file
	Durable int64 // up to where everything was known to be on the disk
	Torn    int64 // bytes behind End that were being written when the process or the machine died, and are zeros now
}

const pageUnit = 4096 // the smallest page there is

// Append adds a record of up to MaxRecord bytes, none is allowed, and returns its position: bytes
// from the start of the file, for LogReader.SeekTo. It survives the process from now on, and the
// machine from the next Flush on.
//
// It fails with ErrNoSpace, ErrNoPromise, ErrLogFull or EFBIG (RLIMIT_FSIZE) when no blocks can be
// had, EMSGSIZE for a record that is too long: the record is not there, and a later one may find
// room. With ErrLost because the file was cut or a page found no room (btrfs), and after a Flush
// that failed, every later call fails as well: open the log anew.
func (l *Log) Append(record []byte) (position int64, err error) {
	if len(record) > MaxRecord {
		return 0, logError("append", l.path, syscall.EMSGSIZE, 0)
	}
	sum := crc32.Update(l.salt, crc32.IEEETable, record)
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.failed != nil {
		return 0, l.failed
	}
	position, size := l.end, sizeOfRecord(len(record))
	// The zeros that end the log have their block as well: readers look there.
	if needed := position + size + recordPrefix; needed > l.reserved {
		if err := l.grow(needed); err != nil {
			return 0, err
		}
	}
	if err := l.write(position, record, prefixOf(sum, position, len(record))); err != nil {
		l.failed = err
		return 0, err
	}
	l.end = position + size
	return position, nil
}

// write stores the payload first, and the number that makes it a record last and at once.
func (l *Log) write(position int64, record []byte, prefix uint64) error {
	// Page by page: on a full btrfs a store across a boundary never gets both pages at once.
	for at := position + recordPrefix; len(record) > 0; {
		part := record[:min(len(record), int(pageUnit-at%pageUnit))]
		if _, err := l.m.WriteAt(part, at); err != nil {
			return err
		}
		at += int64(len(part))
		record = record[len(part):]
	}
	c := l.m.current.Load()
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], prefix)
	number := *(*uint64)(unsafe.Pointer(&bytes))
	err := c.run(func(data []byte) error {
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&data[position])), number)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = l.m.judge(c, "append", uint64(position), recordPrefix)
	return err
}

// grow makes room up to needed at least: a large step, and less and less where the disk refuses.
func (l *Log) grow(needed int64) error {
	// Growing a file that somebody has cut would hide what is gone.
	if err := l.checkLength(l.reserved); err != nil {
		return err
	}
	page := int64(os.Getpagesize())
	up := func(n int64) int64 { return min((n+page-1)/page*page, l.options.Capacity) }
	if needed > l.options.Capacity {
		return &LogError{Op: "append", Path: l.path, Errno: syscall.EFBIG, kind: ErrLogFull}
	}
	step := l.options.Step
	if step == 0 {
		step = min(max(needed/8, 1<<20), 64<<20)
	}
	step = min(step, l.hint)
	for first, last := true, int64(0); ; first = false {
		end := up(needed + step)
		_, err := reserveFile(l.file, l.reserved, end-l.reserved, l.options.SlowZeros)
		if err == nil {
			if _, err := l.m.Follow(); err != nil {
				return err
			}
			l.reserved = end
			if l.hint = max(end-needed, page); first {
				l.hint = min(max(l.hint, step)*2, 1<<61)
			}
			return nil
		}
		errno := errnoIn(err)
		last = end
		if (errno != syscall.ENOSPC && errno != syscall.EDQUOT && errno != syscall.EFBIG) || end <= up(needed) {
			l.hint = page
			return err
		}
		for end >= last && last > up(needed) {
			if step = step / 2; step < page {
				step = 0
			}
			end = up(needed + step)
		}
	}
}

// checkLength looks whether the file reaches so far; a cut may have met no store yet. With
// appending held.
func (l *Log) checkLength(end int64) error {
	length, err := l.length()
	if err == nil && length < end {
		err = &MapError{Op: "append", Path: l.path, Offset: length, Cause: CauseTruncated, LenNow: length, Errno: syscall.EFAULT}
		l.failed = err
	}
	return err
}

// Flush waits until everything that was appended before is on the disk, and returns up to where.
// Appends go on meanwhile; flushes that wait for each other share one write. After an error nobody
// knows what is there: every later call fails, and opening the log anew tells.
func (l *Log) Flush() (durable int64, err error) {
	wanted, err := l.state()
	if err != nil {
		return 0, err
	}
	l.flushing.Lock()
	defer l.flushing.Unlock()
	end, err := l.state()
	if err != nil || l.durable >= wanted {
		return l.durable, err
	}
	err = syncData(l.file)
	l.appending.Lock()
	defer l.appending.Unlock()
	switch {
	case l.failed != nil:
		return 0, l.failed
	case err != nil:
		l.failed = logError("flush", l.path, errnoIn(err), 0)
		return 0, l.failed
	}
	if err := l.checkLength(end); err != nil {
		return 0, err
	}
	if _, err := l.m.judge(l.m.current.Load(), "flush", 0, int(end)); err != nil {
		l.failed = err
		return 0, err
	}
	l.durable = end
	// That the data is durable is true without it, too; what is missing then is the difference
	// between torn and damaged. It reaches the disk with the next flush.
	if l.writeAt(newWatermark(l.salt, end), watermarkSlots[l.slot]) == nil {
		l.slot = 1 - l.slot
	}
	return end, nil
}

func (l *Log) writeAt(p []byte, offset int64) (err error) {
	withinLimit(func() syscall.Errno {
		_, err = l.file.WriteAt(p, offset)
		return errnoIn(err)
	})
	return err
}

func (l *Log) state() (end int64, err error) {
	l.appending.Lock()
	defer l.appending.Unlock()
	return l.end, l.failed
}

// End is where the next record will be, in bytes from the start of the file.
func (l *Log) End() int64 {
	end, _ := l.state()
	return end
}

// Recovery is what was found when the log was opened.
func (l *Log) Recovery() LogRecovery { return l.recovery }

// Close ends the use of the log and gives reserved blocks behind its end back; the file keeps its
// length. It does not flush.
func (l *Log) Close() error {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.appending.Lock()
	defer l.appending.Unlock()
	if errors.Is(l.failed, os.ErrClosed) {
		return l.failed
	}
	if l.failed == nil {
		page := int64(os.Getpagesize())
		// The page where readers look for the next record stays.
		giveBack(l.file, (l.end+recordPrefix+page-1)/page*page)
	}
	l.failed = closedError("append", l.path)
	l.m.Close()
	unlockFile(l.file)
	return l.file.Close()
}
