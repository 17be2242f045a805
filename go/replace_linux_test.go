//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestReplaceOnAFullDiskLeavesTheOldFile(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		live, fresh := filepath.Join(folder, "live"), filepath.Join(folder, "new")
		write(t, live, []byte("old"))
		write(t, fresh, bytes.Repeat([]byte("n"), 1<<20))
		fillDisk(t, folder)
		if err := ReplaceFile(fresh, live); !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		holdsExactly(t, live, "old")
	})
}

func TestReplaceKeepsExtendedAttributes(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old", "new": "fresh"})
	live, fresh := filepath.Join(folder, "live"), filepath.Join(folder, "new")
	if err := syscall.Setxattr(live, "user.kept", []byte("value"), 0); err != nil {
		t.Skip("SKIPPED: extended attributes: ", err)
	}
	syscall.Setxattr(fresh, "user.source", []byte("x"), 0)
	root := os.Chown(live, 1234, 4321) == nil
	if err := os.Chmod(live, 0o750|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(fresh, live); err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 10)
	if n, err := syscall.Getxattr(live, "user.kept", value); err != nil || string(value[:n]) != "value" {
		t.Error(n, err)
	}
	if _, err := syscall.Getxattr(live, "user.source", value); err != syscall.ENODATA {
		t.Error(err)
	}
	info, _ := os.Stat(live)
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o750|os.ModeSetuid || root && (s.Uid != 1234 || s.Gid != 4321) {
		t.Errorf("%v %+v", info.Mode(), s)
	}
	// No file yet: the source's.
	if err := ReplaceFile(fresh, filepath.Join(folder, "made")); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Getxattr(filepath.Join(folder, "made"), "user.source", value); err != nil {
		t.Error(err)
	}
}

func TestReplaceKeepsHolesAndReadsProc(t *testing.T) {
	folder := t.TempDir()
	f := sparse(t, folder, 1<<30)
	if _, err := f.WriteAt([]byte("island"), 300<<20); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(folder, "made")
	if err := ReplaceFile(f.Name(), made); err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(made)
	if info.Size() != 1<<30 || info.Sys().(*syscall.Stat_t).Blocks > 2048 {
		t.Errorf("%d bytes in %d blocks", info.Size(), info.Sys().(*syscall.Stat_t).Blocks)
	}
	content := make([]byte, 6)
	copied, _ := os.Open(made)
	defer copied.Close()
	if copied.ReadAt(content, 300<<20); string(content) != "island" {
		t.Errorf("%q", content)
	}
	version, _ := os.ReadFile("/proc/version")
	if err := ReplaceFile("/proc/version", made); err != nil {
		t.Fatal(err)
	}
	holdsExactly(t, made, string(version))
}

// A replacer is killed at any moment: wholly the old file or wholly the new one is there, and the
// next replacer goes on.
func TestReplaceKilledAtAnyMoment(t *testing.T) {
	folder := os.Getenv("SIGWARD_KILLED")
	if folder != "" {
		for {
			for _, source := range []string{"a", "b"} {
				if err := ReplaceFile(filepath.Join(folder, source), filepath.Join(folder, "live")); err != nil {
					os.Exit(3)
				}
			}
		}
	}
	a, b := bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 90_001)
	folder = folderWith(t, map[string]string{"live": string(a), "a": string(a), "b": string(b)})
	live, left := filepath.Join(folder, "live"), 0
	for round := 0; round < 40; round++ {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_KILLED="+folder)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for before := inodeOf(t, live); inodeOf(t, live) == before; { // until it has replaced once
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.Intn(5_000)) * time.Microsecond)
		child.Process.Kill()
		child.Wait()
		if status := child.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Fatal(child.ProcessState)
		}
		content, err := os.ReadFile(live)
		if err != nil || !bytes.Equal(content, a) && !bytes.Equal(content, b) {
			t.Fatalf("torn: %d bytes, %v", len(content), err)
		}
		names, _ := filepath.Glob(filepath.Join(folder, ".sigward-*"))
		if len(names) > left+1 {
			t.Errorf("one kill left %d files", len(names)-left)
		}
		left = len(names)
	}
	t.Logf("%d hidden files were left by 40 kills", left)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}
