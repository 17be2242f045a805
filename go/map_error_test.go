//go:build unix && !aix && !solaris

package sigward

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestClosedMap(t *testing.T) {
	m := open(t, file(t, pattern(page, 0)), Options{Writable: true})
	slice := m.Bytes()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	for name, call := range map[string]func() error{
		"ReadAt":  func() error { _, err := m.ReadAt(one, 0); return err },
		"WriteAt": func() error { _, err := m.WriteAt(one, 0); return err },
		"Do": func() error {
			return m.Do(func([]byte) error { t.Error("called"); return nil })
		},
		"Err":      m.Err,
		"Check":    func() error { return m.Check(slice) },
		"Verify":   m.Verify,
		"Refresh":  m.Refresh,
		"Populate": m.Populate,
		"Flush":    m.Flush,
		"Close":    m.Close,
	} {
		if err := call(); !errors.Is(err, os.ErrClosed) || !strings.Contains(err.Error(), m.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, is := m.Status(); is || m.Len() != 0 || m.Bytes() != nil {
		t.Error("a closed map has nothing")
	}
}

func TestMapOfBadInput(t *testing.T) {
	path := file(t, pattern(2*page, 0))
	folder := filepath.Dir(path)
	empty, fifo, locked, loop := folder+"/empty", folder+"/fifo", folder+"/locked", folder+"/loop"
	write(t, empty, nil)
	write(t, locked, []byte("x"))
	err := errors.Join(
		syscall.Mkfifo(fifo, 0o600), os.Chmod(locked, 0), os.Symlink(loop, loop))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		path    string
		options Options
		want    error
	}{
		{folder + "/missing", Options{}, fs.ErrNotExist},
		{"", Options{}, fs.ErrNotExist},
		{path + "/below", Options{}, syscall.ENOTDIR},
		{loop, Options{}, syscall.ELOOP},
		{path + "\x00", Options{}, syscall.EINVAL},
		{strings.Repeat("x", 5000), Options{}, syscall.ENAMETOOLONG},
		{empty, Options{}, errEmpty},
		{folder, Options{}, syscall.EISDIR},
		{fifo, Options{}, syscall.ENODEV},
		{fifo, Options{Strict: true}, syscall.ENODEV},
		{fifo, Options{Writable: true}, syscall.ENODEV},
		{os.DevNull, Options{}, syscall.ENODEV},
		{locked, Options{}, fs.ErrPermission},
		{path, Options{Offset: 2 * page}, syscall.ENXIO},
		{path, Options{Offset: 3 * page}, syscall.ENXIO},
		{path, Options{Offset: 1<<63 - 1}, syscall.ENXIO},
		{path, Options{Len: 2*page + 1}, syscall.ENXIO},
		{path, Options{Offset: page, Len: page + 1}, syscall.ENXIO},
		{path, Options{Offset: -1}, syscall.EINVAL},
		{path, Options{Len: -1}, syscall.EINVAL},
		{path, Options{Offset: 1, Len: 1<<63 - 1}, syscall.EOVERFLOW},
		{path, Options{Strict: true, Writable: true}, syscall.EINVAL},
		{path, Options{Strict: true, NoDescriptor: true}, syscall.EINVAL},
	} {
		if bad.path == locked && os.Getuid() == 0 {
			continue
		}
		m, err := OpenWith(bad.path, bad.options)
		var e *MapError
		if m != nil || !errors.Is(err, bad.want) || !errors.As(err, &e) || e.Op != "open" ||
			e.Path != bad.path || e.Cause != CauseNone || errors.Is(err, ErrLost) {
			t.Errorf("%.100q %+v: %v, %.200v, want %v", bad.path, bad.options, m, err, bad.want)
		}
	}
}

func TestMapErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"sigward: read /a: bytes from 5 on are lost: " +
			"the file was truncated to 7 bytes; Refresh maps what it holds now": &MapError{
			Op: "read", Path: "/a", Offset: 5, LenNow: 7,
			Cause: CauseTruncated, Errno: syscall.EFAULT},
		"sigward: write /a: bytes from 5 on are lost: " +
			"no space left on device; make room, then Refresh and write again": &MapError{
			Op: "write", Path: "/a", Offset: 5, Cause: CauseNoSpace, Errno: syscall.ENOSPC},
		"sigward: do /a: bytes from 5 on are lost: " +
			"input/output error; Refresh tries the device again": &MapError{
			Op: "do", Path: "/a", Offset: 5, Cause: CauseIO, Errno: syscall.EIO},
		"sigward: read /a: " +
			"the file has changed since it was mapped; Refresh maps it as it is now": &MapError{
			Op: "read", Path: "/a", Errno: syscall.ESTALE},
		"sigward: open /a: no such file or directory": &MapError{
			Op: "open", Path: "/a", Errno: syscall.ENOENT},
		"sigward: adopt /a: /proc is not mounted; only it tells what is mapped": &MapError{
			Op: "adopt", Path: "/a", Errno: syscall.ENOSYS},
		"read /a: file already closed": closedError("read", "/a"),
		"sigward: a fault on this thread would not be caught: " +
			"SIGBUS is blocked in it, unblock it; " +
			"another handler stands above ours, call EnsureOnTop": &ThreadError{
			Blocked: true, Covered: true},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	all := []error{ErrLost, ErrTruncated, ErrNoSpace, ErrIO, ErrHardware, ErrStale}
	for _, is := range []struct {
		err  *MapError
		what []error
	}{
		{&MapError{Cause: CauseTruncated, Errno: syscall.EFAULT}, []error{ErrLost, ErrTruncated}},
		{&MapError{Cause: CauseNoSpace, Errno: syscall.ENOSPC}, []error{ErrLost, ErrNoSpace}},
		{&MapError{Cause: CauseIO, Errno: syscall.EIO}, []error{ErrLost, ErrIO}},
		{&MapError{Cause: CauseHardware, Errno: syscall.EFAULT}, []error{ErrLost, ErrHardware}},
		{&MapError{Cause: CauseUnknown, Errno: syscall.EFAULT}, []error{ErrLost}},
		{&MapError{Errno: syscall.ESTALE}, []error{ErrStale}},
		{&MapError{Errno: syscall.ENOENT}, nil},
	} {
		for _, target := range all {
			want := false
			for _, one := range is.what {
				want = want || one == target
			}
			if errors.Is(is.err, target) != want {
				t.Errorf("%+v is %v: %v", is.err, target, !want)
			}
		}
		if !errors.Is(is.err, is.err.Errno) {
			t.Errorf("%+v is not its errno", is.err)
		}
	}
	words := []string{"none", "truncated", "no_space", "io", "hardware", "unknown", "cause 6"}
	for i, word := range words {
		if got := Cause(i).Word(); got != word {
			t.Errorf("%d: %s", i, got)
		}
	}
	if Cause(99).String() != "cause 99" || CauseIO.String() != "input/output error" {
		t.Error("texts of causes")
	}
}
