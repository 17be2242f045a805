package sigward

import (
	"runtime"
	"sync"
	"syscall"
)

// Log is an append log on a map that grows. Appending is a copy into memory, without a system
// call; where another handler for SIGBUS stands above ours when it is opened, it is some system
// calls. Blocks are reserved before, so a full disk is an error of one Append, and what was
// appended is safe. Programs in Rust and C read and write the same files.
//
//	the process dies, kill -9 too   no record whose Append has returned is lost or there in part
//	the machine stops               nothing is lost that was appended before a Flush that returned
//	a write to the disk fails       Flush fails; OpenLog writes again what is still in memory
//	the disk is full                Append fails with ErrNoSpace; a later one works when there is
//	                                room
//	somebody cuts the file          Append and Flush fail with ErrLost, even if it grows again
//	somebody unlinks, renames or    Flush fails with ErrLogMoved
//	replaces it
//
// On btrfs, which copies on write, a new log is exempted from that (chattr +C). In a file that is
// not, a store into a page that was written before may find no room: an error of Append as well,
// after which the log has to be opened anew.
//
// Methods may be called from many goroutines. One process at a time has the log open for writing: a
// lock on the file (flock), which a child started by os/exec does not get.
//
// Logs are for Linux on amd64 and arm64 with cgo; elsewhere OpenLog and OpenLogReader fail with
// errors.ErrUnsupported.
type Log struct {
	path     string
	capacity int64
	recovery LogRecovery

	open      sync.RWMutex // against Close
	appending sync.Mutex   // goroutines wait here, and not in C, where each would take a thread
	handle    logHandle
	isClosed  bool
}

// LogOptions are for OpenLogWith.
type LogOptions struct {
	// How long the log can become while it is open, in bytes of addresses; 0: 64 GiB, or four times
	// what there is if that is more; where the process cannot have so many (RLIMIT_AS), at most
	// half of what it can.
	Capacity int64
	// How many bytes to reserve at a time; 0: an eighth of what there is, 1 MiB at least and 64 MiB
	// at most.
	Step int64
	// Where the file system cannot promise blocks (ext2, some network file systems), write zeros.
	SlowZeros bool
	// Where whole records follow a torn one, none of which was flushed: the log ends before it, and
	// they are overwritten. Without, opening is ErrLogDamaged, and SalvageLog copies out what is
	// whole.
	DiscardAfterTorn bool
}

// LogRecovery is what OpenLog found.
type LogRecovery struct {
	Records int64 // whole records
	End     int64 // where the next one will be, in bytes from the start of the file
	Durable int64 // up to where everything was known to be on the disk
	// Bytes behind End that were being written when the process or the machine died, and are zeros
	// now.
	Torn int64
}

// LogReport is what a log's file holds.
type LogReport struct {
	Records     int64 // whole records, before and behind damage
	End         int64 // where the last of them ends, in bytes from the start of the file
	Durable     int64 // up to where everything was on the disk once
	Damaged     int64 // places that are damaged: below Durable, or with whole records behind them
	FirstDamage int64 // where the first of them begins
	Lost        int64 // bytes that they have together
	Torn        int64 // bytes behind End that are no record: what was, or is, being written
	Headers     int   // copies of the header that are as they were written, of two
}

// Sound tells whether everything that was ever acknowledged can be had: OpenLog succeeds.
func (r LogReport) Sound() bool { return r.Headers > 0 && r.Damaged == 0 }

// CheckLog looks at every record of the log at path, and changes nothing. It takes no lock: what a
// writer appends meanwhile may be seen or not. Damage behind the header is no error: the report
// tells.
//
// It fails with ErrNotALog, ErrLogDamaged where no copy of the header can be read, and as os.Open.
func CheckLog(path string) (LogReport, error) {
	report, errno := checkLog(path)
	if errno != 0 {
		return report, logFailure("check", path, errno, 0)
	}
	return report, nil
}

