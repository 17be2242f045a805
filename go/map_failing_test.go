//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// onFailingDisk starts the test again on a file system whose device has no room for what is written
// to it as long as there is the file ballast beside its image.
func onFailingDisk(t *testing.T, test func(t *testing.T, folder, ballast string)) {
	t.Helper()
	commands := map[string]string{
		"ext4": `size=24m; make="mkfs.ext4 -q img"`, "xfs": `size=90m; make="mkfs.xfs -q -f img"`,
	}
	run := func(t *testing.T, folder string) {
		test(t, folder, filepath.Join(folder, "..", "below", "ballast"))
	}
	if os.Getenv(whereMounted) != "" {
		mounted(t, "", run)
		return
	}
	for name, sizes := range commands {
		t.Run(name, func(t *testing.T) {
			mounted(t, sizes+`; mkdir below; mount -t tmpfs -o size=$size none below; cd below
				truncate -s 400m img; $make >/dev/null 2>&1; mount -o loop img ../at; cd ..`, run)
		})
	}
}

// onDevice is what the device has, past the page cache.
func onDevice(t *testing.T, path string, size int) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := aligned(size)
	if n, err := f.ReadAt(all, 0); n != size {
		t.Fatal(n, err)
	}
	return all
}

// failedFlush makes a map of 'a's whose Flush has failed, on a device that is well again, and
// returns the errno.
func failedFlush(t *testing.T, path, ballast string, size int64) (*Map, syscall.Errno) {
	t.Helper()
	write(t, path, nil)
	m := open(t, path, Options{Writable: true, Capacity: size})
	if err := m.Grow(size); err != nil {
		t.Fatal(err)
	}
	full, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = full.Write(make([]byte, 1<<12))
	}
	full.Close()
	put(t, m, 'a')
	failed, ok := m.Flush().(*MapError)
	if err := os.Remove(ballast); err != nil || !ok {
		t.Fatal(failed, err)
	}
	if err := m.Flush(); !errors.Is(err, failed.Errno) {
		t.Errorf("a flush after %v: %v", failed, err)
	}
	return m, failed.Errno
}

func put(t *testing.T, m *Map, b byte) {
	t.Helper()
	all := bytes.Repeat([]byte{b}, m.Len())
	if n, err := m.WriteAt(all, 0); n != len(all) || err != nil {
		t.Fatal(n, err)
	}
}

const failingSize = 8 << 20

// What the kernel takes for written and is not on the device is not shown after Refresh, neither by
// the map nor by slices that were handed out before; and what is written then is on the device.
func TestRefreshBelievesOnlyWhatTheDeviceHas(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder, ballast string) {
		path := filepath.Join(folder, "file")
		m, errno := failedFlush(t, path, ballast, failingSize)
		slice := m.Bytes()
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		shown := make([]byte, failingSize)
		if _, err := m.ReadAt(shown, 0); err != nil {
			t.Fatal(err)
		}
		there := onDevice(t, path, failingSize)
		count := func(all []byte) int { return bytes.Count(all, []byte("a")) }
		t.Logf("%v; %d of %d bytes are on the device", errno, count(there), failingSize)
		if !bytes.Equal(shown, there) {
			t.Errorf("the map shows %d bytes, the device has %d", count(shown), count(there))
		}
		if !bytes.Equal(slice, there) {
			t.Errorf("an old slice shows %d bytes, the device has %d", count(slice), count(there))
		}
		put(t, m, 'b')
		if err := m.Flush(); err != nil {
			t.Error(err)
		}
		if n := bytes.Count(onDevice(t, path, failingSize), []byte("b")); n != failingSize {
			t.Errorf("%d of %d bytes are on the device", n, failingSize)
		}
	})
}

// Somebody else has the file mapped, and its pages cannot be dropped: nothing is believed.
func TestRefreshSaysWhatCannotBeForgotten(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder, ballast string) {
		path := filepath.Join(folder, "file")
		m, errno := failedFlush(t, path, ballast, failingSize)
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
		put(t, m, 'b')
		if err := m.Flush(); err != nil {
			t.Error(err)
		}
	})
}
