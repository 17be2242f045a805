//go:build amd64 || arm64

package sigward

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// memoryLeft is how many bytes of memory a copy may take: what the machine and the control groups
// of this process have left. src/file/snapshot/room.rs of the Rust crate explains what counts.
func memoryLeft() int64 {
	machine, _ := os.ReadFile("/proc/meminfo")
	group, _ := os.ReadFile("/proc/self/cgroup")
	return min(leftOfMachine(string(machine)), leftOfGroups("/sys/fs/cgroup", string(group)))
}

func leftOfMachine(text string) int64 {
	available, known := numberIn(text, "MemAvailable:")
	if !known {
		return math.MaxInt64
	}
	swap, _ := numberIn(text, "SwapFree:")
	return (available + swap) * 1024
}

// leftOfGroups looks at the process's group and those above it (cgroup v2).
func leftOfGroups(root, list string) int64 {
	own := "/"
	for _, line := range strings.Split(list, "\n") {
		if name, ok := strings.CutPrefix(line, "0::/"); ok {
			own = path.Clean("/" + name)
		}
	}
	left := int64(math.MaxInt64)
	for ; ; own = path.Dir(own) {
		left = min(left, leftOfGroup(path.Join(root, own)))
		if own == "/" {
			return left
		}
	}
}

func leftOfGroup(folder string) int64 {
	read := func(name string) int64 {
		text, _ := os.ReadFile(path.Join(folder, name))
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return math.MaxInt64 // "max": there is none
		}
		return n
	}
	limit, taken := min(read("memory.max"), read("memory.high")), read("memory.current")
	if limit == math.MaxInt64 || taken == math.MaxInt64 {
		return math.MaxInt64
	}
	parts, _ := os.ReadFile(path.Join(folder, "memory.stat"))
	active, _ := numberIn(string(parts), "active_file") // the kernel gives page cache back
	inactive, _ := numberIn(string(parts), "inactive_file")
	return max(limit-max(taken-active-inactive, 0), 0)
}

// numberIn is the number behind a name that begins a line.
func numberIn(text, name string) (int64, bool) {
	for _, line := range strings.Split(text, "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
