//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/sigward/sigward/go/internal/foreign"
)

// scenarios are what tests run in a process of its own, by name.
var scenarios = map[string]func(t *testing.T){
	"a plain map in Go code": func(t *testing.T) { sum(plainMapOfATruncatedFile(t)) },
	"a plain map on a foreign thread": func(t *testing.T) {
		foreign.Sum(plainMapOfATruncatedFile(t))
	},
	"a plain map on a full disk":   func(t *testing.T) { plainMap(t, fullDisk(t))[8*page-1] = 1 },
	"a guarded map on a full disk": guardedMapOnAFullDisk,
	"few descriptors":              fewDescriptors,
	"readers":                      TestMapUnderReaders,
	"slices":                       TestSlicesOutliveTheMap,
}

func TestMapScenario(t *testing.T) {
	if scenario := scenarios[os.Getenv("SIGWARD_SCENARIO")]; scenario != nil {
		scenario(t)
	}
}

// alone runs a scenario in a process of its own, with a file system of its own if it needs one.
func alone(
	t *testing.T,
	name string,
	environment ...string,
) (status syscall.WaitStatus, said string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestMapScenario$", "-test.v")
	child.Env = append(
		append(os.Environ(), "SIGWARD_SCENARIO="+name, "TMPDIR="+t.TempDir()),
		environment...) // it may die
	if strings.Contains(name, "full disk") {
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	output, err := child.CombinedOutput()
	if child.ProcessState == nil {
		t.Skipf("no process with mounts of its own here: %v", err)
	}
	if strings.Contains(string(output), "--- SKIP") {
		t.Skipf("%s", output)
	}
	return child.ProcessState.Sys().(syscall.WaitStatus), string(output)
}

// passes wants a scenario to pass.
func passes(t *testing.T, name string, environment ...string) {
	t.Helper()
	status, said := alone(t, name, environment...)
	if status.ExitStatus() != 0 || !strings.Contains(said, "--- PASS: TestMapScenario") {
		t.Errorf("%s %v: %v\n%s", name, environment, status, said)
	}
}

func plainMap(t *testing.T, path string) []byte {
	t.Helper()
	return sharedMap(t, path, syscall.PROT_READ|syscall.PROT_WRITE)
}

// sharedMap is the whole file, shared.
func sharedMap(t *testing.T, path string, rights int) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(info.Size()), rights, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func plainMapOfATruncatedFile(t *testing.T) []byte {
	path := file(t, pattern(2*page, 0))
	data := plainMap(t, path)
	truncate(t, path, page)
	return data
}

// sum really reads: it must not become part of a caller that drops the result.
//
//go:noinline
func sum(data []byte) (sum uint64) {
	for _, b := range data {
		sum += uint64(b)
	}
	return sum
}

// The bare twins: what all other tests are about kills, also with this package in the process.
func TestAPlainMapDies(t *testing.T) {
	for _, name := range []string{
		"a plain map in Go code",
		"a plain map on a foreign thread",
		"a plain map on a full disk",
	} {
		status, said := alone(t, name)
		if !strings.Contains(name, "foreign") { // Go's own report, as without us
			if status.ExitStatus() != 2 || !strings.Contains(said, "unexpected fault address") ||
				!strings.Contains(said, "[signal SIGBUS") {
				t.Errorf("%s: %v\n%s", name, status, said)
			}
		} else if !status.Signaled() || status.Signal() != syscall.SIGBUS {
			t.Errorf("%s: %v\n%s", name, status, said)
		}
	}
}

// fullDisk makes a file that is sparse and that its disk has no room for.
func fullDisk(t *testing.T) string {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(folder, syscall.MNT_DETACH) })
	path := folder + "/sparse"
	write(t, path, nil)
	truncate(t, path, 8*page)
	filler, err := os.Create(folder + "/filler")
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

func guardedMapOnAFullDisk(t *testing.T) {
	path := fullDisk(t)
	m := open(t, path, Options{Writable: true})
	n, err := m.WriteAt(bytes.Repeat([]byte("x"), 1000), 5*page)
	e := lost(t, err, CauseNoSpace, 5*page)
	if n != 0 || e.Errno != syscall.ENOSPC || !errors.Is(err, syscall.ENOSPC) ||
		!errors.Is(err, ErrNoSpace) || e.Op != "write" {
		t.Errorf("%d, %+v", n, e)
	}
	if err := m.Flush(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Flush: %v", err)
	}
	if fault, is := m.Status(); !is || !fault.Write {
		t.Errorf("%+v", fault)
	}
	if err := m.Populate(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Populate: %v", err)
	}
	_, err = OpenWith(path, Options{Writable: true, Populate: true})
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("Open with Populate: %v", err)
	}
	if err := os.Remove(path[:len(path)-len("sparse")] + "filler"); err != nil {
		t.Fatal(err)
	}
	truncate(t, path, 2*page)
	if err := m.Refresh(); err != nil {
		t.Fatal(err)
	}
	if n, err := m.WriteAt([]byte("there is room now"), page); n != 17 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := m.Flush(); err != nil {
		t.Error(err)
	}
}

