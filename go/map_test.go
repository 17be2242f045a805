//go:build unix

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"testing/iotest"
)

// page is a multiple of every page size.
const page = 1 << 16

// guardsEverything tells whether slices are guarded as well: not without cgo.
var guardsEverything = ThreadCheck() == nil

// pattern is n bytes of which none is zero, and that tell where they are and which version they
// belong to.
func pattern(n int, version byte) []byte {
	content := make([]byte, n)
	for at := range content {
		content[at] = 1 + byte((at+at>>8+at>>16+int(version)*31)%255)
	}
	return content
}

// file makes a file in a scratch directory.
func file(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data")
	write(t, path, content)
	return path
}

// replace puts a new file in the place of an old one.
func replace(t testing.TB, path string, content []byte) {
	t.Helper()
	write(t, path+".new", content)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func truncate(t testing.TB, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, path string, options Options) *Map {
	t.Helper()
	m, err := OpenWith(path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// lost wants a *MapError that says from where on bytes are lost, and returns it.
func lost(t testing.TB, err error, cause Cause, offset int64) *MapError {
	t.Helper()
	var failed *MapError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v, want a *MapError", err)
	}
	if failed.Cause != cause || failed.Offset != offset || !errors.Is(err, ErrLost) ||
		failed.Errno == 0 {
		t.Fatalf("got %+v, want %v from %d on", failed, cause, offset)
	}
	return failed
}

func TestMapReadsAsAFile(t *testing.T) {
	content := pattern(3*page+17, 0)
	path := file(t, content)
	m := open(t, path, Options{})
	if err := iotest.TestReader(io.NewSectionReader(m, 0, int64(m.Len())), content); err != nil {
		t.Error(err)
	}
	plain, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	size := int64(len(content))
	for _, off := range []int64{
		-1 << 63, -page, -1, 0, 1, page - 1, page, size - 1, size, size + 1, 1 << 40,
	} {
		for _, length := range []int{0, 1, 16, page, len(content), len(content) + 1} {
			got, want := make([]byte, length), make([]byte, length)
			n, err := m.ReadAt(got, off)
			wantN, wantErr := plain.ReadAt(want, off)
			if n != wantN || (err == nil) != (wantErr == nil) ||
				(err == io.EOF) != (wantErr == io.EOF) || !bytes.Equal(got, want) {
				t.Errorf("%d bytes at %d: %d, %v; of the file: %d, %v", length, off, n, err, wantN,
					wantErr)
			}
		}
	}
}

func TestMapOfAPart(t *testing.T) {
	content := pattern(4*page, 0)
	path := file(t, content)
	for _, part := range []Options{
		{Offset: 1},
		{Offset: page},
		{Offset: page + 1, Len: 1},
		{Offset: 3*page - 1, Len: page},
		{Len: 1},
		{Len: 4 * page},
		{Offset: 4*page - 1},
		{Offset: 3, Len: page, NoDescriptor: true},
		{Populate: true, Offset: 5},
		{Strict: true, Offset: 7},
	} {
		m := open(t, path, part)
		want := content[part.Offset:]
		if part.Len != 0 {
			want = want[:part.Len]
		}
		if got := m.Bytes(); !bytes.Equal(got, want) || m.Len() != len(want) ||
			cap(got) != len(got) {
			t.Errorf("%+v: %d bytes with room for %d, want %d", part, len(got), cap(got), len(want))
		}
		got := make([]byte, len(want))
		if n, err := m.ReadAt(got, 0); n != len(want) || err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: %d, %v", part, n, err)
		}
	}
}

func TestMapWrites(t *testing.T) {
	content := pattern(2*page, 0)
	path := file(t, content)
	at := int64(page - 3)
	copy(content[at:], "hello")

	m := open(t, path, Options{Writable: true})
	if n, err := m.WriteAt([]byte("hello"), at); n != 5 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if err := m.Flush(); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, content) {
		t.Error("what was written is not in the file")
	}
	if n, err := m.WriteAt([]byte("12345"), 2*page-2); n != 2 || !errors.Is(err, syscall.ENXIO) {
		t.Errorf("across the end: %d, %v", n, err)
	}
	if n, err := m.WriteAt([]byte("1"), 2*page); n != 0 || !errors.Is(err, syscall.ENXIO) {
		t.Errorf("past the end: %d, %v", n, err)
	}
	if n, err := m.WriteAt(nil, 2*page); n != 0 || err != nil {
		t.Errorf("nothing past the end: %d, %v", n, err)
	}
	if n, err := m.WriteAt([]byte("1"), -1); n != 0 || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("before the start: %d, %v", n, err)
	}
	if err := m.Do(func(data []byte) error { data[0] = 'x'; return nil }); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(path); got[0] != 'x' {
		t.Error("what Do wrote is not in the file")
	}
	if n, err := open(t, path, Options{}).WriteAt([]byte("1"), 0); n != 0 ||
		!errors.Is(err, syscall.EBADF) {
		t.Errorf("read-only: %d, %v", n, err)
	}

	short := file(t, pattern(4*page, 0))
	cut := open(t, short, Options{Writable: true, Offset: 10})
	truncate(t, short, page)
	n, err := cut.WriteAt(bytes.Repeat([]byte("y"), page), page/2)
	if e := lost(t, err, CauseTruncated, page-10); n != page/2-10 || e.Op != "write" {
		t.Errorf("across the loss: %d, %+v", n, e)
	}
	if got, _ := os.ReadFile(short); len(got) != page || got[page-1] != 'y' ||
		got[page/2+10] != 'y' || got[page/2+9] == 'y' {
		t.Error("what was written before the loss is not in the file")
	}
	lost(t, cut.Flush(), CauseTruncated, page-10)

	private := open(t, path, Options{Writable: true, CopyOnWrite: true, Strict: true})
	if n, err := private.WriteAt([]byte("private"), 0); n != 7 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	got := make([]byte, 7)
	if _, err := private.ReadAt(got, 0); err != nil || string(got) != "private" {
		t.Errorf("%q, %v", got, err)
	}
	if got, _ := os.ReadFile(path); got[0] != 'x' {
		t.Error("copy on write wrote to the file")
	}
}

