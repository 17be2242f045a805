//go:build linux

package sigward

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Nearly all of these have a tick of an hour: what they see, an event has told.

func TestReloadingUnderLoad(t *testing.T) {
	live := filepath.Join(t.TempDir(), "live")
	writeFile(t, live, reloadGeneration(1))
	r := openHourly(t, live, parseAnything)
	var over atomic.Bool
	var looks atomic.Uint64
	var readers sync.WaitGroup
	for n := 0; n < 4; n++ {
		readers.Add(1)
		go func() {
			defer readers.Done()
			for last := uint64(0); !over.Load(); looks.Add(1) {
				version := r.Get()
				number := wholeGeneration(version.Value)
				if number == 0 || number < last || version.Size != int64(len(version.Value)) {
					t.Errorf("generation %d after %d, %d bytes", number, last, version.Size)
					return
				}
				last = number
			}
		}()
	}
	const updates = 18
	for number := uint64(2); number < 2+updates; number++ {
		changed := r.Changed()
		update(t, live, number)
		select {
		case <-changed:
		case <-time.After(reloadPatience):
			over.Store(true)
			t.Fatalf("generation %d: nothing changed: %v, %+v", number, r.Err(), r.Stats())
		}
		until(t, fmt.Sprint("generation ", number),
			func() bool { return wholeGeneration(r.Get().Value) == number })
	}
	until(t, "the readers", func() bool { return looks.Load() >= updates || t.Failed() })
	over.Store(true)
	readers.Wait()
	if s := r.Stats(); s.Version < updates || s.Refused != 0 || !s.Watching || r.Err() != nil {
		t.Errorf("%+v, %v", s, r.Err())
	}
}

var twinSum atomic.Uint64

// The same updates, under a map as every program has one.
func TestReloadingBareTwin(t *testing.T) {
	if os.Getenv("SIGWARD_TEST_TWIN") != "" {
		live := os.Getenv("SIGWARD_TEST_TWIN")
		file, err := os.Open(live)
		must(t, err)
		data, err := syscall.Mmap(int(file.Fd()), 0, len(reloadGeneration(1)), syscall.PROT_READ,
			syscall.MAP_SHARED)
		must(t, err)
		go func() {
			for {
				for at := 0; at < len(data); at += 4096 {
					twinSum.Add(uint64(data[at])) // so that it is really read
				}
			}
		}()
		began := time.Now()
		for number := uint64(2); time.Since(began) < reloadPatience; number += 6 {
			update(t, live, number)
		}
		return
	}
	live := filepath.Join(t.TempDir(), "live")
	writeFile(t, live, reloadGeneration(1))
	own := exec.Command(os.Args[0], "-test.run=^TestReloadingBareTwin$", "-test.count=1")
	own.Env = append(os.Environ(), "SIGWARD_TEST_TWIN="+live)
	output, err := own.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 ||
		!bytes.Contains(output, []byte("[signal SIGBUS")) {
		t.Errorf("it must die of SIGBUS: %v\n%.500s", err, output)
	}
}

// As kubelet does it: one link for each key, one link for all keys, a folder for each generation.
func TestReloadingConfigMap(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	write := func(name, text string) {
		must(t, os.Mkdir(at(name), 0o755))
		writeFile(t, at(name+"/key"), []byte(text))
	}
	write("..0", "0")
	must(t, os.Symlink("..0", at("..data")), os.Symlink("..data/key", at("key")))
	r := openHourly(t, at("key"), parseText)
	becomes(t, r, "0")
	for n := 1; n < 5; n++ {
		name, text := fmt.Sprint("..", n), fmt.Sprint(n)
		write(name, text)
		must(t, os.Symlink(name, at("..data_tmp")), os.Rename(at("..data_tmp"), at("..data")))
		// While the old folder is still there, so that nothing has happened to the old file.
		becomes(t, r, text)
		must(t, os.RemoveAll(at(fmt.Sprint("..", n-1))))
	}
	if !r.Stats().Watching {
		t.Error("not everything is watched")
	}
}

func TestReloadingWhateverLeadsThere(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"a", "a/b", "c", "d", "d/b"} {
		must(t, os.Mkdir(at(name), 0o755))
	}
	writeFile(t, at("a/b/file"), []byte("1"))
	must(t, os.Symlink("../a/b/file", at("c/relative")),
		os.Symlink(at("c/relative"), at("absolute")))
	r := openHourly(t, at("absolute"), parseText)
	becomes(t, r, "1")
	// Its folder's folder in the place of another.
	writeFile(t, at("d/b/file"), []byte("2"))
	must(t, os.Rename(at("a"), at("old")))
	troubled(t, r, fs.ErrNotExist)
	must(t, os.Rename(at("d"), at("a")))
	becomes(t, r, "2")
	writeFile(t, at("a/b/file"), []byte("3"))
	becomes(t, r, "3")
	// A link in the midst.
	writeFile(t, at("other"), []byte("4"))
	must(t, os.Symlink("../other", at("c/next")), os.Rename(at("c/next"), at("c/relative")))
	becomes(t, r, "4")
	// A link that leads nowhere, until it does.
	must(t, os.Remove(at("absolute")), os.Symlink("nowhere/file", at("absolute")))
	troubled(t, r, fs.ErrNotExist)
	must(t, os.Mkdir(at("nowhere"), 0o755))
	writeFile(t, at("nowhere/file"), []byte("5"))
	becomes(t, r, "5")
	must(t, os.Symlink("circle", at("circle")), os.Rename(at("circle"), at("absolute")))
	until(t, "a circle", func() bool { return r.Err() != nil })
	must(t, os.Remove(at("absolute")))
	writeFile(t, at("absolute"), []byte("6"))
	becomes(t, r, "6")
}

func TestReloadingKeepsTheOldVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, reloadGeneration(1))
	r := openHourly(t, path, parseWhole)
	kept := func(number uint64) {
		t.Helper()
		if have := wholeGeneration(r.Get().Value); have != number {
			t.Fatalf("generation %d, not %d", have, number)
		}
	}
	must(t, os.Remove(path))
	if e := troubled(t, r, fs.ErrNotExist); e.Path != path || e.Size != -1 || e.Kept != 1 ||
		e.Count < 1 {
		t.Errorf("%+v", e)
	}
	kept(1)
	writeFile(t, path, nil)
	if e := troubled(t, r, ErrEmpty); e.Size != 0 ||
		!strings.HasSuffix(e.Error(), "it is empty; version 1 stays") {
		t.Error(e)
	}
	writeFile(t, path, []byte("broken"))
	if e := troubled(t, r, ErrRefused); e.Size != 6 ||
		!strings.Contains(e.Error(), "6 bytes of no generation") {
		t.Error(e)
	}
	if err := r.Refresh(); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	kept(1)
	must(t, os.Remove(path), os.Mkdir(path, 0o755))
	troubled(t, r, syscall.EISDIR)
	must(t, os.Remove(path), syscall.Mkfifo(path, 0o644))
	troubled(t, r, syscall.ENODEV)
	kept(1)
	must(t, os.Remove(path))
	writeFile(t, path, reloadGeneration(2))
	until(t, "the second", func() bool { return r.Get().Number == 2 })
	kept(2)

	// A writer who never comes to an end, and one who dies before.
	writer := exec.Command("sh", "-c", `head -c 9999 /dev/zero > "$0"; exec sleep 60 >> "$0"`, path)
	must(t, writer.Start())
	until(t, "a writer", func() bool {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", writer.Process.Pid))
		return string(name) == "sleep\n"
	})
	if err := r.Refresh(); !errors.Is(err, ErrBeingWritten) || !errors.Is(err, syscall.EBUSY) {
		t.Error(err)
	}
	kept(2)
	must(t, writer.Process.Kill())
	writer.Wait()
	troubled(t, r, ErrRefused)
	writeFile(t, path, reloadGeneration(3))
	until(t, "the third", func() bool { return r.Get().Number == 3 && r.Err() == nil })

	// Opened for writing, and nothing was written.
	opened, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	if err := r.Refresh(); !errors.Is(err, ErrBeingWritten) {
		t.Error(err)
	}
	must(t, opened.Close())
	until(t, "no trouble", func() bool { return r.Err() == nil })
	// Written again, the same: no new version.
	before := r.Stats().Unchanged
	writeFile(t, path, reloadGeneration(3))
	until(t, "a look", func() bool { return r.Stats().Unchanged > before })
	must(t, r.Refresh())
	if n := r.Get().Number; n != 3 {
		t.Error(n)
	}
}

func TestReloadingTells(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, []byte("1"))
	told := make(chan string, 100)
	r, err := OpenReloadingWith(path, func(f *Frozen) (*Frozen, error) {
		var first [1]byte
		_, err := f.ReadAt(first[:], 0)
		if first[0] == '2' {
			panic("a two")
		}
		return f, err // kept: read by offsets, without memory where blocks can be shared
	}, ReloadOptions{
		Tick:      time.Hour,
		OnChange:  func(n uint64) { told <- fmt.Sprint("version ", n) },
		OnProblem: func(e *ReloadError) { told <- e.Error() },
	})
	must(t, err)
	defer r.Close()
	tells := func(text string) {
		t.Helper()
		for limit := time.After(reloadPatience); ; {
			select {
			case line := <-told:
				if strings.Contains(line, text) {
					return
				}
			case <-limit:
				t.Fatalf("never told: %s", text)
			}
		}
	}
	first := r.Get()
	writeFile(t, path, []byte("2"))
	tells("it panicked: a two; version 1 stays")
	writeFile(t, path, []byte("3"))
	tells("version 2")
	runtime.GC()
	for want, version := range map[string]*Version[*Frozen]{"1": first, "3": r.Get()} {
		if data, err := version.Value.Bytes(); err != nil || string(data) != want {
			t.Errorf("%q, %v", data, err)
		}
	}
}

