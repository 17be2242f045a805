package sigward

import (
	"errors"
	"os"
	"sync"
	"syscall"
)

// Adopted guards mappings that somebody else made and goes on to own: one from Adopt, or all of a
// file's from AdoptFile, for libraries that map by themselves: bbolt, SQLite, a reader of GeoIP
// data.
//
// A lost page of a private mapping, or of a shared one that is read-only, becomes zeros, and the
// library is not told. So look at Err after each of its answers that matter, and take what it said
// as void if that is not nil. Then close the library's handle and open it anew, or call Heal. What
// was lost stays lost until Take or Heal, also when the library has mapped anew.
//
// A lost page of a shared writable mapping ends the process as without this package, after one line
// on standard error that tells the file and the cause: a data base that survives a death does not
// survive writes that go nowhere. Sink is the other way, for files that can be thrown away.
//
// Methods may be called from many goroutines at once. Close ends the guard and leaves the mapping;
// an Adopted that is dropped without it goes on guarding.
type Adopted struct {
	path string

	using sync.Mutex
	guard guard // nil after Close
}

// adopted is the Op of an error about a loss.
const adopted = "adopted"

// guard is what Adopt and AdoptFile do differently.
type guard interface {
	count() int
	status() (Fault, bool)
	take() (Fault, bool)
	verify() syscall.Errno
	sink(bytes uint64)
	heal() syscall.Errno
	close()
}

// Adopt guards data, which must be memory that syscall.Mmap gave, or part of it that begins at a
// page. It is the bytes of f from offset on; f may be nil, causes are then CauseUnknown and Heal is
// impossible. Offsets in errors are from the start of data. Close it before syscall.Munmap.
//
// It fails with a *MapError: EINVAL for no data, data that does not begin at a page, is not mapped
// from a file or not from f at offset; EEXIST where part of it is guarded already; EACCES for
// memory that may be executed; ENOSYS where /proc is not mounted; ENOTSUP without cgo and on other
// systems.
func Adopt(data []byte, f *os.File, offset int64) (*Adopted, error) {
	a := &Adopted{path: "memory"}
	if f != nil {
		a.path = f.Name()
	}
	var errno syscall.Errno
	if a.guard, errno = guardMemory(data, f, offset); errno != 0 {
		return nil, &MapError{Op: "adopt", Path: a.path, Errno: errno}
	}
	return a, nil
}

// AdoptFile guards every mapping of the file in this process, whoever made or makes it: the kernel
// is asked at the fault which file is mapped there. Guarded is the file that path names now, also
// after it was renamed or removed, and a file that has the path at the moment of the fault. Offsets
// in errors are from the start of the file.
//
// At most one descriptor is kept, which can neither read nor write and is no obstacle to leases,
// exec and watchers.
//
// It fails with a *MapError as Open does, but not for an empty file; ENOSYS where /proc is not
// mounted; ENOTSUP without cgo and on other systems.
func AdoptFile(path string) (*Adopted, error) {
	a := &Adopted{path: path}
	var errno syscall.Errno
	if a.guard, errno = guardFile(path); errno != 0 {
		return nil, &MapError{Op: "adopt", Path: path, Errno: errno}
	}
	return a, nil
}

// Count is how many mappings are guarded now, 0 after Close. It reads /proc/self/maps.
func (a *Adopted) Count() int {
	number := 0
	a.use("count", func() syscall.Errno {
		number = a.guard.count()
		return 0
	})
	return number
}

// Status is the fault of the lowest lost byte, and false while nothing is lost or after Close.
func (a *Adopted) Status() (fault Fault, lost bool) {
	a.use("status", func() syscall.Errno {
		fault, lost = a.guard.status()
		return 0
	})
	return fault, lost
}

// Take is as Status, and forgets the loss: later ones are told anew. Zeros that took the place of
// lost pages stay.
func (a *Adopted) Take() (fault Fault, lost bool) {
	a.use("take", func() syscall.Errno {
		fault, lost = a.guard.take()
		return 0
	})
	return fault, lost
}

// Verify looks at the file. It returns the loss if bytes are lost or the file is shorter than when
// it was adopted, and ErrStale if it was changed since or its path names another file. What the
// library itself writes is a change as well, so of a data base only Err tells.
func (a *Adopted) Verify() error {
	err := a.use("verify", func() syscall.Errno { return a.guard.verify() })
	var e *MapError
	if errors.As(err, &e) && e.Errno == syscall.EFAULT {
		if loss := a.Err(); loss != nil {
			return loss
		}
	}
	return err
}

// Sink lets up to so many bytes of lost pages in shared writable mappings be private memory,
// instead of ending the process: what is written there goes nowhere, and other processes do not see
// it. When they are used up, the next lost page ends the process. It suits a file that can be
// thrown away, and no data base.
func (a *Adopted) Sink(bytes uint64) error {
	return a.use("sink", func() syscall.Errno {
		a.guard.sink(bytes)
		return 0
	})
}

// Err is nil while no byte is lost, and the *MapError for the lowest lost one after that. Ask after
// the data was used.
func (a *Adopted) Err() error {
	var loss error
	err := a.use(adopted, func() syscall.Errno {
		if fault, lost := a.guard.status(); lost {
			loss = lostError(adopted, a.path, fault)
		}
		return 0
	})
	if err != nil {
		return err
	}
	return loss
}

// Heal maps what the file holds now over what was lost, at the same addresses, and forgets the
// loss. Whoever reads them at the same time may have read zeros and find Err nil after that, so
// nobody may.
func (a *Adopted) Heal() error {
	return a.use("heal", func() syscall.Errno { return a.guard.heal() })
}

// Close ends the guard. From then on a lost byte kills again. What was lost stays as zeros.
func (a *Adopted) Close() error {
	return a.use("close", func() syscall.Errno {
		a.guard.close()
		a.guard = nil
		return 0
	})
}

// use makes one call of the guard, if it was not closed.
func (a *Adopted) use(op string, call func() syscall.Errno) error {
	a.using.Lock()
	defer a.using.Unlock()
	if a.guard == nil {
		return closedError(op, a.path)
	}
	if errno := call(); errno != 0 {
		return &MapError{Op: op, Path: a.path, Errno: errno}
	}
	return nil
}