func TestMapOfATruncatedFile(t *testing.T) {
	content := pattern(8*page, 0)
	for _, begin := range []int64{0, 1, page, page + 100} {
		path := file(t, content)
		m := open(t, path, Options{Offset: begin})
		// Of the file; the rest of its last page is zeros without a fault.
		end := int64(3*page + 1000)
		truncate(t, path, end)
		if err := m.Err(); err != nil {
			t.Fatalf("nobody has touched it yet: %v", err)
		}

		buffer := make([]byte, 5*page)
		n, err := m.ReadAt(buffer, page)
		e := lost(t, err, CauseTruncated, end-begin)
		if want := int(end - begin - page); n != want ||
			!bytes.Equal(buffer[:n], content[begin+page:][:n]) {
			t.Errorf("%d bytes before the loss, want %d and the right ones", n, want)
		}
		if e.LenNow != end || e.Op != "read" || e.Path != path || !errors.Is(err, ErrTruncated) ||
			errors.Is(err, ErrNoSpace) || errors.Is(err, ErrStale) ||
			!errors.Is(err, syscall.EFAULT) {
			t.Errorf("%+v", e)
		}
		if n, err := m.ReadAt(buffer[:page], 6*page); n != 0 {
			t.Errorf("%d bytes, %v", n, err)
		} else {
			lost(t, err, CauseTruncated, end-begin)
		}
		if n, err := m.ReadAt(buffer[:page], page); n != page || err != nil {
			t.Errorf("what is left must be read as before: %d, %v", n, err)
		}
		if n, err := m.ReadAt(buffer, int64(m.Len())); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		lost(t, m.Err(), CauseTruncated, end-begin)
		lost(t, m.Verify(), CauseTruncated, end-begin)
		lost(t, m.Do(func([]byte) error { return nil }), CauseTruncated, end-begin)
		fault, is := m.Status()
		if !is || fault.Offset != end-begin || fault.LenNow != end ||
			fault.Cause != CauseTruncated || fault.Write || fault.Time.IsZero() {
			t.Errorf("%+v", fault)
		}

		truncate(t, path, page+begin) // and further
		m.ReadAt(buffer, 0)
		if _, err := m.ReadAt(buffer[:2*page], 0); guardsEverything {
			// The part up to the first truncation is still there in the cache of pages, or it
			// faults again: both are told.
			var e *MapError
			if errors.As(err, &e); e == nil || e.Offset > end-begin {
				t.Errorf("%v", err)
			}
		}

		write(t, path, pattern(5*page, 1))
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		if n, err := m.ReadAt(buffer[:page], page); n != page || err != nil ||
			!bytes.Equal(buffer[:page], pattern(5*page, 1)[begin+page:][:page]) {
			t.Errorf("after Refresh: %d, %v", n, err)
		}
		if m.Len() != 5*page-int(begin) || m.Err() != nil || m.Verify() != nil {
			t.Errorf("after Refresh: %d bytes, %v, %v", m.Len(), m.Err(), m.Verify())
		}
	}
}

func TestMapDo(t *testing.T) {
	content := pattern(4*page, 0)
	path := file(t, content)
	m := open(t, path, Options{})
	mine := errors.New("mine")
	if err := m.Do(func(data []byte) error {
		if !bytes.Equal(data, content) {
			t.Error("not the content")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err := m.Do(func([]byte) error { return mine }); err != mine {
		t.Errorf("its own error as it is: %v", err)
	}
	panics := func(m *Map, fn func([]byte) error) (reason any) {
		defer func() { reason = recover() }()
		m.Do(fn)
		return nil
	}
	if reason := panics(m, func([]byte) error { panic(mine) }); reason != mine {
		t.Errorf("a panic must pass: %v", reason)
	}
	nilDereference := func([]byte) error { var nothing *Map; return errors.New(nothing.path) }
	if reason, ok := panics(m, nilDereference).(runtime.Error); !ok {
		t.Errorf("a nil dereference must pass: %v", reason)
	}
	outOfRange := func(data []byte) error { _ = data[len(data):][0]; return nil }
	if reason, ok := panics(m, outOfRange).(runtime.Error); !ok {
		t.Errorf("an index out of range must pass: %v", reason)
	}
	truncate(t, path, page)
	sum := 0
	err := m.Do(func(data []byte) error {
		for _, b := range data {
			sum += int(b)
		}
		return mine
	})
	lost(t, err, CauseTruncated, page)
	if guardsEverything && !errors.Is(err, mine) {
		t.Errorf("both errors: %v", err)
	}
}
