package sigward

import (
	"bytes"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Audit looks at the process, as `sigward audit PID` does from outside, and says what may go wrong
// with signals in it; Own has what only the process itself can see. It reads /proc, also of all
// other processes that it may look at: milliseconds, and 20 more where a signal is blocked that
// matters, as starting a thread blocks all for a moment and they are looked at twice.
//
// A program that does not call it does not grow by it.
func Audit() (AuditReport, error) {
	own, err := ownAudit()
	if err != nil {
		return AuditReport{}, err
	}
	number, err := os.Readlink("/proc/self")
	if err != nil {
		return AuditReport{}, err
	}
	facts, err := factsOf(number)
	if err != nil {
		return AuditReport{}, err
	}
	facts.own = own
	facts.lookAgain()
	s := facts.status
	report := AuditReport{
		PID: atoi(number), Program: s.name, User: s.user, Threads: len(facts.masks),
		Runtimes: facts.runtimes, HasSigward: isWarded,
		SIGPIPE: s.disposition(sigpipe), SIGBUS: s.disposition(sigbus),
		Ignored: signalNames(s.ignored), Caught: signalNames(s.caught),
		Pending: signalNames(s.pending),
		Own:     own, Findings: facts.findings(),
	}
	if !facts.isOpen {
		why := "its maps and descriptors may not be read"
		report.Missing = &why
	}
	return report, nil
}

const (
	sigbus  = int(syscall.SIGBUS)
	sigsegv = int(syscall.SIGSEGV)
	sigpipe = int(syscall.SIGPIPE)
	sigurg  = int(syscall.SIGURG)
)

// mappedFile is a file with its maps taken together.
type mappedFile struct {
	path                          string
	mappedTo, length, holes, free uint64
	isKnown, isLimited            bool // length; free
	isSharedWritable, isDeleted   bool
	writers                       []int
}

// auditFacts is everything that the findings are made from.
type auditFacts struct {
	id               string
	status           procStatus
	masks            []threadMask
	runtimes         []string
	libraries        int
	interposers      []string
	sockets          int
	files            []mappedFile
	ignoringChildren []int
	isOpen           bool
	own              *OwnAudit
}

type threadMask struct {
	tid     int
	blocked uint64
}

func factsOf(id string) (*auditFacts, error) {
	status, err := statusOf(id)
	if err != nil {
		return nil, err
	}
	f := &auditFacts{id: id, status: status}
	for _, tid := range numbersIn("/proc/" + id + "/task") {
		if s, err := statusOf(tid); err == nil {
			f.masks = append(f.masks, threadMask{atoi(tid), s.blocked})
		}
	}
	lines, err := mapsOf(id)
	f.isOpen = err == nil
	f.runtimes, f.libraries = runtimesOf(lines)
	if hasSection("/proc/"+id+"/exe", ".go.buildinfo") {
		f.runtimes = append(f.runtimes, "Go")
	}
	for _, fd := range linksIn("/proc/" + id + "/fd") {
		if strings.HasPrefix(fd, "socket:") {
			f.sockets++
		}
	}
	f.addInterposers(lines)
	all := numbersIn("/proc")
	f.addFiles(lines, writersAmong(all))
	f.addChildren(all)
	return f, nil
}

// blocked is of each signal that matters the threads that have it blocked.
func (f *auditFacts) blocked(signal int) (threads []int) {
	const everything, never = 1<<31 - 1, 1<<(syscall.SIGKILL-1) | 1<<(syscall.SIGSTOP-1)
	isNode, isGo := false, f.isGo()
	for _, name := range f.runtimes {
		isNode = isNode || name == "Node"
	}
	for _, mask := range f.masks {
		// One thread of Node waits for SIGUSR1, does nothing else, and has everything blocked.
		if isNode && (mask.blocked|never)&everything == everything {
			isNode = false
			continue
		}
		// One of Go keeps the mask of a program that has used os/signal, as this package does.
		faults := holds(mask.blocked, sigbus) || holds(mask.blocked, sigsegv)
		if isGo && mask.blocked>>34 == 1<<30-1 && !faults {
			isGo = false
			continue
		}
		if holds(mask.blocked, signal) {
			threads = append(threads, mask.tid)
		}
	}
	return threads
}

func (f *auditFacts) isGo() bool {
	return len(f.runtimes) > 0 && f.runtimes[len(f.runtimes)-1] == "Go"
}

// lacksSIGURG is whether Go's scheduler does not get the signal by which it interrupts threads.
func (f *auditFacts) lacksSIGURG() bool {
	return f.isGo() && f.status.disposition(sigurg) != "caught"
}

// lookAgain keeps what is blocked now as well: starting a thread blocks all for a moment.
func (f *auditFacts) lookAgain() {
	blocked := len(f.blocked(sigbus)) + len(f.blocked(sigsegv)) + len(f.blocked(sigpipe))
	if blocked == 0 && !f.lacksSIGURG() {
		return
	}
	time.Sleep(20 * time.Millisecond)
	for i := range f.masks {
		// Of a thread that is gone the set is empty.
		now, _ := statusOf(strconv.Itoa(f.masks[i].tid))
		f.masks[i].blocked &= now.blocked
	}
	if now, err := statusOf(f.id); err == nil {
		f.status = now
	}
}

// ofCLibrary is whether a file is the C library's own, by how its name begins.
func ofCLibrary(name string) bool {
	for _, own := range [...]string{
		"libc.so", "libc-2.", "ld-", "libpthread", "libresolv", "libdl", "libm.so", "libm-2.",
		"librt", "libnss",
	} {
		if strings.HasPrefix(name, own) {
			return true
		}
	}
	return false
}

// runtimesOf is the runtimes, and how many libraries there are beside the C library's own.
func runtimesOf(lines []mapLine) (found []string, libraries int) {
	found = []string{}
	seen := map[uint64]bool{}
	for _, line := range lines {
		name, runtime := path.Base(line.path), ""
		switch {
		case name == "libjvm.so":
			runtime = "JVM"
		case name == "node":
			runtime = "Node"
		case strings.HasPrefix(name, "libpython3"), strings.HasPrefix(name, "python3"):
			runtime = "CPython"
		}
		for _, known := range found {
			if known == runtime {
				runtime = ""
			}
		}
		if runtime != "" {
			found = append(found, runtime)
		}
		if strings.Contains(name, ".so") && !ofCLibrary(name) {
			seen[line.inode] = true
		}
	}
	return found, len(seen)
}

// addInterposers adds libraries with a sigaction(2) of their own.
func (f *auditFacts) addInterposers(lines []mapLine) {
	known := map[string]bool{}
	for i := range lines {
		line := &lines[i]
		if !line.isCode || ofCLibrary(path.Base(line.path)) {
			continue
		}
		found, isKnown := known[line.path]
		if !isKnown {
			found = exports(line.reachable(f.id), "sigaction")
			known[line.path] = found
		}
		if last := len(f.interposers) - 1; found && (last < 0 || f.interposers[last] != line.path) {
			f.interposers = append(f.interposers, line.path)
		}
	}
}

type fileID struct{ device, inode uint64 }

// writersAmong is who has which file open for writing, as far as that may be looked at.
func writersAmong(all []string) map[fileID][]int {
	found := map[fileID][]int{}
	for _, id := range all {
		seen := map[fileID]bool{}
		for _, fd := range numbersIn("/proc/" + id + "/fd") {
			var file syscall.Stat_t
			err := syscall.Stat("/proc/"+id+"/fd/"+fd, &file)
			if err != nil || file.Mode&syscall.S_IFMT != syscall.S_IFREG {
				continue
			}
			info, _ := os.ReadFile("/proc/" + id + "/fdinfo/" + fd)
			_, flags, _ := bytes.Cut(info, []byte("flags:\t"))
			flags, _, _ = bytes.Cut(flags, []byte("\n"))
			bits, err := strconv.ParseUint(string(flags), 8, 64)
			key := fileID{uint64(file.Dev), file.Ino}
			if err == nil && bits&syscall.O_ACCMODE != syscall.O_RDONLY && !seen[key] {
				seen[key] = true
				found[key] = append(found[key], atoi(id))
			}
		}
	}
	return found
}

func (f *auditFacts) addFiles(lines []mapLine, writers map[fileID][]int) {
	// Libraries and executables have a mapping that is code.
	code := map[uint64]bool{}
	for _, line := range lines {
		code[line.inode] = code[line.inode] || line.isCode
	}
	type key struct {
		inode uint64
		path  string
	}
	places, keys := map[key]*mappedFile{}, []key{}
	names := map[key]string{}
	for i := range lines {
		line := &lines[i]
		if code[line.inode] {
			continue
		}
		at := key{line.inode, line.path}
		file := places[at]
		if file == nil {
			file = &mappedFile{path: line.path, isDeleted: line.isDeleted}
			places[at], names[at] = file, line.reachable(f.id)
			keys = append(keys, at)
		}
		file.mappedTo = max(file.mappedTo, line.offset+line.length)
		file.isSharedWritable = file.isSharedWritable || line.isShared && line.isWritable
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].inode != keys[j].inode {
			return keys[i].inode < keys[j].inode
		}
		return keys[i].path < keys[j].path
	})
	for _, at := range keys {
		if file := places[at]; file.look(names[at], atoi(f.id), writers) {
			f.files = append(f.files, *file)
		}
	}
}

