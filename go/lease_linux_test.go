//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// everybodys is what tests hold while they look at the machine's own settings, shared, or change
// them, alone; those of other checkouts, too.
var everybodys, _ = os.Open(os.TempDir())

func settings(t *testing.T, how int) {
	t.Helper()
	if err := eintr(func() error { return syscall.Flock(int(everybodys.Fd()), how) }); err != 0 {
		t.Fatal(err)
	}
}

func taken(t *testing.T, path string) *Lease {
	t.Helper()
	settings(t, syscall.LOCK_SH)
	lease, err := TakeLease(path)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func fileWith(t *testing.T, contents []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, contents)
	return path
}

// cutter cuts the file in another process. (Not truncate(1), which opens with O_NONBLOCK and gives
// up.)
func cutter(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	command := exec.Command("cp", "/dev/null", path)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return command
}

func wentWell(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if err := command.Wait(); err != nil {
		t.Fatal(err)
	}
}

// want makes somebody want the file who does not wait for it.
func want(t *testing.T, path string) {
	t.Helper()
	_, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != syscall.EWOULDBLOCK {
		t.Fatal(err)
	}
}

func mapped(t *testing.T, f *os.File, size int) []byte {
	t.Helper()
	data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(data) })
	return data
}

// Bare, in a process of its own: no lease, and the file is cut under the map.
func TestAReaderFinishesBeforeTheFileIsCut(t *testing.T) {
	const size = 1 << 18
	contents := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if path := os.Getenv("SIGWARD_BARE_FILE"); path != "" {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		data := mapped(t, f, size)
		wentWell(t, cutter(t, path))
		t.Fatal("read ", bytes.Count(data, []byte("0")))
	}
	bare := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	bare.Env = append(os.Environ(), "SIGWARD_BARE_FILE="+fileWith(t, contents))
	if out, err := bare.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("SIGBUS")) {
		t.Errorf("the bare reader has to die: %v %s", err, out)
	}
	path := fileWith(t, contents)
	lease := taken(t, path)
	data := mapped(t, lease.File(), size)
	command := cutter(t, path)
	<-lease.Wanted()
	if deadline, wanted := lease.Deadline(); !wanted || !deadline.After(time.Now()) ||
		!lease.Held() {
		t.Error(deadline, wanted)
	}
	if !bytes.Equal(data, contents) {
		t.Error("other bytes")
	}
	copied, err := io.ReadAll(lease.File())
	if err != nil || !bytes.Equal(copied, contents) {
		t.Error("other bytes", err)
	}
	if err := lease.Release(); err != nil {
		t.Error(err)
	}
	wentWell(t, command)
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Error(info, err)
	}
}

