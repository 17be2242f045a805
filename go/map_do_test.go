//go:build unix

package sigward

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
)

// Bytes of a map that go straight into a system call meet a lost page without any signal.
func TestDoKnowsWhatASystemCallMet(t *testing.T) {
	broken := errors.New("nothing of the map")
	sink, err := os.Create(t.TempDir() + "/sink")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	for name, fn := range map[string]func(data []byte) error{
		"write of a lost page": func(data []byte) error {
			_, err := syscall.Write(int(sink.Fd()), data[2*page:])
			return err
		},
		"write of the whole": func(data []byte) error {
			_, err := sink.Write(data)
			return err
		},
		"a short count": func(data []byte) error {
			if n, err := syscall.Write(int(sink.Fd()), data); err != nil || n < len(data) {
				return io.ErrShortWrite
			}
			return nil
		},
	} {
		for _, o := range []Options{{}, {Writable: true}, {NoDescriptor: true}} {
			path := file(t, pattern(4*page, 0))
			m := open(t, path, o)
			if err := m.Do(fn); err != nil {
				t.Errorf("%s, %+v: %v", name, o, err)
			}
			if err := m.Do(func([]byte) error { return broken }); err != broken {
				t.Errorf("%s, %+v: %v", name, o, err)
			}
			truncate(t, path, page)
			if err := m.Err(); err != nil {
				t.Errorf("%s, %+v: met by whom? %v", name, o, err)
			}
			err := m.Do(fn)
			if !errors.Is(err, ErrLost) || !o.NoDescriptor && !errors.Is(err, ErrTruncated) {
				// Without a descriptor nobody can ask for the length.
				if !o.NoDescriptor || name != "a short count" {
					t.Errorf("%s, %+v: %v", name, o, err)
				}
				continue
			}
			if !o.NoDescriptor {
				lost(t, err, CauseTruncated, page)
				if err := m.Err(); !errors.Is(err, ErrTruncated) {
					t.Errorf("%s, %+v: forgotten: %v", name, o, err)
				}
			}
		}
	}
	m := open(t, file(t, pattern(4*page, 0)), Options{})
	source, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	err = m.Do(func(data []byte) error { // not writable: the caller's own fault
		_, err := source.Read(data)
		return err
	})
	if !errors.Is(err, syscall.EFAULT) || errors.Is(err, ErrLost) {
		t.Error(err)
	}
}

// Status looks at the file where nobody has met a loss.
func TestStatusOfACutFile(t *testing.T) {
	path := file(t, pattern(4*page, 0))
	m := open(t, path, Options{})
	if fault, lost := m.Status(); lost {
		t.Error(fault)
	}
	truncate(t, path, page)
	if fault, lost := m.Status(); !lost || fault.Cause != CauseTruncated || fault.Offset != page ||
		fault.LenNow != page {
		t.Error(fault, lost)
	}
}
