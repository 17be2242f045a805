package sigward

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// isBeingWritten asks with a read lease, which is given back at once: the kernel refuses it while a
// writer exists. src/reloading/writers.rs of the Rust crate explains it. A writer who opens the
// file in those microseconds waits for them, and SIGURG comes, which Go's runtime expects at any
// time.
func isBeingWritten(f *os.File) (writing, known bool) {
	const setSignal, setLease = 10, 1024 // F_SETSIG, F_SETLEASE
	withFd(f, func(fd int) {
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setSignal, uintptr(syscall.SIGURG)); errno != 0 {
			return
		}
		_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setLease, syscall.F_RDLCK)
		if errno == 0 {
			syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), setLease, syscall.F_UNLCK)
		}
		writing, known = errno == syscall.EAGAIN, errno == 0 || errno == syscall.EAGAIN
	})
	return writing, known
}

// fileNews is what events amount to.
type fileNews struct {
	written   bool // something was written to the file; the writer may go on
	concluded bool // a writer has closed the file, or the path leads elsewhere
}

// pathWatch is told of changes by inotify(7): on the file, on each folder in which a name of the
// path is a link or the file, and on the other folders on the way for being renamed or removed
// themselves. What cannot be watched the tick finds.
//
// A nil one knows nothing.
type pathWatch struct {
	file *os.File
	raw  syscall.RawConn
	rang chan struct{}
	gone chan struct{} // closed when nobody reads any more

	lock     sync.Mutex
	chain    map[string]chainPlace
	names    map[int32]map[string]bool // by watch
	complete bool
	news     fileNews
}

const (
	watchSelf    = syscall.IN_MOVE_SELF | syscall.IN_DELETE_SELF
	watchEntries = syscall.IN_CREATE | syscall.IN_MOVED_TO | syscall.IN_MOVED_FROM | syscall.IN_DELETE
	watchFile    = syscall.IN_MODIFY | syscall.IN_CLOSE_WRITE | syscall.IN_ATTRIB
	// On the folder of a file that we may not read.
	watchBlind = syscall.IN_ATTRIB | syscall.IN_CLOSE_WRITE
)

func newPathWatch() *pathWatch {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil // the limit of instances
	}
	w := &pathWatch{file: os.NewFile(uintptr(fd), "inotify"), rang: make(chan struct{}, 1), gone: make(chan struct{})}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		w.file.Close()
		return nil
	}
	go func() {
		defer close(w.gone)
		// Never done: it ends with an error, when the file is closed.
		w.raw.Read(func(fd uintptr) bool {
			if w.drain(int(fd)) != (fileNews{}) {
				select {
				case w.rang <- struct{}{}:
				default:
				}
			}
			return false
		})
	}()
	return w
}

func (w *pathWatch) close() {
	if w != nil {
		w.file.Close()
		<-w.gone
	}
}

func (w *pathWatch) bell() chan struct{} {
	if w == nil {
		return nil
	}
	return w.rang
}

// read is what has happened since the last take. It does not wait.
func (w *pathWatch) read() (news fileNews) {
	if w != nil {
		w.raw.Control(func(fd uintptr) { news = w.drain(int(fd)) })
	}
	return news
}