// look says whether there is anything to say of it.
func (m *mappedFile) look(name string, own int, writers map[fileID][]int) bool {
	if name == "" {
		// That it has lost its name is known without looking.
		return m.isDeleted
	}
	var file syscall.Stat_t
	if syscall.Stat(name, &file) != nil || file.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return false
	}
	m.length, m.isKnown = uint64(file.Size), true
	if blocks := uint64(file.Blocks) * 512; blocks < m.length {
		m.holes = m.length - blocks
	}
	var disk syscall.Statfs_t
	// Without any blocks it has no limit: some mounts of tmpfs.
	if syscall.Statfs(name, &disk) == nil && disk.Blocks != 0 {
		m.free, m.isLimited = disk.Bavail*uint64(disk.Frsize), true
	}
	for _, pid := range writers[fileID{uint64(file.Dev), file.Ino}] {
		if pid != own {
			m.writers = append(m.writers, pid)
		}
	}
	sort.Ints(m.writers)
	return true
}

// addChildren looks for children that ignore SIGPIPE. One of the same program is a worker that
// ignores the signal as its parent does, by choice.
func (f *auditFacts) addChildren(all []string) {
	own, _ := os.Stat("/proc/" + f.id + "/exe")
	for _, id := range all {
		status, err := statusOf(id)
		if err != nil || status.parent != atoi(f.id) || !holds(status.ignored, sigpipe) {
			continue
		}
		theirs, err := os.Stat("/proc/" + id + "/exe")
		if err != nil || own == nil || os.SameFile(own, theirs) {
			continue
		}
		lines, _ := mapsOf(id)
		if runtimes, _ := runtimesOf(lines); len(runtimes) == 0 {
			f.ignoringChildren = append(f.ignoringChildren, atoi(id))
		}
	}
}