func TestEachLeaseIsArmedAnew(t *testing.T) {
	path := fileWith(t, nil)
	for round := 0; round < 20; round++ {
		lease := taken(t, path)
		want(t, path)
		<-lease.Wanted()
		if err := lease.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestManyLeasesAreWantedAtOnce(t *testing.T) {
	folder := t.TempDir()
	var leases []*Lease
	for number := 0; number < 200; number++ {
		path := filepath.Join(folder, string(rune('A'+number)))
		write(t, path, nil)
		leases = append(leases, taken(t, path))
	}
	for _, lease := range leases {
		want(t, lease.File().Name())
	}
	for _, lease := range leases {
		<-lease.Wanted()
		if err := lease.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatHasNoLease(t *testing.T) {
	folder := t.TempDir()
	path, pipe := filepath.Join(folder, "file"), filepath.Join(folder, "pipe")
	write(t, path, nil)
	writer, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil || syscall.Mkfifo(pipe, 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := TakeLease(path); !errors.Is(err, ErrHasWriter) || !errors.Is(err, syscall.EAGAIN) {
		t.Error(err)
	}
	writer.Close()
	cases := map[string]syscall.Errno{
		folder:           syscall.EISDIR,
		pipe:             syscall.ENODEV,
		"/dev/null":      syscall.ENODEV,
		folder + "/none": syscall.ENOENT,
		"":               syscall.ENOENT,
		"a\x00b":         syscall.EINVAL,
	}
	for name, errno := range cases {
		if lease, err := TakeLease(name); lease != nil || !errors.Is(err, errno) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if leases.thread != nil {
		t.Error("a thread without leases")
	}
}

// In a process of another user, who may not look into the test's folders.
func TestSomebodyElsesFileHasNoLease(t *testing.T) {
	if os.Geteuid() != 0 {
		if _, err := TakeLease("/etc/passwd"); !errors.Is(err, ErrNotOwner) ||
			!errors.Is(err, syscall.EACCES) {
			t.Error(err)
		}
		return
	}
	program, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	command := exec.Command("/proc/self/fd/3", "-test.run=^"+t.Name()+"$")
	command.ExtraFiles = []*os.File{program}
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// Who listens to every signal sees none of the notices, and loses none of its own.
func TestNobodysSignalsAreTouched(t *testing.T) {
	path := fileWith(t, nil)
	seen := make(chan os.Signal, 1000)
	signal.Notify(seen)
	defer signal.Reset()
	lease := taken(t, path)
	for round := 0; round < 20; round++ {
		want(t, path)
		<-lease.Wanted()
		if err := lease.Release(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGIO); err != nil {
			t.Fatal(err)
		}
		for got := os.Signal(nil); got != syscall.SIGIO; {
			// The runtime's own, and those of children that other tests had.
			if got = <-seen; got != syscall.SIGIO && got != syscall.SIGURG &&
				got != syscall.SIGCHLD {
				t.Error(got)
			}
		}
		lease = taken(t, path)
	}
	lease.Release()
	for len(seen) > 0 {
		if got := <-seen; got != syscall.SIGURG && got != syscall.SIGCHLD {
			t.Error(got)
		}
	}
}

// The address is taken off it, so only looking helps.
func TestALostNoticeIsFound(t *testing.T) {
	path := fileWith(t, nil)
	lease := taken(t, path)
	if _, errno := fcntl(lease.held.fd, syscall.F_SETOWN, 0); errno != 0 {
		t.Fatal(errno)
	}
	want(t, path)
	<-lease.Wanted()
	if err := lease.Release(); err != nil {
		t.Error(err)
	}
}

func TestALeaseThatNobodyHasIsReleased(t *testing.T) {
	path := fileWith(t, nil)
	func() { taken(t, path) }()
	for {
		runtime.GC()
		if writer, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			syscall.Close(writer)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLeasesLeaveNothingBehind(t *testing.T) {
	path := fileWith(t, nil)
	count := func(folder string) int {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	files, goroutines := 0, 0
	for round := 0; round < 300; round++ {
		if round == 10 {
			files, goroutines = count("/proc/self/fd"), runtime.NumGoroutine()
		}
		lease := taken(t, path)
		if round%2 == 1 {
			lease.File().Close() // the caller's mistake
			want(t, path)
			<-lease.Wanted()
		}
		if err := lease.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if leases.thread != nil || count("/proc/self/fd") > files {
		t.Error("descriptors or a thread are left")
	}
	for runtime.NumGoroutine() > goroutines { // one that has said so may still be ending
		time.Sleep(time.Millisecond)
	}
}

// The setting is the whole machine's, for a second.
func TestTheKernelsPatienceEnds(t *testing.T) {
	const setting = "/proc/sys/fs/lease-break-time"
	settings(t, syscall.LOCK_EX)
	defer settings(t, syscall.LOCK_SH)
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setting, []byte("1"), 0); err != nil {
		if os.Getenv("SIGWARD_REQUIRE_ALL") == "1" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: lease-break-time: ", err)
	}
	defer os.WriteFile(setting, before, 0)
	path := fileWith(t, []byte("contents"))
	lease, err := TakeLease(path)
	if err != nil {
		t.Fatal(err)
	}
	wentWell(t, cutter(t, path))
	<-lease.Wanted()
	if deadline, wanted := lease.Deadline(); !wanted || time.Until(deadline) > time.Second {
		t.Error(deadline, wanted)
	}
	if lease.Held() {
		t.Error("cp has gone through")
	}
	err = lease.Release()
	if !errors.Is(err, ErrBroken) || !errors.Is(err, syscall.ESTALE) ||
		!strings.Contains(err.Error(), "by force") {
		t.Error(err)
	}
}
