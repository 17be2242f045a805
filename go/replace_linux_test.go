//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

func TestReplaceOnAFullDiskLeavesTheOldFile(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		live, fresh := filepath.Join(folder, "live"), filepath.Join(folder, "new")
		write(t, live, []byte("old"))
		write(t, fresh, bytes.Repeat([]byte("n"), 1<<20))
		fillDisk(t, filepath.Join(folder, "ballast"))
		if err := ReplaceFile(fresh, live); !errors.Is(err, ErrNoSpace) ||
			!errors.Is(err, syscall.ENOSPC) {
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
	if n, err := syscall.Getxattr(live, "user.kept", value); err != nil ||
		string(value[:n]) != "value" {
		t.Error(n, err)
	}
	if _, err := syscall.Getxattr(live, "user.source", value); err != syscall.ENODATA {
		t.Error(err)
	}
	info, _ := os.Stat(live)
	// Set-user-ID was the old contents'.
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o750 ||
		root && (s.Uid != 1234 || s.Gid != 4321) {
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

func TestReplaceKeepsPrivilegesOnlyWhenAsked(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old", "new": "fresh"})
	live, fresh := filepath.Join(folder, "live"), filepath.Join(folder, "new")
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	capability := []byte{1, 0, 0, 2, 0, 4, 19: 0} // cap_net_bind_service, in the kernel's form
	if err := os.Chmod(live, 0o750|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	capable := syscall.Setxattr(live, "security.capability", capability, 0) == nil
	r, err := CreateReplacement(live)
	if err != nil {
		t.Fatal(err)
	}
	r.KeepPrivileges()
	if err := r.Commit(); err != nil || mode(live) != 0o750|os.ModeSetuid|os.ModeSetgid {
		t.Error(err, mode(live))
	}
	value := make([]byte, 32)
	n, err := syscall.Getxattr(live, "security.capability", value)
	if capable && (err != nil || n != len(capability)) {
		t.Error(n, err)
	}
	if err := ReplaceFile(fresh, live); err != nil || mode(live) != 0o750 {
		t.Error(err, mode(live))
	}
	if n, err := syscall.Getxattr(live, "security.capability", value); err == nil {
		t.Error("the new contents have the old ones' capabilities", n)
	}
	// A new file: the source's permissions less the umask.
	if err := os.Chmod(fresh, 0o766|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	defer syscall.Umask(syscall.Umask(0o027))
	made := filepath.Join(folder, "made")
	if err := ReplaceFile(fresh, made); err != nil || mode(made) != 0o740 {
		t.Error(err, mode(made))
	}
}

// A folder from which no name can be removed (chattr +a, and +i): nothing is left in there.
// Of one that nobody commits or aborts the descriptors go when it does.
func TestReplacementsThatAreForgotten(t *testing.T) {
	live := filepath.Join(folderWith(t, map[string]string{"live": "old"}), "live")
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(all)
	}
	before := open()
	for i := 0; i < 50; i++ {
		r, err := CreateReplacement(live)
		if err != nil {
			t.Fatal(err)
		}
		r.Write([]byte("fresh"))
	}
	until(t, "their descriptors are gone", func() bool { runtime.GC(); return open() < before+10 })
	holdsExactly(t, live, "old")
}

func TestReplaceInAFixedFolder(t *testing.T) {
	const mount = "truncate -s 32m img; mkfs.ext4 -q img; mount -o loop img at"
	mounted(t, mount, func(t *testing.T, top string) {
		folder, fresh := filepath.Join(top, "folder"), filepath.Join(top, "new")
		live := filepath.Join(folder, "live")
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, live, []byte("old"))
		write(t, fresh, []byte("new"))
		f, err := os.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		set := func(flags uint64) {
			const setFlags = 0x40086602 // FS_IOC_SETFLAGS
			_, _, errno := syscall.Syscall(
				syscall.SYS_IOCTL, f.Fd(), setFlags, uintptr(unsafe.Pointer(&flags)))
			if errno != 0 {
				t.Fatal(errno)
			}
		}
		const appendOnly, immutable = 0x20, 0x10
		for _, flags := range []uint64{appendOnly, immutable} {
			set(flags)
			if err := ReplaceFile(fresh, live); !errors.Is(err, syscall.EPERM) {
				t.Error(flags, err)
			}
			made := filepath.Join(folder, strconv.FormatUint(flags, 10))
			err := ReplaceFile(fresh, made)
			if err != nil && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
				t.Error(flags, err)
			}
			for _, name := range namesIn(t, folder) {
				path := filepath.Join(folder, name)
				if path != live && (path != made || err != nil) {
					t.Error(flags, err, name)
				}
			}
			set(0)
			os.Remove(made)
			holdsExactly(t, live, "old")
		}
	})
}

func TestReplaceSweepsWhatWasLeftOfTheSameFile(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old", "new": "fresh"})
	at := func(name string) string { return filepath.Join(folder, name) }
	dead, busy, other := hiddenName("live", 0), hiddenName("live", 1), hiddenName("lives", 0)
	if dead != ".sigward-bf6695ad6966058f-0" { // as the Rust crate calls it
		t.Error(dead)
	}
	for _, name := range []string{dead, busy, other} {
		write(t, at(name), []byte("half"))
	}
	worker, err := os.Open(at(busy))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	if err := syscall.Flock(int(worker.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	there := func(name string) bool { _, err := os.Lstat(at(name)); return err == nil }
	err = ReplaceFile(at("new"), at("live"))
	if err != nil || there(dead) || !there(busy) || !there(other) {
		t.Error(err, there(dead), there(busy), there(other))
	}
	worker.Close()
	if err := ReplaceFile(at("new"), at("live")); err != nil || there(busy) || !there(other) {
		t.Error(err, there(busy), there(other))
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
				err := ReplaceFile(filepath.Join(folder, source), filepath.Join(folder, "live"))
				if err != nil {
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
		status := child.ProcessState.Sys().(syscall.WaitStatus)
		if status.Signal() != syscall.SIGKILL {
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
