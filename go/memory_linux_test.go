//go:build linux && (amd64 || arm64)

package sigward

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLeftIsWhatTheNarrowestGroupHas(t *testing.T) {
	machine := "MemTotal: 9000 kB\nMemAvailable:   700 kB\nSwapFree: 30 kB\n"
	if n := leftOfMachine(machine); n != 730*1024 {
		t.Error(n)
	}
	root := t.TempDir()
	outer, inner := filepath.Join(root, "outer"), filepath.Join(root, "outer", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	expect := func(want int64) {
		t.Helper()
		if got := leftOfGroups(root, "9:cpu:/elsewhere\n0::/outer/inner\n"); got != want {
			t.Errorf("%d, not %d", got, want)
		}
	}
	expect(math.MaxInt64)
	for folder, texts := range map[string][3]string{
		outer: {"5000", "max", "4500"},
		inner: {"max", "3000", "1000"},
	} {
		for i, name := range []string{"memory.max", "memory.high", "memory.current"} {
			write(t, filepath.Join(folder, name), []byte(texts[i]+"\n"))
		}
	}
	expect(500)
	write(t, filepath.Join(outer, "memory.stat"),
		[]byte("anon 100\nactive_file 3000\ninactive_file 1400\n"))
	expect(2000)
	write(t, filepath.Join(inner, "memory.current"), []byte("3500\n"))
	expect(0)
}

// The process's own path is not there in a container without a namespace of groups: what it sees is
// its own group, as the top.
func TestMemoryLeftKnowsVersion1(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "memory", "outer", "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect := func(path string, want int64) {
		t.Helper()
		list := "9:cpuset:/\n4:hugetlb,memory:" + path + "\n1:name=systemd:/\n0::/outer\n"
		if got := leftOfGroups(root, list); got != want {
			t.Errorf("%d, not %d", got, want)
		}
	}
	put := func(group, limit, taken string) {
		t.Helper()
		folder := filepath.Join(root, "memory", group)
		write(t, filepath.Join(folder, "memory.limit_in_bytes"), []byte(limit+"\n"))
		write(t, filepath.Join(folder, "memory.usage_in_bytes"), []byte(taken+"\n"))
	}
	const none = "9223372036854771712"
	put("", none, "8000")
	expect("/outer/inner", 9223372036854763712)
	put("outer", "5000", "4500")
	put("outer/inner", none, "1000")
	expect("/outer/inner", 500)
	// The group's own page cache is only a part of what is counted.
	write(t, filepath.Join(root, "memory", "outer", "memory.stat"),
		[]byte("active_file 1\ninactive_file 2\ntotal_active_file 1000\ntotal_inactive_file 200\n"))
	expect("/outer/inner", 1700)
	put("", "4000", "3000")
	expect("/docker/0123", 1000)
}