func TestReloadingFirstVersion(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "later", "file")
	if _, err := OpenReloading(path, parseText); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	go func() {
		os.Mkdir(filepath.Dir(path), 0o755)
		os.WriteFile(path, []byte("broken"), 0o644)
		os.WriteFile(path, reloadGeneration(1), 0o644)
	}()
	r, err := OpenReloadingWith(path, func(f *Frozen) ([]byte, error) {
		data, err := f.Bytes()
		must(t, err)
		return parseWhole(data)
	}, ReloadOptions{Tick: time.Hour, WaitFirst: reloadPatience})
	must(t, err)
	if v := r.Get(); wholeGeneration(v.Value) != 1 || v.Number != 1 {
		t.Errorf("version %d", v.Number)
	}
	must(t, r.Close())

	bad := map[string]error{
		folder:                         syscall.EISDIR,
		"/dev/null":                    syscall.ENODEV,
		"":                             fs.ErrNotExist,
		"a\x00b":                       syscall.EINVAL,
		filepath.Join(path, "below"):   syscall.ENOTDIR,
		filepath.Join(folder, "empty"): ErrEmpty,
	}
	writeFile(t, filepath.Join(folder, "empty"), nil)
	for path, want := range bad {
		if _, err := OpenReloading(path, parseText); !errors.Is(err, want) {
			t.Errorf("%q: %v, not %v", path, err, want)
		}
	}
	empty, err := OpenReloadingWith(filepath.Join(folder, "empty"),
		func(f *Frozen) (int, error) { return f.Len(), nil }, ReloadOptions{AcceptEmpty: true})
	must(t, err)
	must(t, empty.Close())
}

func TestReloadingClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, []byte("1"))
	r := openHourly(t, path, parseText)
	var callers sync.WaitGroup
	for n := 0; n < 8; n++ {
		callers.Add(1)
		go func() {
			defer callers.Done()
			for r.Get().Value == "1" {
				if err := r.Refresh(); errors.Is(err, os.ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
				}
			}
		}()
	}
	time.Sleep(10 * time.Millisecond)
	must(t, r.Close())
	callers.Wait()
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if r.Get().Value != "1" {
		t.Error("the version is gone")
	}
}

func TestReloadingLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "file")
	round := func(number uint64) {
		writeFile(t, path, reloadGeneration(number))
		r := openHourly(t, path, parseWhole)
		writeFile(t, path, []byte("broken"))
		troubled(t, r, ErrRefused)
		update(t, path, number+1)
		until(t, "the next", func() bool { return wholeGeneration(r.Get().Value) == number+1 })
		must(t, r.Close())
		if _, err := OpenReloading(folder, parseText); err == nil {
			t.Error("a directory")
		}
	}
	measure := func() (fds, goroutines int) {
		runtime.GC() // files of copies that were kept
		entries, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(entries), runtime.NumGoroutine()
	}
	round(1)
	fds, goroutines := measure()
	for number := uint64(2); number < 12; number++ {
		round(2 * number)
	}
	until(t, "as before", func() bool {
		f, g := measure()
		return f <= fds && g <= goroutines
	})
}

// Without events the tick finds everything. A user namespace has limits of its own.
func TestReloadingWithoutEvents(t *testing.T) {
	if os.Getenv("SIGWARD_TEST_AGAIN") == "" {
		script := `limit=/proc/sys/user/max_inotify_instances
			unshare --user --map-root-user sh -c "echo 0 > $limit" || exit 77
			exec unshare --user --map-root-user sh -c 'echo 0 > "$0"; exec "$@"' $limit "$@"`
		again(t, func(*exec.Cmd) {}, "sh", "-c", script, "sh", os.Args[0])
		return
	}
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, []byte("1"))
	r, err := OpenReloadingWith(path, func(f *Frozen) (string, error) {
		data, err := f.Bytes()
		return string(data), err
	}, ReloadOptions{Tick: 20 * time.Millisecond})
	must(t, err)
	defer r.Close()
	for _, text := range []string{"2", "3", "4"} {
		writeFile(t, path+".next", []byte(text))
		must(t, os.Rename(path+".next", path))
		becomes(t, r, text)
		writeFile(t, path, []byte(text+text))
		becomes(t, r, text+text)
	}
	if s := r.Stats(); s.Watching || s.WatchErr != syscall.EMFILE {
		t.Errorf("%+v", s)
	}
}

// The files of others: no lease tells whether they are being written.
func TestReloadingSettles(t *testing.T) {
	folder := asNobody(t, func(path string, number uint64) {
		writeOver(t, path, reloadGeneration(number), 64<<10, time.Millisecond)
	})
	if folder == "" {
		return
	}
	r, err := OpenReloadingWith(filepath.Join(folder, "file"), func(f *Frozen) ([]byte, error) {
		data, err := f.Bytes()
		must(t, err)
		return parseWhole(data)
	}, ReloadOptions{Tick: time.Hour, Settle: 100 * time.Millisecond})
	must(t, err)
	defer r.Close()
	for number := uint64(2); number < 5; number++ {
		askFor(t, folder, number)
	}
	until(t, "the last",
		func() bool { return wholeGeneration(r.Get().Value) == 4 && r.Err() == nil })
	if r.Stats().NotYet == 0 {
		t.Error("it was taken at once")
	}
}
