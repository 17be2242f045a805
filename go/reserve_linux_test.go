//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A tmpfs of 8 MiB in a mount namespace of the test's own: the test starts itself in there.
func onSmallDisk(t *testing.T, test func(t *testing.T, folder string)) {
	t.Helper()
	if folder := os.Getenv("SIGWARD_SMALL_DISK"); folder != "" {
		test(t, folder)
		return
	}
	folder := t.TempDir()
	child := exec.Command("unshare", "--mount", "--map-root-user", "--user", "sh", "-euc",
		`mount -t tmpfs -o size=8m none "$SIGWARD_SMALL_DISK"; exec "$@"`, "sh", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "SIGWARD_SMALL_DISK="+folder)
	out, err := child.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("unshare:")) && os.Getenv("SIGWARD_REQUIRE_ALL") != "1" {
		t.Skipf("SKIPPED: no mount namespace: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, folder string) {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<12))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func sparse(t *testing.T, folder string, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(folder, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAReservedMapTakesEveryStoreOnAFullDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		const size = 1 << 20
		f := sparse(t, folder, 0)
		if promise, err := ReservePromise(f, 100, size-100); err != nil || promise != PromiseFull {
			t.Fatal(promise, err)
		}
		fillDisk(t, folder)
		data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		for at := range data {
			data[at] = 1
		}
	})
}

// The twin of the above: without Reserve the first store into a hole ends the process.
func TestAnUnreservedMapFaultsOnAFullDisk(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		if os.Getenv("SIGWARD_BARE") != "" {
			fillDisk(t, folder)
			data, err := syscall.Mmap(int(sparse(t, folder, 1<<20).Fd()), 0, 1<<20, syscall.PROT_WRITE, syscall.MAP_SHARED)
			if err != nil {
				os.Exit(0)
			}
			data[4096] = 1
			os.Exit(0)
		}
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_BARE=1")
		out, err := child.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("unexpected fault address")) || !bytes.Contains(out, []byte("SIGBUS")) {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}

func TestReserveRefusedLeavesTheFileAsItWas(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, folder string) {
		f := sparse(t, folder, 100_000)
		f.WriteAt([]byte("content"), 5000)
		before, _ := f.Stat()
		for _, reserve := range []func(*os.File, int64, int64) error{Reserve, ReserveSlowly} {
			err := reserve(f, 0, 100<<20)
			if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrNoPromise) {
				t.Error(err)
			}
			after, _ := f.Stat()
			if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) ||
				before.Sys().(*syscall.Stat_t).Blocks != after.Sys().(*syscall.Stat_t).Blocks {
				t.Errorf("%+v, %+v", before, after)
			}
		}
		content, _ := io.ReadAll(io.NewSectionReader(f, 5000, 7))
		if string(content) != "content" {
			t.Errorf("%q", content)
		}
	})
}

func TestReserveRefusesWhatCannotBe(t *testing.T) {
	f := sparse(t, t.TempDir(), 10)
	reader, _ := os.Open(f.Name())
	folder, _ := os.Open(filepath.Dir(f.Name()))
	pipe, end, _ := os.Pipe()
	null, _ := os.OpenFile("/dev/null", os.O_RDWR, 0)
	closed, _ := os.Open(f.Name())
	closed.Close()
	for _, c := range []struct {
		f              *os.File
		offset, length int64
		want           error
	}{
		{f, 0, 0, syscall.EINVAL}, {f, -1, 1, syscall.EINVAL}, {f, 0, -1, syscall.EINVAL},
		{f, 1 << 62, 1 << 62, syscall.EOVERFLOW}, {reader, 0, 1, syscall.EBADF}, {folder, 0, 1, syscall.EISDIR},
		{end, 0, 1, syscall.ESPIPE}, {null, 0, 1, syscall.ENODEV}, {closed, 0, 1, os.ErrClosed},
	} {
		for _, reserve := range []func(*os.File, int64, int64) error{Reserve, ReserveSlowly} {
			if err := reserve(c.f, c.offset, c.length); !errors.Is(err, c.want) {
				t.Errorf("%s %d %d: %v, not %v", c.f.Name(), c.offset, c.length, err, c.want)
			}
		}
	}
	for _, open := range []*os.File{reader, folder, pipe, end, null} {
		open.Close()
	}
	if info, _ := f.Stat(); info.Size() != 10 {
		t.Error(info.Size())
	}
	if err := (&fileError{syscall.EOPNOTSUPP, ErrNoPromise}); !errors.Is(err, ErrNoPromise) || !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Error(err)
	}
}

func TestReserveBeyondTheSizeLimitIsAnErrorAndNoSignal(t *testing.T) {
	if os.Getenv("SIGWARD_LIMIT") == "" {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_LIMIT="+t.TempDir())
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	f := sparse(t, os.Getenv("SIGWARD_LIMIT"), 0)
	limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	if err := syscall.Setrlimit(1, &limit); err != nil {
		t.Fatal(err)
	}
	for _, reserve := range []func(*os.File, int64, int64) error{Reserve, ReserveSlowly} {
		if err := reserve(f, 0, 1<<20+1); !errors.Is(err, syscall.EFBIG) {
			t.Error(err)
		}
	}
	if err := Reserve(f, 0, 1<<20); err != nil && !errors.Is(err, ErrNoPromise) {
		t.Error(err)
	}
}

func TestGapsAreWhatIsLeft(t *testing.T) {
	taken := []extent{{0, 4, false}, {8, 12, false}, {12, 16, false}, {20, 24, false}}
	for _, c := range []struct {
		start, end int64
		want       []extent
	}{
		{0, 24, []extent{{4, 8, false}, {16, 20, false}}}, {2, 6, []extent{{4, 6, false}}}, {9, 15, nil},
		{18, 30, []extent{{18, 20, false}, {24, 30, false}}}, {30, 31, []extent{{30, 31, false}}},
	} {
		got := gaps(c.start, c.end, taken)
		if len(got) != len(c.want) {
			t.Errorf("%v, not %v", got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%v, not %v", got, c.want)
			}
		}
	}
}
