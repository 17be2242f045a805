//go:build unix

package sigward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func generation(n byte, size int) []byte { return bytes.Repeat([]byte{n}, size) }

func frozen(t *testing.T, path string, o SnapshotOptions) *Frozen {
	t.Helper()
	f, err := SnapshotWith(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// holdsAll compares each byte, by ReadAt and by Bytes.
func holdsAll(t *testing.T, f *Frozen, whole []byte) {
	t.Helper()
	read := make([]byte, len(whole)+1)
	if n, err := f.ReadAt(read, 0); n != len(whole) || err != io.EOF ||
		!bytes.Equal(read[:n], whole) {
		t.Errorf("%v: ReadAt: %d bytes, %v", f.Kind(), n, err)
	}
	if got, err := f.Bytes(); err != nil || !bytes.Equal(got, whole) || f.Len() != len(whole) {
		t.Errorf("%v: Bytes: %d bytes, %v", f.Kind(), len(got), err)
	}
}

var damages = map[string]func(path string) error{
	"truncated": func(path string) error { return os.Truncate(path, 0) },
	"overwritten": func(path string) error {
		return os.WriteFile(path, generation('x', 2<<20), 0o600)
	},
	"removed": func(path string) error {
		if err := os.Truncate(path, 1); err != nil {
			return err
		}
		return os.Remove(path)
	},
	"replaced": func(path string) error {
		if err := os.WriteFile(path+".new", []byte("new"), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	},
}

func snapshotKeeps(t *testing.T, folder string) {
	whole := append(generation('a', 1<<20), "end"...)
	path := filepath.Join(folder, "file")
	for name, damage := range damages {
		for _, memoryOnly := range []bool{false, true} {
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			f := frozen(t, path, SnapshotOptions{MemoryOnly: memoryOnly})
			if err := damage(path); err != nil {
				t.Fatal(name, err)
			}
			if f.Kind() == SnapshotClone && f.Memory() != 0 ||
				f.Kind() == SnapshotMemory && f.Memory() != int64(len(whole)) {
				t.Errorf("%s: %v takes %d bytes", name, f.Kind(), f.Memory())
			}
			holdsAll(t, f, whole)
			if f.Memory() != int64(len(whole)) {
				t.Errorf("%s: after Bytes %d bytes", name, f.Memory())
			}
			kept, _ := f.Bytes()
			f.Close()
			if runtime.GC(); !bytes.Equal(kept, whole) || f.Memory() != 0 {
				t.Error("bytes went with Close")
			}
		}
	}
}

func TestSnapshotKeepsItsBytes(t *testing.T) { snapshotKeeps(t, t.TempDir()) }

func TestSnapshotLimitAndProgress(t *testing.T) {
	path := filepath.Join(folderWith(t, map[string]string{"file": string(generation('a', 1<<20))}),
		"file")
	_, err := SnapshotWith(path, SnapshotOptions{Limit: 1<<20 - 1})
	var large *TooLargeError
	if !errors.As(err, &large) || large.Size != 1<<20 || large.Limit != 1<<20-1 ||
		large.Path != path || !errors.Is(err, syscall.EFBIG) {
		t.Error(err)
	}
	var told []int64
	o := SnapshotOptions{Limit: 1 << 20, MemoryOnly: true, Progress: func(done, total int64) error {
		if told = append(told, done); total != 1<<20 {
			t.Error(total)
		}
		return nil
	}}
	frozen(t, path, o)
	if len(told) != 5 || told[0] != 0 || told[4] != 1<<20 {
		t.Error(told)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.Progress = func(done, _ int64) error {
		if done > 1<<19 {
			cancel()
		}
		return ctx.Err()
	}
	var named *fs.PathError
	if _, err = SnapshotWith(path, o); !errors.Is(err, context.Canceled) ||
		!errors.As(err, &named) || named.Path != path {
		t.Error(err)
	}
}

func TestSnapshotRefuses(t *testing.T) {
	folder := folderWith(t, map[string]string{"file": "content", "empty": ""})
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, errno := range map[string]syscall.Errno{
		"":                                     syscall.ENOENT,
		filepath.Join(folder, "missing"):       syscall.ENOENT,
		folder:                                 syscall.EISDIR,
		fifo:                                   syscall.ENODEV,
		"/dev/null":                            syscall.ENODEV,
		filepath.Join(folder, "file", "below"): syscall.ENOTDIR,
		"a\x00b":                               syscall.EINVAL,
	} {
		f, err := Snapshot(path)
		var named *fs.PathError
		if f != nil || !errors.Is(err, errno) || !errors.As(err, &named) ||
			named.Op != "snapshot" || named.Path != path {
			t.Errorf("%q: %v", path, err)
		}
	}
	holdsAll(t, frozen(t, filepath.Join(folder, "empty"), SnapshotOptions{}), nil)
	f := frozen(t, filepath.Join(folder, "file"), SnapshotOptions{})
	if _, err := f.ReadAt(make([]byte, 1), -1); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if n, err := f.ReadAt(make([]byte, 1), 100); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	_, errRead := f.ReadAt(make([]byte, 1), 0)
	_, errBytes := f.Bytes()
	for _, err := range []error{errRead, errBytes, f.Close()} {
		if !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

// A copy is taken again when the file was written to meanwhile, and given up when that happens
// every time.
func TestSnapshotOfAFileThatChanges(t *testing.T) {
	const size = 1 << 20
	path := filepath.Join(t.TempDir(), "file")
	for _, changes := range []int{1, 9, 100} {
		if err := os.WriteFile(path, generation(0, size), 0o600); err != nil {
			t.Fatal(err)
		}
		begun := 0
		f, err := SnapshotWith(
			path,
			SnapshotOptions{MemoryOnly: true, Progress: func(done, _ int64) error {
				if done == 0 {
					begun++
				}
				if done != size/2 || begun > changes {
					return nil
				}
				w, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err == nil {
					_, err = w.WriteAt(generation(byte(begun), size), 0)
					w.Close()
				}
				return err
			}},
		)
		if changes == 100 {
			if f != nil || begun != 10 || !errors.Is(err, ErrSourceChanged) ||
				!errors.Is(err, syscall.ESTALE) {
				t.Error(begun, err)
			}
			continue
		}
		if err != nil || begun != changes+1 {
			t.Fatal(begun, err)
		}
		holdsAll(t, f, generation(byte(changes), size))
	}
}

// generations are written to a file all the time, each in one write.
type generations struct {
	size         int
	begun, ended atomic.Int64 // writes
	stopped      atomic.Bool
	writer       sync.WaitGroup
}

// writeGenerations writes to the file until it is told to stop, or the test ends.
func writeGenerations(t *testing.T, path string, size int) *generations {
	t.Helper()
	if err := os.WriteFile(path, generation(0, size), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &generations{size: size}
	g.writer.Add(1)
	var all [8][]byte
	for n := range all {
		all[n] = generation(byte(n), size)
	}
	go func() {
		defer g.writer.Done()
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		for n := 0; !g.stopped.Load(); n++ {
			g.begun.Add(1)
			if _, err := w.WriteAt(all[n%8], 0); err != nil {
				t.Error(err)
			}
			g.ended.Add(1)
			if n%8 == 0 {
				time.Sleep(time.Duration(n%7) * 2 * time.Millisecond)
			}
		}
	}()
	t.Cleanup(g.stop)
	return g
}

func (g *generations) stop() {
	g.stopped.Store(true)
	g.writer.Wait()
}

func (g *generations) isOne(whole []byte) bool {
	return len(whole) == g.size && bytes.Equal(whole, generation(whole[0], g.size))
}

// snapshotIsWhole takes snapshots of a file that somebody writes to all the time: each is a
// generation, or an error. It returns what their moments are worth.
//
// Nobody can tell of a write that waits for the processor in its middle while the file is read
// twice, unless the file system lets us wait for it: so that may be a mixture, and is unproven.
func snapshotIsWhole(t *testing.T, written, path string) map[Moment]int {
	t.Helper()
	g := writeGenerations(t, written, 4<<20)
	kinds, moments, changed, halted := map[SnapshotKind]int{}, map[Moment]int{}, 0, 0
	for round := 0; round < 15; round++ {
		// Whether the write that is at work when the first reading begins is so when it ends.
		var number int64
		var halts bool
		watch := func(done, _ int64) error {
			ended := g.ended.Load()
			if done == 0 {
				number = g.begun.Load()
				halts = true
			}
			halts = halts && ended < number
			return nil
		}
		f, err := SnapshotWith(path, SnapshotOptions{MemoryOnly: round%5 == 0, Progress: watch})
		if err != nil {
			if changed++; !errors.Is(err, ErrSourceChanged) || !errors.Is(err, syscall.ESTALE) {
				t.Error(err)
			}
			continue
		}
		kinds[f.Kind()]++
		moments[f.Moment()]++
		whole, err := f.Bytes()
		switch {
		case err == nil && g.isOne(whole):
		case err == nil && len(whole) == g.size && halts && f.Moment() == MomentUnproven:
			halted++
		default:
			t.Errorf("%v, %v: a mixture of %d bytes, %v", f.Kind(), f.Moment(), len(whole), err)
		}
		f.Close()
	}
	g.stop()
	t.Log(kinds, moments, "changed", changed, "a write halted", halted)
	return moments
}

func TestSnapshotIsNeverAMixture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	snapshotIsWhole(t, path, path)
}

func TestSnapshotByManyReaders(t *testing.T) {
	whole := generation('a', 1<<20)
	path := filepath.Join(folderWith(t, map[string]string{"file": string(whole)}), "file")
	f := frozen(t, path, SnapshotOptions{})
	os.Truncate(path, 0)
	var readers sync.WaitGroup
	for n := 0; n < 8; n++ {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for round := 0; round < 10; round++ {
				if got, err := f.Bytes(); err == nil && !bytes.Equal(got, whole) ||
					err != nil && !errors.Is(err, os.ErrClosed) {
					t.Error(len(got), err)
				}
			}
		}()
	}
	f.Close()
	readers.Wait()
}
