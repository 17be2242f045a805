package hosts

import (
	"os/exec"
	"syscall"
	"testing"
)

// A C host has sigward, and a Go library that knows nothing of it is loaded before or after.
func TestHostWithGoLoadedBeforeAndAfter(t *testing.T) {
	library := once(t, "library-unaware.so", func(path string) error {
		return buildGo(bare, nil, path, "./cmd/library", "-buildmode=c-shared")
	})
	host := func(name string, arguments ...string) string {
		return once(t, name, func(path string) error {
			return buildC(
				path,
				append([]string{"-I../../include", "chost/ours.c"}, arguments...)...)
		})
	}
	run := func(program, when string) (string, error) {
		output, err := exec.Command(launcher(t), "default", program, when, library).Output()
		return string(output), err
	}
	if said, err := run(host("ours-bare", "-DBARE", "-ldl"), "bare"); !killedBy(
		err,
		syscall.SIGPIPE,
	) {
		t.Errorf("bare it must die: %v %q", err, said)
	}
	for _, when := range []string{"before", "after", "again"} {
		if said, err := run(host("ours", archive, "-ldl", "-lm"), when); err != nil ||
			said != "lived\n" {
			t.Errorf("%s: %v %q", when, err, said)
		}
	}
}
