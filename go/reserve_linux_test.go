//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
		`mount -t tmpfs -o size=8m none "$SIGWARD_SMALL_DISK"; exec "$@"`, "sh", os.Args[0],
		"-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "SIGWARD_SMALL_DISK="+folder)
	out, err := child.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("unshare:")) &&
		os.Getenv("SIGWARD_REQUIRE_ALL") != "1" {
		t.Skipf("SKIPPED: no mount namespace: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fillDisk writes ballast until nobody finds room on its device any more.
func fillDisk(t *testing.T, ballast string) {
	t.Helper()
	f, err := os.Create(ballast)
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
		fillDisk(t, filepath.Join(folder, "ballast"))
		data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_SHARED)
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
			fillDisk(t, filepath.Join(folder, "ballast"))
			data, err := syscall.Mmap(int(sparse(t, folder, 1<<20).Fd()), 0, 1<<20,
				syscall.PROT_WRITE, syscall.MAP_SHARED)
			if err != nil {
				os.Exit(0)
			}
			data[4096] = 1
			os.Exit(0)
		}
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_BARE=1")
		out, err := child.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("unexpected fault address")) ||
			!bytes.Contains(out, []byte("SIGBUS")) {
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
			if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrNoSpace) ||
				errors.Is(err, ErrNoPromise) {
				t.Error(err)
			}
			after, _ := f.Stat()
			if before.Size() != after.Size() ||
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
		{f, 1 << 62, 1 << 62, syscall.EOVERFLOW},
		{reader, 0, 1, syscall.EBADF}, {folder, 0, 1, syscall.EISDIR},
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
	if err := (&fileError{syscall.EOPNOTSUPP, ErrNoPromise}); !errors.Is(err, ErrNoPromise) ||
		!errors.Is(err, syscall.EOPNOTSUPP) {
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
	taken := []extent{{0, 4}, {8, 12}, {12, 16}, {20, 24}}
	for _, c := range []struct {
		start, end int64
		want       []extent
	}{
		{0, 24, []extent{{4, 8}, {16, 20}}}, {2, 6, []extent{{4, 6}}}, {9, 15, nil},
		{18, 30, []extent{{18, 20}, {24, 30}}}, {30, 31, []extent{{30, 31}}},
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

// TestReserveThatFailsDestroysNothing has writers beside it, in the file's length and at its end:
// whatever a write has answered for is there afterwards. On ext4 and xfs, which keep what a refused
// call has found, on ext2, where zeros have to be written, where blocks are copied on write, and
// where there are no blocks.
func TestReserveThatFailsDestroysNothing(t *testing.T) {
	run := func(t *testing.T, folder string) {
		var system syscall.Statfs_t
		rounds := 4
		const btrfs = 0x9123683e // takes its time
		if err := syscall.Statfs(folder, &system); err != nil || system.Type == btrfs {
			rounds = 1
		}
		for round := 0; round < rounds; round++ {
			writersBesideReserve(t, folder, byte(round*60))
		}
	}
	if os.Getenv(whereMounted) != "" {
		mounted(t, "", run)
		return
	}
	for _, mount := range []string{
		"size=24m; make='mkfs.ext4 -q -F'", "size=24m; make='mkfs.ext2 -q -F'",
		"size=300m; make='mkfs.xfs -q -f'",
		"size=128m; make='mkfs.btrfs -q -f -m single -d single'",
	} {
		t.Run(strings.Fields(mount)[1][len("make='mkfs."):], func(t *testing.T) {
			mounted(t,
				mount+"; truncate -s $size img; $make img >/dev/null 2>&1; mount -o loop img at",
				run)
		})
	}
	t.Run("tmpfs", func(t *testing.T) { mounted(t, "mount -t tmpfs -o size=16m none at", run) })
}

func writersBesideReserve(t *testing.T, folder string, first byte) {
	const pages, records = 1024, 400
	f := sparse(t, folder, pages<<12)
	defer f.Close()
	other, err := os.OpenFile(f.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var written [pages]bool
	appended, failures := 0, 0
	var writers sync.WaitGroup
	work := func(write func()) {
		writers.Add(1)
		go func() { defer writers.Done(); write() }()
	}
	page := func(i int) []byte { return bytes.Repeat([]byte{first + byte(i%50) + 1}, 1<<12) }
	for w := 0; w < 2; w++ {
		w := w
		work(func() {
			for i := w; i < pages; i += 2 {
				at := i * 389 % pages
				if _, err := f.WriteAt(page(at), int64(at)<<12); err == nil {
					written[at] = true
				}
				if i%16 < 2 {
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
	}
	work(func() {
		for ; appended < records; appended++ {
			record := bytes.Repeat([]byte{byte(1 + appended%250)}, 512)
			if _, err := other.Write(record); err != nil {
				break
			}
			time.Sleep(20 * time.Microsecond)
		}
	})
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for running := true; running; failures++ {
		select {
		case <-done:
			running = false
		default:
		}
		if err := ReserveSlowly(f, int64(failures%3)<<20, 400<<20); !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
	}
	lost, content := 0, make([]byte, 1<<12)
	for at := range written {
		if _, err := f.ReadAt(content, int64(at)<<12); err != nil ||
			written[at] && !bytes.Equal(content, page(at)) {
			lost++
		}
	}
	rest, err := io.ReadAll(io.NewSectionReader(f, pages<<12, 100<<20))
	next := 0
	for at := 0; at+512 <= len(rest) && next < appended; at += 512 {
		if rest[at] == byte(1+next%250) && rest[at+511] == rest[at] {
			next++
		}
	}
	if t.Logf("%d failures, %d records", failures, appended); err != nil || lost > 0 ||
		next < appended {
		t.Errorf("%v: %d pages lost, %d of %d records there", err, lost, next, appended)
	}
}