func (w *pathWatch) take() (news fileNews) {
	if w == nil {
		return news
	}
	w.read()
	select {
	case <-w.rang:
	default:
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	news, w.news = w.news, fileNews{}
	return news
}

func (w *pathWatch) drain(fd int) fileNews {
	w.lock.Lock()
	defer w.lock.Unlock()
	var buffer [4096]byte
	for {
		n, err := syscall.Read(fd, buffer[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return w.news
		}
		w.judge(buffer[:n])
	}
}

// judge takes the events of one read: number, mask, cookie, length of the name, name.
func (w *pathWatch) judge(events []byte) {
	for len(events) >= syscall.SizeofInotifyEvent {
		number := int32(binary.NativeEndian.Uint32(events))
		mask, length := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		events = events[syscall.SizeofInotifyEvent:]
		name := events[:min(int(length), len(events))]
		events = events[len(name):]
		if mask&syscall.IN_Q_OVERFLOW != 0 {
			w.news = fileNews{true, true}
			continue
		}
		names, known := w.names[number]
		if !known {
			continue
		}
		end := bytes.IndexByte(append(name[:len(name):len(name)], 0), 0)
		switch {
		case mask&syscall.IN_IGNORED != 0:
			// What it watched is gone, and something else may have got its inode's number:
			// everything is watched anew.
			delete(w.names, number)
			w.chain, w.news.concluded = nil, true
		case mask&syscall.IN_MODIFY != 0:
			w.news.written = true
		case end == 0 || names[string(name[:end])]:
			w.news.concluded = true
		}
	}
}

// renew watches the way to the path as it is now, and tells whether all of it is watched. What
// changes after this is told.
func (w *pathWatch) renew(path string) (complete bool) {
	if w == nil {
		return false
	}
	w.raw.Control(func(fd uintptr) {
		w.lock.Lock()
		defer w.lock.Unlock()
		// A way that changes while it is being watched is walked again; should it never rest, there
		// is the tick.
		for try := 0; try < 8; try++ {
			chain := followPath(path)
			moved := !sameChain(chain, w.chain)
			if !moved && (w.complete || try > 0) {
				break
			}
			w.put(int(fd), chain)
		}
		complete = w.complete
	})
	return complete
}

func (w *pathWatch) put(fd int, chain map[string]chainPlace) {
	names, complete, blind := map[int32]map[string]bool{}, true, ""
	add := func(at string, mask uint32, more map[string]bool) bool {
		number, err := syscall.InotifyAddWatch(fd, at, mask)
		if err != nil {
			complete = false
			return false
		}
		if names[int32(number)] == nil {
			names[int32(number)] = map[string]bool{}
		}
		for name := range more {
			names[int32(number)][name] = true
		}
		return true
	}
	for at, place := range chain {
		if place.isFile && !add(at, watchSelf|watchFile, nil) {
			blind = filepath.Dir(at)
		}
	}
	for at, place := range chain {
		if place.isFile {
			continue
		}
		// The same folder by two ways has one watch: IN_MASK_ADD keeps what the other way asked
		// for.
		mask := uint32(watchSelf | syscall.IN_ONLYDIR | syscall.IN_MASK_ADD)
		if len(place.names) > 0 {
			mask |= watchEntries
		}
		if at == blind {
			mask |= watchBlind
		}
		add(at, mask, place.names)
	}
	for number := range w.names {
		if names[number] == nil {
			syscall.InotifyRmWatch(fd, uint32(number))
		}
	}
	w.names, w.chain, w.complete = names, chain, complete
}

// chainPlace is a place between a path and its file whose changes matter.
type chainPlace struct {
	// In this folder they decide: another entry there, and the path leads elsewhere.
	names         map[string]bool
	device, inode uint64 // so that a folder in the place of another is noticed
	isFile        bool
}

// followPath follows an absolute path as the kernel would, as far as it leads.
func followPath(path string) map[string]chainPlace {
	chain := map[string]chainPlace{}
	decides := func(folder, name string) {
		place := chain[folder]
		if place.names == nil {
			place.names = map[string]bool{}
		}
		place.names[name] = true
		chain[folder] = place
	}
	here, ahead := "/", strings.Split(path, "/")
	for links := 0; len(ahead) > 0; {
		name := ahead[0]
		ahead = ahead[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = filepath.Dir(here)
			continue
		}
		at := filepath.Join(here, name)
		var s syscall.Stat_t
		if eintr(func() error { return syscall.Lstat(at, &s) }) != 0 {
			decides(here, name)
			return chain
		}
		if s.Mode&syscall.S_IFMT == syscall.S_IFDIR && len(ahead) > 0 {
			place := chain[at]
			place.device, place.inode = uint64(s.Dev), s.Ino
			chain[at] = place
			here = at
			continue
		}
		decides(here, name)
		if s.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			chain[at] = chainPlace{device: uint64(s.Dev), inode: s.Ino, isFile: true}
			return chain
		}
		target, err := os.Readlink(at)
		if links++; err != nil || links > 40 { // as many as the kernel follows
			return chain
		}
		if filepath.IsAbs(target) {
			here = "/"
		}
		ahead = append(strings.Split(target, "/"), ahead...)
	}
	return chain
}

func sameChain(a, b map[string]chainPlace) bool {
	if len(a) != len(b) {
		return false
	}
	for at, place := range a {
		other, here := b[at]
		if !here || place.device != other.device || place.inode != other.inode || place.isFile != other.isFile || len(place.names) != len(other.names) {
			return false
		}
		for name := range place.names {
			if !other.names[name] {
				return false
			}
		}
	}
	return true
}
