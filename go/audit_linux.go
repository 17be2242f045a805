package sigward

import (
	"bytes"
	"io"
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

// procStatus is what is used of /proc/PID/status.
type procStatus struct {
	name                              string
	parent, user                      int
	isInit                            bool
	pending, blocked, ignored, caught uint64
}

func statusOf(id string) (s procStatus, err error) {
	text, err := os.ReadFile("/proc/" + id + "/status")
	for _, line := range strings.Split(string(text), "\n") {
		name, value, _ := strings.Cut(line, ":\t")
		words := strings.Fields(value)
		if name == "Name" {
			s.name = strings.ToValidUTF8(value, "\uFFFD")
		}
		if len(words) == 0 {
			continue
		}
		set, _ := strconv.ParseUint(words[0], 16, 64)
		switch name {
		case "PPid":
			s.parent = atoi(words[0])
		case "NSpid":
			s.isInit = words[len(words)-1] == "1"
		case "Uid":
			s.user = atoi(words[min(1, len(words)-1)])
		case "SigPnd", "ShdPnd":
			s.pending |= set
		case "SigBlk":
			s.blocked = set
		case "SigIgn":
			s.ignored = set
		case "SigCgt":
			s.caught = set
		}
	}
	return s, err
}

func (s procStatus) disposition(signal int) string {
	switch {
	case holds(s.ignored, signal):
		return "ignored"
	case holds(s.caught, signal):
		return "caught"
	case s.isInit:
		return "init"
	}
	return "default"
}

// mapLine is a line of /proc/PID/maps that has a file.
type mapLine struct {
	addresses, path              string
	offset, length, inode        uint64
	isWritable, isCode, isShared bool
	isDeleted                    bool
}

func mapsOf(id string) (lines []mapLine, err error) {
	text, err := os.ReadFile("/proc/" + id + "/maps")
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.SplitN(line, " ", 6)
		if len(words) < 6 || len(words[1]) != 4 {
			continue
		}
		low, high, _ := strings.Cut(words[0], "-")
		number := func(text string) uint64 { n, _ := strconv.ParseUint(text, 16, 64); return n }
		inode, _ := strconv.ParseUint(words[4], 10, 64)
		if inode == 0 {
			continue
		}
		path := strings.TrimLeft(words[5], " ")
		path, isDeleted := strings.CutSuffix(path, " (deleted)")
		lines = append(lines, mapLine{
			addresses: words[0], path: strings.ReplaceAll(path, `\012`, "\n"),
			offset: number(words[2]), length: number(high) - number(low), inode: inode,
			isWritable: words[1][1] == 'w', isCode: words[1][2] == 'x',
			isShared:  words[1][3] == 's',
			isDeleted: isDeleted,
		})
	}
	return lines, err
}

// reachable is a name by which the file can be looked at, also one that is deleted.
func (l *mapLine) reachable(id string) string {
	byAddress := "/proc/" + id + "/map_files/" + trimZeros(l.addresses)
	if _, err := os.Stat(byAddress); err == nil {
		return byAddress
	}
	beneath := "/proc/" + id + "/root" + l.path
	var found syscall.Stat_t
	if syscall.Stat(beneath, &found) == nil && found.Ino == l.inode {
		return beneath
	}
	return ""
}

// trimZeros: map_files has no leading zeros, maps may have.
func trimZeros(addresses string) string {
	low, high, _ := strings.Cut(addresses, "-")
	return strings.TrimLeft(low, "0") + "-" + strings.TrimLeft(high, "0")
}

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

func atoi(text string) int {
	number, _ := strconv.Atoi(text)
	return number
}

func holds(set uint64, signal int) bool { return set>>(signal-1)&1 == 1 }

// numbersIn is the entries of a folder that are numbers, in the kernel's order.
func numbersIn(folder string) (found []string) {
	for _, name := range entriesOf(folder) {
		if _, err := strconv.Atoi(name); err == nil {
			found = append(found, name)
		}
	}
	return found
}

func entriesOf(folder string) []string {
	open, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer open.Close()
	var names []string
	for {
		some, err := open.Readdirnames(1024)
		names = append(names, some...)
		if err == io.EOF || err != nil {
			return names
		}
	}
}

func linksIn(folder string) (found []string) {
	for _, name := range entriesOf(folder) {
		if link, err := os.Readlink(folder + "/" + name); err == nil {
			found = append(found, link)
		}
	}
	return found
}

func signalNames(set uint64) []string {
	names := []string{}
	for signal := 1; signal <= 64; signal++ {
		if holds(set, signal) {
			names = append(names, signalName(signal))
		}
	}
	return names
}

func signalName(signal int) string {
	names := [...]string{
		"HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
		"PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
		"XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
	}
	if signal <= len(names) {
		return "SIG" + names[signal-1]
	}
	return "signal " + strconv.Itoa(signal)
}
