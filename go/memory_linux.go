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

// A groupVersion says what the limits of control groups are called, and where.
type groupVersion struct {
	folder string
	limits []string
	taken  string
	cache  [2]string // in memory.stat, of the group and those below it
}

var groupVersion1 = groupVersion{
	folder: "memory",
	limits: []string{"memory.limit_in_bytes"},
	taken:  "memory.usage_in_bytes",
	cache:  [2]string{"total_active_file", "total_inactive_file"},
}

var groupVersion2 = groupVersion{
	limits: []string{"memory.max", "memory.high"},
	taken:  "memory.current",
	cache:  [2]string{"active_file", "inactive_file"},
}

// leftOfGroups looks at the process's groups and those above them. A line of list has number,
// controllers and path of a hierarchy; that of version 2 is 0, and has none.
func leftOfGroups(root, list string) int64 {
	left := int64(math.MaxInt64)
	for _, line := range strings.Split(list, "\n") {
		parts := strings.SplitN(line, ":", 3)
		switch {
		case len(parts) < 3:
		case parts[0] == "0":
			left = min(left, groupVersion2.leftFrom(root, parts[2]))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			left = min(left, groupVersion1.leftFrom(root, parts[2]))
		}
	}
	return left
}

// leftFrom goes from a group upwards.
func (v *groupVersion) leftFrom(root, group string) int64 {
	left := int64(math.MaxInt64)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		left = min(left, v.leftOf(path.Join(root, v.folder, group)))
		if group == "/" {
			return left
		}
	}
}

func (v *groupVersion) leftOf(folder string) int64 {
	read := func(name string) int64 {
		text, _ := os.ReadFile(path.Join(folder, name))
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return math.MaxInt64 // "max": none; version 1 has a number that nothing reaches
		}
		return n
	}
	limit, taken := int64(math.MaxInt64), read(v.taken)
	for _, name := range v.limits {
		limit = min(limit, read(name))
	}
	if limit == math.MaxInt64 || taken == math.MaxInt64 {
		return math.MaxInt64
	}
	parts, _ := os.ReadFile(path.Join(folder, "memory.stat"))
	for _, name := range v.cache {
		n, _ := numberIn(string(parts), name) // the kernel gives page cache back
		taken -= n
	}
	return max(limit-max(taken, 0), 0)
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
