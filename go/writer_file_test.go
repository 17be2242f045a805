//go:build linux

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// eachRung runs the test with the kernel's flag against SIGPIPE, and as before Linux 6.18.
func eachRung(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("flag", test)
	noFlags.Store(true)
	defer noFlags.Store(false)
	t.Run("mask", test)
}

// Several goroutines write more than a pipe holds: as with os.File, each write is whole.
func TestWriterDoesNotMixWrites(t *testing.T) {
	eachRung(t, func(t *testing.T) {
		for round := 0; round < 20; round++ {
			writeTogether(t)
		}
	})
}

func writeTogether(t *testing.T) {
	t.Helper()
	const size, writers, each = 100_000, 8, 3
	reader, file, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	// A small pipe, so that each write waits often, and each time others may come in.
	// F_SETPIPE_SZ.
	withFd(file, func(fd int) { syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), 1031, 4096) })
	w := Writer(file)
	var all sync.WaitGroup
	for g := 0; g < writers; g++ {
		all.Add(1)
		go func(letter byte) {
			defer all.Done()
			for k := 0; k < each; k++ {
				if n, err := w.Write(bytes.Repeat([]byte{letter}, size)); n != size || err != nil {
					t.Error(n, err)
				}
			}
		}(byte('a' + g))
	}
	go func() {
		all.Wait()
		file.Close()
	}()
	// Small reads let the writers in one after the other.
	whole, part := []byte{}, make([]byte, 5000)
	for err == nil {
		var n int
		n, err = reader.Read(part)
		whole = append(whole, part[:n]...)
	}
	if err != io.EOF || len(whole) != size*writers*each {
		t.Fatal(len(whole), err)
	}
	for at := 0; at < len(whole); at += size {
		if !bytes.Equal(whole[at:at+size], bytes.Repeat(whole[at:at+1], size)) {
			t.Fatalf("the write at %d is torn", at)
		}
	}
}

// What os.File says, Writer says: the same count, and an error that is the same in all that
// errors.Is can see and in its text.
func TestWriterFailsAsFileDoes(t *testing.T) {
	pipe := func(t *testing.T) *os.File {
		reader, file, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { reader.Close(); file.Close() })
		return file
	}
	// As standard output is; Go's runtime cannot wait for it.
	blocking := func(t *testing.T) *os.File {
		var ends [2]int
		if err := syscall.Pipe(ends[:]); err != nil {
			t.Fatal(err)
		}
		reader, file := os.NewFile(uintptr(ends[0]), "|0"), os.NewFile(uintptr(ends[1]), "|1")
		t.Cleanup(func() { reader.Close(); file.Close() })
		return file
	}
	fill := func(f *os.File) *os.File {
		withFd(f, func(fd int) {
			syscall.SetNonblock(fd, true)
			for err := error(nil); err == nil; {
				_, err = syscall.Write(fd, make([]byte, 4096))
			}
		})
		return f
	}
	// once does it to a pipe that a write has filled and waits for: with less in it the counts
	// would be others. F_GETPIPE_SZ, FIONREAD.
	once := func(f *os.File, do func()) *os.File {
		go func() {
			for full := false; !full; time.Sleep(time.Millisecond) {
				withFd(f, func(fd int) {
					size, _, _ := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), 1032, 0)
					var there int32
					_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), 0x541b,
						uintptr(unsafe.Pointer(&there)))
					full = errno == 0 && there > 0 && uintptr(there) == size
				})
			}
			do()
		}()
		return f
	}
	large := make([]byte, 1<<20)
	for name, c := range map[string]struct {
		file func(t *testing.T) *os.File
		want error
	}{
		"made non-blocking by another": {
			func(t *testing.T) *os.File { return fill(blocking(t)) }, syscall.EAGAIN},
		"deadline": {func(t *testing.T) *os.File {
			f := pipe(t)
			return once(f, func() { f.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)) })
		}, os.ErrDeadlineExceeded},
		"deadline is over": {func(t *testing.T) *os.File {
			f := pipe(t)
			if err := f.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			return f
		}, os.ErrDeadlineExceeded},
		"closed": {func(t *testing.T) *os.File {
			f := pipe(t)
			f.Close()
			return f
		}, os.ErrClosed},
		"closed while it waits": {func(t *testing.T) *os.File {
			f := pipe(t)
			return once(f, func() { f.Close() })
		}, os.ErrClosed},
		"nil": {func(*testing.T) *os.File { return nil }, os.ErrInvalid},
		"to be read only": {func(t *testing.T) *os.File {
			f, err := os.Open("/dev/null")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}, syscall.EBADF},
		"a full device": {func(t *testing.T) *os.File {
			f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}, syscall.ENOSPC},
		"no reader": {func(t *testing.T) *os.File {
			reader, file, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			reader.Close()
			t.Cleanup(func() { file.Close() })
			return file
		}, syscall.EPIPE},
	} {
		t.Run(name, func(t *testing.T) {
			eachRung(t, func(t *testing.T) {
				wantN, want := c.file(t).Write(large)
				n, err := Writer(c.file(t)).Write(large)
				if n != wantN || !errors.Is(err, c.want) || !errors.Is(want, c.want) ||
					err.Error() != want.Error() {
					t.Errorf("%d, %v; os.File: %d, %v", n, err, wantN, want)
				}
				var its, theirs *os.PathError
				if errors.As(err, &its) != errors.As(want, &theirs) {
					t.Errorf("%T; os.File: %T", err, want)
				}
			})
		})
	}
}

