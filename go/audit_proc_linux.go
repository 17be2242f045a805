package sigward

import (
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// What proc(5) says of a process and its maps.

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
