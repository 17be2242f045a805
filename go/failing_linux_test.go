//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// failingDisk is the folder of a file system whose device can be made to fail.
type failingDisk string

// onFailingDisk starts the test again on each of them. The image of ext4 and xfs is on a tmpfs, and
// the device has no room for what is written to it as long as that is full. On btrfs notes of its
// own would not find any either: there it is the disk of the hosts, which refuses what is marked.
func onFailingDisk(t *testing.T, test func(t *testing.T, folder string, disk failingDisk)) {
	t.Helper()
	commands := map[string]string{
		// Its journal would not find room either, and that makes it read-only.
		"ext4": `size=24m; how=loop,commit=300; make="mkfs.ext4 -q img"`,
		"xfs":  `size=90m; how=loop; make="mkfs.xfs -q -f img"`,
	}
	run := func(t *testing.T, folder string) { test(t, folder, failingDisk(folder)) }
	if os.Getenv(whereMounted) != "" {
		mounted(t, "", run)
		return
	}
	t.Run("btrfs", func(t *testing.T) {
		support, err := filepath.Abs(filepath.Join("..", "tests", "support"))
		if _, missing := os.Stat(support); err != nil || missing != nil {
			t.Skip("SKIPPED: needs the sources of the disk")
		}
		mounted(t, `support='`+support+`'
			include=$support/../../include
			cc -DBARE -D_GNU_SOURCE -pthread -I "$include" -o device "$support/device.c"
			truncate -s 300m img; mkfs.btrfs -q -f -m single -d single img >/dev/null 2>&1
			shift; set -- . "$PWD/device" img record control disk \
				sh -euc 'mount -o loop disk at; exec "$@"' sh "$@"`, run)
	})
	for name, sizes := range commands {
		t.Run(name, func(t *testing.T) {
			mounted(t, sizes+`; mkdir below; mount -t tmpfs -o size=$size none below; cd below
				truncate -s 400m img; $make >/dev/null 2>&1; mount -o $how img ../at; cd ..`, run)
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

func (d failingDisk) ballast() string { return filepath.Join(string(d), "..", "below", "ballast") }

// control sets what is refused; false if this disk has no such thing.
func (d failingDisk) control(refused uint64) (bool, error) {
	f, err := os.OpenFile(filepath.Join(string(d), "..", "control"), os.O_WRONLY, 0)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	const at = 8 // struct control, device.h
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, refused), at)
	return true, err
}

// marked is size bytes, a page of which the disk of the hosts knows by its beginning.
func marked(b byte, size int) []byte {
	all := bytes.Repeat([]byte{b}, size)
	for at := 0; at < size; at += 4096 {
		copy(all[at:], "markmark")
	}
	return all
}

// heal lets the device take everything again.
func (d failingDisk) heal() error {
	if is, err := d.control(0); is {
		return err
	}
	return os.Remove(d.ballast())
}

// fail lets every write of what is marked to the device fail that needs room there.
func (d failingDisk) fail(t *testing.T) {
	t.Helper()
	const failMarked = 4 // device.h
	if is, err := d.control(failMarked); is {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	fillDisk(t, d.ballast())
}

// What ReplaceFile says to be there is on the device; what is written over the old file, as by cp,
// is said to be there and is not.
func TestReplaceBelievesOnlyWhatTheDeviceHas(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder string, disk failingDisk) {
		const size = 4 << 20
		names := func() []string { return namesIn(t, folder) }
		live, bare := filepath.Join(folder, "live"), filepath.Join(folder, "bare")
		source := filepath.Join(t.TempDir(), "new")
		write(t, source, marked('A', size))
		if err := ReplaceFile(source, live); err != nil {
			t.Fatal(err)
		}
		before := names()
		write(t, source, marked('B', size))
		disk.fail(t)
		if err := ReplaceFile(source, live); err == nil || errors.Is(err, ErrUnsynced) {
			t.Errorf("%v", err)
		}
		write(t, bare, marked('B', size))
		f, err := os.OpenFile(bare, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Sync() // this one says so, and nobody asked for it
		if err := disk.heal(); err != nil || f.Sync() != nil {
			t.Fatal(err)
		}
		if bytes.Equal(onDevice(t, bare, size), marked('B', size)) {
			t.Error("the bare file is on the device")
		}
		if got := onDevice(t, live, size); !bytes.Equal(got, marked('A', size)) {
			t.Errorf("%d of %d old bytes", bytes.Count(got, []byte("A")), size)
		}
		if now := names(); len(now) != len(before)+1 { // and bare
			t.Error(before, now)
		}
		if err := ReplaceFile(source, live); err != nil {
			t.Error(err)
		}
		if got := onDevice(t, live, size); !bytes.Equal(got, marked('B', size)) {
			t.Errorf("%d of %d new bytes", bytes.Count(got, []byte("B")), size)
		}
	})
}

func namesIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
