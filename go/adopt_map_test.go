//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigward/sigward/go/internal/foreign"
)

func TestAdopt(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := sharedMap(t, path, syscall.PROT_READ)
	defer syscall.Munmap(data)
	before := settledMaps(t)
	a, err := Adopt(data[page:], f, page)
	if err != nil {
		t.Fatal(err)
	}
	foreign.Sum(data)
	if _, lost := a.Status(); lost || a.Err() != nil || a.Count() != 1 || maps(t) != before+1 {
		t.Errorf("intact: %v, %d", a.Err(), a.Count())
	}
	truncate(t, path, 2*page)
	if got, want := foreign.Sum(data), sum(pattern(2*page, 0)); got != want {
		t.Errorf("sum %d, want %d", got, want)
	}
	e := lost(t, a.Err(), CauseTruncated, page)
	if e.LenNow != 2*page || e.Path != path || e.Op != "adopted" {
		t.Errorf("%+v", e)
	}
	if fault, is := a.Status(); !is || fault.Thread != "foreign" {
		t.Errorf("%+v", fault)
	}
	write(t, path, pattern(4*page, 1))
	if err := a.Heal(); err != nil {
		t.Fatal(err)
	}
	if got, want := sum(data), sum(pattern(4*page, 1)); got != want || a.Err() != nil {
		t.Errorf("healed: sum %d, want %d, %v", got, want, a.Err())
	}
	if err := a.Verify(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil || maps(t) != before {
		t.Errorf("%v, %d maps", err, maps(t)-before)
	}
	for name, call := range map[string]func() error{
		"Err": a.Err, "Heal": a.Heal, "Close": a.Close, "Verify": a.Verify,
	} {
		if err := call(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if _, lost := a.Status(); lost || a.Count() != 0 {
		t.Error("a closed one has nothing")
	}
	if sum(data) == 0 {
		t.Error("the mapping is its owner's")
	}
}

// Of a mapping that goes to the file, the first lost page would be the end without a sink.
func TestSink(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	data := plainMap(t, path)
	defer syscall.Munmap(data)
	a, err := Adopt(data, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Sink(page); err != nil {
		t.Fatal(err)
	}
	truncate(t, path, page)
	data[2*page] = 7
	if data[2*page] != 7 {
		t.Error("it does not hold what was written")
	}
	lost(t, a.Err(), CauseUnknown, 2*page)
}

func TestAdoptOfBadInput(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other, err := os.Open(file(t, pattern(4*page, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	closed, _ := os.Open(path)
	closed.Close()
	data := sharedMap(t, path, syscall.PROT_READ)
	defer syscall.Munmap(data)
	code, err := syscall.Mmap(int(f.Fd()), 0, page, syscall.PROT_READ|syscall.PROT_EXEC,
		syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(code)
	anonymous, err := syscall.Mmap(-1, 0, page, syscall.PROT_READ,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(anonymous)
	guarded, err := Adopt(data[:page], nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer guarded.Close()
	for name, bad := range map[string]struct {
		data   []byte
		f      *os.File
		offset int64
		want   error
	}{
		"nothing":           {nil, f, 0, syscall.EINVAL},
		"an empty slice":    {data[:0], f, 0, syscall.EINVAL},
		"not aligned":       {data[page+1:], f, page + 1, syscall.EINVAL},
		"another offset":    {data[page:], f, 0, syscall.EINVAL},
		"a negative offset": {data[page:], f, -page, syscall.EINVAL},
		"another file":      {data[page:], other, page, syscall.EINVAL},
		"a closed file":     {data[page:], closed, page, syscall.EBADF},
		"guarded already":   {data, f, 0, syscall.EEXIST},
		"executable":        {code, f, 0, syscall.EACCES},
		"of no file":        {anonymous, nil, 0, syscall.EINVAL},
		"Go's own memory":   {make([]byte, 4*page), nil, 0, syscall.EINVAL},
	} {
		a, err := Adopt(bad.data, bad.f, bad.offset)
		var e *MapError
		if a != nil || !errors.Is(err, bad.want) || !errors.As(err, &e) || e.Op != "adopt" {
			t.Errorf("%s: %v, %v, want %v", name, a, err, bad.want)
		}
	}
	missing := filepath.Dir(path) + "/missing"
	for path, want := range map[string]error{
		missing:            fs.ErrNotExist,
		filepath.Dir(path): syscall.EISDIR,
		os.DevNull:         syscall.ENODEV,
		path + "\x00":      syscall.EINVAL,
	} {
		if a, err := AdoptFile(path); a != nil || !errors.Is(err, want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, %v, want %v", path, a, err, want)
		}
	}
	// Without a file nobody can tell why, or heal.
	truncate(t, path, 0)
	sum(data[:page])
	lost(t, guarded.Err(), CauseUnknown, 0)
	if err := guarded.Heal(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Heal without a file: %v", err)
	}
}

func TestAdoptFile(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	first := sharedMap(t, path, syscall.PROT_READ)
	defer syscall.Munmap(first)
	before := settledMaps(t)
	a, err := AdoptFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Count() != 1 {
		t.Errorf("%d mappings", a.Count())
	}
	second := sharedMap(t, path, syscall.PROT_READ)
	if a.Count() != 2 || maps(t) != before+1 {
		t.Errorf("%d mappings", a.Count())
	}
	truncate(t, path, 3*page+5)
	foreign.Sum(second)
	if e := lost(t, a.Err(), CauseTruncated, 3*page+5); e.LenNow != 3*page+5 {
		t.Errorf("%+v", e)
	}
	truncate(t, path, page)
	sum(first)
	lost(t, a.Err(), CauseTruncated, page)
	write(t, path, pattern(4*page, 1))
	if err := a.Heal(); err != nil {
		t.Fatal(err)
	}
	if want := sum(pattern(4*page, 1)); sum(first) != want || foreign.Sum(second) != want ||
		a.Err() != nil {
		t.Errorf("healed: %v", a.Err())
	}
	syscall.Munmap(second)
	if a.Count() != 1 {
		t.Errorf("%d mappings", a.Count())
	}
	truncate(t, path, 0)
	if err := a.Verify(); !errors.Is(err, ErrTruncated) {
		t.Errorf("Verify of a file that was cut: %v", err)
	}
	if _, was := a.Take(); !was || a.Err() != nil {
		t.Errorf("taken: %v", a.Err())
	}
	if err := a.Close(); err != nil || maps(t) != before {
		t.Errorf("%v, %d maps", err, maps(t)-before)
	}

	empty := file(t, nil)
	a, err = AdoptFile(empty)
	if err != nil || a.Count() != 0 || a.Err() != nil {
		t.Fatalf("of an empty file: %v", err)
	}
	a.Close()
}
