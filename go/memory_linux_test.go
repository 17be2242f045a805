//go:build linux && (amd64 || arm64)

package sigward

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryLeftIsWhatTheNarrowestGroupHas(t *testing.T) {
	if n := leftOfMachine("MemTotal: 9000 kB\nMemAvailable:   700 kB\nSwapFree: 30 kB\n"); n != 730*1024 {
		t.Error(n)
	}
	root := t.TempDir()
	outer, inner := filepath.Join(root, "outer"), filepath.Join(root, "outer", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	expect := func(want int64) {
		t.Helper()
		if got := leftOfGroups(root, "9:memory:/elsewhere\n0::/outer/inner\n"); got != want {
			t.Errorf("%d, not %d", got, want)
		}
	}
	expect(math.MaxInt64)
	for folder, texts := range map[string][3]string{outer: {"5000", "max", "4500"}, inner: {"max", "3000", "1000"}} {
		for i, name := range []string{"memory.max", "memory.high", "memory.current"} {
			write(t, filepath.Join(folder, name), []byte(texts[i]+"\n"))
		}
	}
	expect(500)
	write(t, filepath.Join(outer, "memory.stat"), []byte("anon 100\nactive_file 3000\ninactive_file 1400\n"))
	expect(2000)
	write(t, filepath.Join(inner, "memory.current"), []byte("3500\n"))
	expect(0)
}