// A write of nothing is a system call, as with os.File: an empty datagram.
func TestWriterOfNothing(t *testing.T) {
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(ends[0])
	file := os.NewFile(uintptr(ends[1]), "socket")
	defer file.Close()
	if n, err := Writer(file).Write(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := syscall.Read(ends[0], make([]byte, 1)); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// counted is how many of the signal come while calls run, where so many are expected.
func counted(t *testing.T, one syscall.Signal, calls func(), expected int) int {
	t.Helper()
	came, last := make(chan os.Signal, 16), make(chan os.Signal, 1)
	signal.Notify(came, one)
	signal.Notify(last, syscall.SIGWINCH)
	defer signal.Stop(came)
	defer signal.Stop(last)
	calls()
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	<-last
	for end := time.Now().Add(30 * time.Second); len(came) < expected && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return len(came)
}

// No signal comes of a write that fails, where the file's own raises one.
func TestWriterRaisesNothing(t *testing.T) {
	eachRung(t, func(t *testing.T) {
		reader, pipe, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pipe.Close()
		reader.Close()
		file, err := os.Create(t.TempDir() + "/file")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for name, c := range map[string]struct {
			signal syscall.Signal
			errno  syscall.Errno
			file   *os.File
		}{
			"a pipe without reader": {syscall.SIGPIPE, syscall.EPIPE, pipe},
			"beyond the limit":      {syscall.SIGXFSZ, syscall.EFBIG, file},
		} {
			write := func(to io.Writer) func() {
				return func() {
					const fileSize = 1
					var before syscall.Rlimit
					syscall.Getrlimit(fileSize, &before)
					syscall.Setrlimit(fileSize, &syscall.Rlimit{Cur: 0, Max: before.Max})
					_, err := to.Write([]byte("x"))
					syscall.Setrlimit(fileSize, &before)
					if !errors.Is(err, c.errno) {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			if came := counted(t, c.signal, write(c.file), 1); came != 1 {
				t.Errorf("%s: the file's own raises %d", name, came)
			}
			if came := counted(t, c.signal, write(Writer(c.file)), 0); came != 0 {
				t.Errorf("%s: %d signals", name, came)
			}
		}
	})
}

// The signal of a write beyond the limit is nobody's; those that others send in the meantime
// arrive.
func TestQuietlyTakesItsOwnOnly(t *testing.T) {
	const fileSize = 1
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	beyond := func() {
		var before syscall.Rlimit
		syscall.Getrlimit(fileSize, &before)
		syscall.Setrlimit(fileSize, &syscall.Rlimit{Cur: 0, Max: before.Max})
		_, err := file.Write([]byte("x"))
		syscall.Setrlimit(fileSize, &before)
		if !errors.Is(err, syscall.EFBIG) {
			t.Error(err)
		}
	}
	aimed := func() { syscall.Tgkill(os.Getpid(), syscall.Gettid(), syscall.SIGXFSZ) }
	guarded := func(do func()) func() {
		return func() { withoutSignal(syscall.SIGXFSZ, do) }
	}
	for name, c := range map[string]struct {
		do    func()
		comes int
	}{
		"bare write":           {beyond, 1},
		"write":                {guarded(beyond), 0},
		"nothing":              {guarded(func() {}), 0},
		"aimed at the thread":  {guarded(aimed), 1},
		"twice":                {guarded(guarded(beyond)), 0},
		"waits already, write": {guarded(func() { aimed(); guarded(beyond)() }), 1},
		"kill, then a write":   {func() { kill(); guarded(beyond)() }, 1},
		"kill in the meantime": {guarded(kill), 1},
		"kill while it writes": {guarded(func() { kill(); beyond() }), 1},
		"a panic passes through": {func() {
			defer func() { recover() }()
			guarded(func() { beyond(); panic("") })()
		}, 0},
	} {
		if came := counted(t, syscall.SIGXFSZ, c.do, c.comes); came != c.comes {
			t.Errorf("%s: %d signals, not %d", name, came, c.comes)
		}
	}
}

func kill() { syscall.Kill(os.Getpid(), syscall.SIGXFSZ) }
