//go:build unix

package sigward

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func holdsExactly(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != content {
		t.Errorf("%s: %.40q, %v, not %.40q", path, got, err, content)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".sigward-*"))
	if len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestReplaceFile(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old", "new": "fresh"})
	live, fresh := filepath.Join(folder, "live"), filepath.Join(folder, "new")
	reader, err := os.Open(live)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := os.Chmod(live, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(fresh, live); err != nil {
		t.Fatal(err)
	}
	holdsExactly(t, live, "fresh")
	holdsExactly(t, fresh, "fresh")
	if info, _ := os.Stat(live); info.Mode() != 0o604 {
		t.Error(info.Mode())
	}
	old := make([]byte, 10)
	if n, _ := reader.Read(old); string(old[:n]) != "old" {
		t.Errorf("the old file: %q", old[:n])
	}
	os.Chmod(fresh, 0o601)
	made := filepath.Join(folder, "made")
	if err := ReplaceFile(fresh, made); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(made); info.Mode() != 0o601 {
		t.Error(info.Mode())
	}
	holdsExactly(t, made, "fresh")
}

func TestReplacementIsThereOrNot(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old"})
	live := filepath.Join(folder, "live")
	for _, commit := range []bool{false, true} {
		r, err := CreateReplacement(live)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < 1000; i++ {
			fmt.Fprintf(r, "%09d\n", i)
		}
		if content, _ := os.ReadFile(live); string(content) != "old" {
			t.Errorf("before: %.40q", content)
		}
		if !commit {
			if err := r.Abort(); err != nil {
				t.Error(err)
			}
			holdsExactly(t, live, "old")
			continue
		}
		if err := r.Commit(); err != nil {
			t.Fatal(err)
		}
		if info, _ := os.Stat(live); info.Size() != 10_000 {
			t.Error(info.Size())
		}
		if _, err := r.Write(nil); !errors.Is(err, os.ErrClosed) ||
			!errors.Is(r.Commit(), os.ErrClosed) || r.Abort() != nil {
			t.Errorf("used after its end: %v", err)
		}
	}
}

func TestReplaceFollowsLinks(t *testing.T) {
	folder := folderWith(t, map[string]string{"real": "old", "new": "fresh"})
	link, second := filepath.Join(folder, "link"), filepath.Join(folder, "second")
	os.Symlink("real", link)
	os.Symlink(link, second)
	if err := ReplaceFile(filepath.Join(folder, "new"), second); err != nil {
		t.Fatal(err)
	}
	holdsExactly(t, filepath.Join(folder, "real"), "fresh")
	if to, err := os.Readlink(link); to != "real" {
		t.Error(to, err)
	}
}

// The text of such a link is "live (deleted)", which names nothing, or another file.
func TestReplaceOfAFileThatHasNoName(t *testing.T) {
	folder := folderWith(t, map[string]string{"new": "fresh", "live": "old"})
	live := filepath.Join(folder, "live")
	open, err := os.OpenFile(live, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	link := fmt.Sprintf("/proc/self/fd/%d", open.Fd())
	if _, err := os.Stat(link); err != nil {
		t.Skip(err)
	}
	if err := ReplaceFile(filepath.Join(folder, "new"), link); err != nil {
		t.Error(err)
	}
	holdsExactly(t, live, "fresh")
	for _, names := range []string{"nothing", "another file"} {
		if names != "nothing" {
			os.WriteFile(live+" (deleted)", []byte("another"), 0o644)
		}
		if err := ReplaceFile(filepath.Join(folder, "new"), link); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("its text names %s: %v", names, err)
		}
		if got, _ := os.ReadFile(live + " (deleted)"); string(got) == "fresh" {
			t.Errorf("its text names %s: replaced", names)
		}
	}
}

func TestReplaceRefusesWhatCannotBe(t *testing.T) {
	folder := folderWith(t, map[string]string{"live": "old", "new": "fresh"})
	at := func(name string) string { return filepath.Join(folder, name) }
	os.Mkdir(at("folder"), 0o755)
	os.Symlink("loop", at("loop"))
	for _, c := range []struct {
		source, destination string
		want                error
	}{
		{at("none"), at("live"), os.ErrNotExist}, {at("new"), at("none/live"), os.ErrNotExist},
		{at("new"), at("folder"), syscall.EISDIR}, {at("folder"), at("live"), syscall.EISDIR},
		{at("new"), "/dev/null", syscall.ENODEV}, {"/dev/null", at("live"), syscall.ENODEV},
		{at("new"), "", syscall.ENOENT},
		{at("new"), at(strings.Repeat("x", 400)), syscall.ENAMETOOLONG},
	} {
		if err := ReplaceFile(c.source, c.destination); !errors.Is(err, c.want) {
			t.Errorf("%s → %.99s: %v, not %v", c.source, c.destination, err, c.want)
		}
	}
	holdsExactly(t, at("live"), "old")
}

func TestManyReplacersAtOnce(t *testing.T) {
	contents := map[string]string{"live": strings.Repeat("0", 1<<18)}
	for _, name := range []string{"1", "2", "3"} {
		contents[name] = strings.Repeat(name, 1<<18)
	}
	folder := folderWith(t, contents)
	live := filepath.Join(folder, "live")
	var replacers, readers sync.WaitGroup
	done := make(chan struct{})
	readers.Add(1)
	go func() {
		defer readers.Done()
		for {
			content, err := os.ReadFile(live)
			if err != nil || len(content) != 1<<18 ||
				bytes.Count(content, content[:1]) != len(content) {
				t.Errorf("torn: %d bytes, %v", len(content), err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	for _, name := range []string{"1", "2", "3"} {
		replacers.Add(1)
		go func(source string) {
			defer replacers.Done()
			for i := 0; i < 20; i++ {
				if err := ReplaceFile(source, live); err != nil {
					t.Error(err)
				}
			}
		}(filepath.Join(folder, name))
	}
	replacers.Wait()
	close(done)
	readers.Wait()
}
