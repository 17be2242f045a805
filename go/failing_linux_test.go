//go:build linux && (amd64 || arm64)

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
		// Its journal would not find room either, and that makes it read-only.
		"ext4": `size=24m; how=loop,commit=300; make="mkfs.ext4 -q img"`,
		"xfs":  `size=90m; how=loop; make="mkfs.xfs -q -f img"`,
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

// What ReplaceFile says to be there is on the device; what is written over the old file, as by cp,
// is said to be there and is not.
func TestReplaceBelievesOnlyWhatTheDeviceHas(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder, ballast string) {
		const size = 4 << 20
		names := func() []string { return namesIn(t, folder) }
		live, bare := filepath.Join(folder, "live"), filepath.Join(folder, "bare")
		source := filepath.Join(t.TempDir(), "new")
		write(t, source, generation('a', size))
		if err := ReplaceFile(source, live); err != nil {
			t.Fatal(err)
		}
		before := names()
		write(t, source, generation('b', size))
		fillDisk(t, ballast)
		if err := ReplaceFile(source, live); err == nil || errors.Is(err, ErrUnsynced) {
			t.Errorf("%v", err)
		}
		write(t, bare, generation('b', size))
		f, err := os.OpenFile(bare, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		f.Sync() // this one says so, and nobody asked for it
		if err := os.Remove(ballast); err != nil || f.Sync() != nil {
			t.Fatal(err)
		}
		if bytes.Equal(onDevice(t, bare, size), generation('b', size)) {
			t.Error("the bare file is on the device")
		}
		if got := onDevice(t, live, size); !bytes.Equal(got, generation('a', size)) {
			t.Errorf("%d of %d old bytes", bytes.Count(got, []byte("a")), size)
		}
		if now := names(); len(now) != len(before)+1 { // and bare
			t.Error(before, now)
		}
		if err := ReplaceFile(source, live); err != nil {
			t.Error(err)
		}
		if got := onDevice(t, live, size); !bytes.Equal(got, generation('b', size)) {
			t.Errorf("%d of %d new bytes", bytes.Count(got, []byte("b")), size)
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
