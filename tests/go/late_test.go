package hosts

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// The library comes late, by dlopen: there was no constructor before Go, and there is no Go
// package.
func TestLateInit(t *testing.T) {
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = "../../target"
	}
	library, err := filepath.Abs(filepath.Join(target, "release", "libsigward.so"))
	if err != nil {
		t.Fatal(err)
	}
	program := once(t, "late",
		func(path string) error { return buildGo(bare, nil, path, "./cmd/late") })
	run := func(arguments ...string) (string, error) {
		all := append([]string{"default", program}, arguments...)
		output, err := exec.Command(launcher(t), all...).Output()
		return string(output), err
	}
	if said, err := run(); !killedBy(err, syscall.SIGPIPE) {
		t.Errorf("bare it must die: %v %q", err, said)
	}
	if said, err := run(library); err != nil ||
		said != "here: broken pipe; on a thread: broken pipe\n" {
		t.Errorf("warded: %v %q", err, said)
	}
}