func TestMapOnAFullDisk(t *testing.T) { passes(t, "a guarded map on a full disk") }

func TestSlicesAreGuarded(t *testing.T) {
	manyKeys := map[string]int{}
	for i := 0; i < 100; i++ {
		manyKeys[fmt.Sprint(i)] = i
	}
	readers := map[string]func([]byte){
		"a loop":           func(data []byte) { sum(data) },
		"copy":             func(data []byte) { copy(make([]byte, len(data)), data) },
		"IndexByte":        func(data []byte) { bytes.IndexByte(data, 0) },
		"a checksum":       func(data []byte) { crc32.ChecksumIEEE(data) },
		"a map's key":      func(data []byte) { _ = manyKeys[string(data)] },
		"a foreign thread": func(data []byte) { foreign.Sum(data) },
	}
	for name, read := range readers {
		content := pattern(4*page, 0)
		path := file(t, content)
		m := open(t, path, Options{})
		data := m.Bytes()
		read(data)
		if err := m.Err(); err != nil || !bytes.Equal(data, content) {
			t.Fatalf("%s: %v", name, err)
		}
		truncate(t, path, page)
		before, _ := Counters()
		read(data)
		if e := lost(t, m.Err(), CauseTruncated, page); e.LenNow != page {
			t.Errorf("%s: %+v", name, e)
		}
		after, _ := Counters()
		if after.Faults == before.Faults || after.Patches != before.Patches+1 {
			t.Errorf("%s: %d faults, %d patches", name, after.Faults-before.Faults,
				after.Patches-before.Patches)
		}
		fault, _ := m.Status()
		if is := fault.Thread == "foreign"; is != (name == "a foreign thread") || fault.TID == 0 ||
			time.Since(fault.Time) > time.Hour ||
			fault.Address-uintptr(unsafe.Pointer(&data[page])) >= uintptr(len(data)-page) {
			t.Errorf("%s: %+v", name, fault)
		}
	}
}

func TestMapFaultIsAnEvent(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	m := open(t, path, Options{Offset: 10})
	truncate(t, path, 2*page)
	var got []Event
	stop := Watch(time.Millisecond, func(e Event) { got = append(got, e) })
	foreign.Sum(m.Bytes())
	stop()
	info, err := os.Stat(path)
	if err != nil || len(got) == 0 {
		t.Fatal("no event")
	}
	e := got[len(got)-1]
	if e.Signal != syscall.SIGBUS || e.Kind != "map" || e.Thread != "foreign" ||
		e.Offset != 2*page-10 || e.LenNow != 2*page ||
		e.Cause != CauseTruncated || e.Write ||
		!strings.HasSuffix(path, e.Path) ||
		e.Path == "" ||
		e.Inode != info.Sys().(*syscall.Stat_t).Ino ||
		e.Peer != "" {
		t.Errorf("%+v", e)
	}
	want := fmt.Sprintf(
		"SIGBUS caught: read by %s on thread \"foreign\" (tid %d) of the map of %s (inode %d): "+
			"lost from byte %d on: the file was cut to %d bytes",
		e.Caller,
		e.TID,
		e.Path,
		e.Inode,
		e.Offset,
		e.LenNow,
	)
	if e.String() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
}

// Other faults stay what they are in Go.
func TestPanicOnFaultStaysForOthers(t *testing.T) {
	data := plainMapOfATruncatedFile(t)
	defer syscall.Munmap(data)
	reason := func() (reason any) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() { reason = recover() }()
		return sum(data)
	}()
	fault, ok := reason.(interface{ Addr() uintptr })
	if !ok || fault.Addr() != uintptr(unsafe.Pointer(&data[page])) {
		t.Errorf("got %v", reason)
	}
}

func TestThreadCheck(t *testing.T) {
	if err := ThreadCheck(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	change := func(how uintptr) {
		set := uint64(1) << (syscall.SIGBUS - 1)
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK,
			how, uintptr(unsafe.Pointer(&set)), 0, 8, 0, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
	}
	const block, unblock = 0, 1
	change(block)
	err := ThreadCheck()
	change(unblock)
	var why *ThreadError
	if !errors.As(err, &why) || !why.Blocked || why.Covered || why.Unguarded {
		t.Errorf("blocked: %v", err)
	}
}

// read(2) into a page that finds no room says EFAULT, and nobody else notices.
func TestDoKnowsOfAFullDisk(t *testing.T) {
	m := open(t, fullDisk(t), Options{Writable: true})
	source, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	err = m.Do(func(data []byte) error {
		_, err := source.Read(data[5*page:])
		return err
	})
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.EFAULT) {
		t.Error(err)
	}
}