// SalvageLog copies all whole records of the log at from, in their order, into a new log at to,
// where they have other positions, and reports what it found; from is only read.
//
// It fails as CheckLog and Log.Append, and with os.ErrExist if there is a file at to. What was
// copied before it failed stays there.
func SalvageLog(from, to string) (LogReport, error) {
	report, errno := salvageLog(from, to)
	if errno != 0 {
		return report, logFailure("salvage", from, errno, 0)
	}
	return report, nil
}

// MaxRecord is how many bytes a record of a Log has at most: 1 GiB less one.
const MaxRecord = 1<<30 - 1

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
	handle, found, errno := openLogHandle(path, options)
	if errno != 0 {
		return nil, logFailure("open", path, errno, found.End)
	}
	l := &Log{path: path, capacity: options.Capacity, recovery: found, handle: handle}
	if l.capacity == 0 {
		l.capacity = 64 << 30
	}
	runtime.SetFinalizer(l, (*Log).Close)
	return l, nil
}

// Append adds a record of up to MaxRecord bytes, none is allowed, and returns its position: bytes
// from the start of the file, for LogReader.SeekTo. It survives the process from now on, and the
// machine from the next Flush on.
//
// It fails with ErrNoSpace, ErrNoPromise, ErrLogFull or EFBIG (RLIMIT_FSIZE) when no blocks can be
// had, EMSGSIZE for a record that is too long: the record is not there, and a later one may find
// room. With ErrLost because the file was cut or a page found no room (btrfs), and after a Flush
// that failed, every later call fails as well: open the log anew.
func (l *Log) Append(record []byte) (position int64, err error) {
	l.appending.Lock()
	if l.isClosed {
		l.appending.Unlock()
		return 0, closedError("append", l.path)
	}
	position, errno := l.handle.append(record)
	if errno != 0 {
		err = l.refusal(errno, len(record))
	}
	l.appending.Unlock()
	runtime.KeepAlive(l)
	return position, err
}

// refusal tells a capacity that is used up from a limit on files. With appending held.
func (l *Log) refusal(errno syscall.Errno, length int) error {
	end := l.handle.end()
	if errno == syscall.EFBIG && end+int64(length)+64 > l.capacity {
		return &LogError{Op: "append", Path: l.path, Errno: errno, kind: ErrLogFull}
	}
	return logFailure("append", l.path, errno, end)
}

// Flush waits until everything that was appended before is on the disk, and returns up to where.
// Appends go on meanwhile; flushes that wait for each other share one write.
//
// After an error of the disk everything below the durable that is returned with it is there, and of
// the rest nobody knows: every later call fails, and opening the log anew tells. ErrLost: somebody
// has cut the file; ErrLogDamaged: or written over it. ErrLogMoved: it has lost its name,
// everything is on the disk in that file; every later call fails.
func (l *Log) Flush() (durable int64, err error) {
	l.open.RLock()
	defer l.open.RUnlock()
	if l.isClosed {
		return 0, closedError("flush", l.path)
	}
	durable, errno := l.handle.flush()
	if errno != 0 {
		err = logFailure("flush", l.path, errno, durable)
	}
	return durable, err
}

// End is where the next record will be, in bytes from the start of the file.
func (l *Log) End() int64 {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.isClosed {
		return l.recovery.End
	}
	return l.handle.end()
}

// Recovery is what was found when the log was opened.
func (l *Log) Recovery() LogRecovery { return l.recovery }

// Close flushes, says in the file that the log was closed in order, gives reserved blocks behind
// its end back, and ends the use of the log whatever it returns; the file keeps its length. It
// fails as Flush does, but not with what Append or Flush have failed with already.
func (l *Log) Close() error {
	l.open.Lock()
	defer l.open.Unlock()
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.isClosed {
		return closedError("close", l.path)
	}
	l.isClosed = true
	runtime.SetFinalizer(l, nil)
	l.recovery.End = l.handle.end()
	if errno := l.handle.close(); errno != 0 {
		return logFailure("close", l.path, errno, 0)
	}
	return nil
}
