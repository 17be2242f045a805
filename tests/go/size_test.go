package hosts

import (
	"os"
	"testing"
)

// What a stripped program grows by: the one of `make bench`.
func TestASmallProgramGrowsByLittle(t *testing.T) {
	const limit = 500 << 10
	size := func(name string, tags ...string) int64 {
		program := once(t, name, func(path string) error {
			if err := warded.Archived(archive); err != nil {
				return err
			}
			arguments := append([]string{"build", "-C", "../../benches/hello"}, tags...)
			arguments = append(arguments, "-o", path, "-ldflags=-s -w")
			return command([]string{"CGO_ENABLED=1"}, "go", arguments...)
		})
		found, err := os.Stat(program)
		if err != nil {
			t.Fatal(err)
		}
		return found.Size()
	}
	grown := size("hello-sigward", "-tags=sigward") - size("hello")
	t.Logf("%d KiB", grown>>10)
	if grown > limit {
		t.Errorf("grows by %d KiB, more than %d", grown>>10, limit>>10)
	}
}
