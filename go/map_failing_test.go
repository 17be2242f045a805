//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// failedFlush makes a map of 'A's that has moved and whose Flush has failed, on a device that is
// well again, and returns the errno.
func failedFlush(t *testing.T, path string, disk failingDisk, size int64) (*Map, syscall.Errno) {
	t.Helper()
	write(t, path, nil)
	m := open(t, path, Options{Writable: true, Capacity: size / 2})
	if err := m.Grow(size / 2); err != nil {
		t.Fatal(err)
	}
	disk.fail(t)
	put(t, m, 'A')
	if err := m.Grow(size); err != nil {
		t.Fatal(err)
	}
	put(t, m, 'A')
	failed, ok := m.Flush().(*MapError)
	if err := disk.heal(); err != nil || !ok {
		t.Fatal(failed, err)
	}
	if err := m.Flush(); !errors.Is(err, failed.Errno) {
		t.Errorf("a flush after %v: %v", failed, err)
	}
	return m, failed.Errno
}

func put(t *testing.T, m *Map, b byte) {
	t.Helper()
	all := marked(b, m.Len())
	if n, err := m.WriteAt(all, 0); n != len(all) || err != nil {
		t.Fatal(n, err)
	}
}

const failingSize = 8 << 20

// What the kernel takes for written and is not on the device is not shown after Refresh, neither by
// the map nor by slices that were handed out before; and what is written then is on the device.
func TestRefreshBelievesOnlyWhatTheDeviceHas(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder string, disk failingDisk) {
		path := filepath.Join(folder, "file")
		m, errno := failedFlush(t, path, disk, failingSize)
		slice := m.Bytes()
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		shown := make([]byte, failingSize)
		if _, err := m.ReadAt(shown, 0); err != nil {
			t.Fatal(err)
		}
		there := onDevice(t, path, failingSize)
		count := func(all []byte) int { return bytes.Count(all, []byte("A")) }
		t.Logf("%v; %d of %d bytes are on the device", errno, count(there), failingSize)
		if !bytes.Equal(shown, there) {
			t.Errorf("the map shows %d bytes, the device has %d", count(shown), count(there))
		}
		if !bytes.Equal(slice, there) {
			t.Errorf("an old slice shows %d bytes, the device has %d", count(slice), count(there))
		}
		put(t, m, 'B')
		if err := m.Flush(); err != nil {
			t.Error(err)
		}
		if is := onDevice(t, path, failingSize); !bytes.Equal(is, marked('B', failingSize)) {
			t.Errorf("%d of %d bytes are on the device", bytes.Count(is, []byte("B")), failingSize)
		}
	})
}

// Somebody else has the file mapped, and its pages cannot be dropped: nothing is believed.
func TestRefreshSaysWhatCannotBeForgotten(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder string, disk failingDisk) {
		path := filepath.Join(folder, "file")
		m, errno := failedFlush(t, path, disk, failingSize)
		other := open(t, path, Options{Populate: true})
		for try := 0; try < 2; try++ {
			if err := m.Refresh(); !errors.Is(err, errno) {
				t.Errorf("%v, not %v", err, errno)
			}
			if err := m.Flush(); !errors.Is(err, errno) {
				t.Errorf("%v, not %v", err, errno)
			}
		}
		other.Close()
		if err := m.Refresh(); err != nil {
			t.Error(err)
		}
		put(t, m, 'B')
		if err := m.Flush(); err != nil {
			t.Error(err)
		}
	})
}
