//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// whereMounted tells the test that is started again where its file system is.
const whereMounted = "SIGWARD_MOUNTED"

// mounted starts the test again where commands have made the folder at a file system.
func mounted(t *testing.T, commands string, test func(t *testing.T, folder string)) {
	t.Helper()
	if folder := os.Getenv(whereMounted); folder != "" {
		test(t, folder)
		return
	}
	child := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-euc",
		`cd "$1"; mkdir at; `+commands+`
		shift; `+whereMounted+`=$PWD/at exec "$@"`,
		"sh", t.TempDir(), os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$", "-test.v")
	out, err := child.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("=== RUN")) &&
		os.Getenv("SIGWARD_REQUIRE_ALL") != "1" {
		t.Skipf("SKIPPED: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// onReflinks runs the test where the folder is a file system that shares blocks, each of them.
func onReflinks(t *testing.T, test func(t *testing.T, folder string)) {
	t.Helper()
	if os.Getenv(whereMounted) != "" {
		mounted(t, "", test)
		return
	}
	for name, make := range map[string]string{
		"xfs":   "mkfs.xfs -q -f",
		"btrfs": "mkfs.btrfs -q -f -m single -d single",
	} {
		t.Run(name, func(t *testing.T) {
			mounted(t, "truncate -s 300m img; "+make+" img >/dev/null 2>&1; mount -o loop img at",
				test)
		})
	}
}

// provenOnly fails if a snapshot said that nobody can tell whether it is of one moment.
func provenOnly(t *testing.T, moments map[Moment]int) {
	t.Helper()
	if moments[MomentUnproven] != 0 {
		t.Error(moments)
	}
}

func TestSnapshotClones(t *testing.T) {
	onReflinks(t, func(t *testing.T, folder string) {
		snapshotKeeps(t, folder)
		path := filepath.Join(folder, "file")
		provenOnly(t, snapshotIsWhole(t, path, path))
		write(t, path, generation('a', 1<<20))
		calls := 0
		progress := func(done, total int64) error {
			calls++
			if done != total || total != 1<<20 {
				t.Error(done, total)
			}
			return nil
		}
		f := frozen(t, path, SnapshotOptions{Limit: 1 << 20, Progress: progress})
		if f.Kind() != SnapshotClone || f.Memory() != 0 || calls != 1 {
			t.Errorf("%v takes %d bytes, %d calls", f.Kind(), f.Memory(), calls)
		}
		stop := errors.New("stop")
		halt := func(int64, int64) error { return stop }
		if _, err := SnapshotWith(path, SnapshotOptions{Progress: halt}); !errors.Is(err, stop) {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		names, _ := os.ReadDir(folder)
		for _, name := range names {
			if name.Name() != "file" && name.Name() != "lost+found" {
				t.Error("left behind: ", name)
			}
		}
	})
}

// On tmpfs a reader and a writer are at work at the same time: nothing but the times tells.
func TestSnapshotOnTmpfs(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		path := filepath.Join(folder, "file")
		provenOnly(t, snapshotIsWhole(t, path, path))
		write(t, path, generation('a', 1<<20))
		fillDisk(t, filepath.Join(folder, "ballast"))
		holdsAll(t, frozen(t, path, SnapshotOptions{}), generation('a', 1<<20))
	})
}

// The kernel has pages and times in memory that are others on the far side of the daemon, as of any
// file on a server: it is asked past that, and twice. A plain read is a mixture.
func TestSnapshotBehindADaemon(t *testing.T) {
	const daemon = `mkdir below; mount -t tmpfs -o size=32m none below
		setpriv --pdeathsig KILL bindfs -f below at >said 2>&1 </dev/null &
		until mountpoint -q at; do kill -0 $! || { cat said >&2; exit 1; }; sleep 0.02; done`
	mounted(t, daemon, func(t *testing.T, folder string) {
		const size = 4 << 20
		below, above := filepath.Join(folder, "..", "below", "file"), filepath.Join(folder, "file")
		g := writeGenerations(t, below, size)
		for patience := time.Now().Add(30 * time.Second); ; {
			whole, err := os.ReadFile(above)
			if err != nil {
				t.Fatal(err)
			}
			if !g.isOne(whole) {
				break
			}
			if time.Now().After(patience) {
				t.Fatal("plain reads are never a mixture here")
			}
		}
		g.stop()
		if moments := snapshotIsWhole(t, below, above); moments[MomentProven] != 0 {
			t.Error(moments)
		}
		f := frozen(t, above, SnapshotOptions{})
		holdsAll(t, f, generation(first(t, below), size))
		if f.Moment() != MomentUnproven {
			t.Error(f.Moment())
		}
	})
}

func first(t *testing.T, path string) byte {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil || len(whole) == 0 {
		t.Fatal(len(whole), err)
	}
	return whole[0]
}

// A clone whose disk has gone is an error of ReadAt and of Bytes.
func TestSnapshotOfALostDisk(t *testing.T) {
	onReflinks(t, func(t *testing.T, folder string) {
		path := filepath.Join(folder, "file")
		write(t, path, generation('a', 1<<20))
		clone := frozen(t, path, SnapshotOptions{})
		memory := frozen(t, path, SnapshotOptions{MemoryOnly: true})
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Sync()
		atOnce := uint32(2)
		if errno := goingDown(f, &atOnce); errno != 0 {
			t.Log("this file system cannot be made to go away: ", errno)
			return
		}
		holdsAll(t, memory, generation('a', 1<<20))
		if n, err := clone.ReadAt(make([]byte, 10), 0); n != 0 || !errors.Is(err, syscall.EIO) {
			t.Error(n, err)
		}
		if whole, err := clone.Bytes(); whole != nil || !errors.Is(err, syscall.EIO) {
			t.Error(len(whole), err)
		}
	})
}

// What is not closed is given back; a copy of a sparse file is no way to end the program.
func TestSnapshotLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	f := sparse(t, folder, 1<<42)
	_, err := SnapshotWith(f.Name(), SnapshotOptions{MemoryOnly: true})
	if !errors.Is(err, syscall.ENOMEM) {
		t.Error(err)
	}
	path := filepath.Join(folder, "file")
	write(t, path, generation('a', 1<<16))
	before := openFiles(t)
	for round := 0; round < 50; round++ {
		if f, err := Snapshot(path); err != nil || round%2 == 0 && f.Close() != nil {
			t.Fatal(err)
		}
		SnapshotWith(path, SnapshotOptions{Limit: 1})
		Snapshot(folder)
	}
	for end := time.Now().Add(30 * time.Second); openFiles(t) > before; {
		if time.Now().After(end) {
			t.Fatalf("%d open files, before %d", openFiles(t), before)
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	holdsAll(t, frozen(t, "/proc/version", SnapshotOptions{}), version)
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// goingDown makes the kernel answer EIO for the whole file system from now on (XFS_IOC_GOINGDOWN).
func goingDown(f *os.File, how *uint32) (errno syscall.Errno) {
	withFd(f, func(fd int) { errno = ioctl(fd, 0x8004587d, unsafe.Pointer(how)) })
	return errno
}
