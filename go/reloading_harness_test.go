//go:build linux

package sigward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const reloadPatience = 30 * time.Second // for what comes at once, on a machine with much else to do

// reloadGeneration is its number, again and again: a mixture of two is seen at once.
func reloadGeneration(number uint64) []byte {
	words := 100_000 + int(number/2%3)*20_000
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], number)
	return bytes.Repeat(word[:], words)
}

// wholeGeneration is 0 for what is none, or not whole.
func wholeGeneration(data []byte) uint64 {
	if len(data) < 8 {
		return 0
	}
	number := binary.LittleEndian.Uint64(data)
	if !bytes.Equal(data, reloadGeneration(number)) {
		return 0
	}
	return number
}

func parseAnything(data []byte) ([]byte, error) { return data, nil }

func parseText(data []byte) (string, error) { return string(data), nil }

func parseWhole(data []byte) ([]byte, error) {
	if wholeGeneration(data) == 0 {
		return nil, fmt.Errorf("%d bytes of no generation", len(data))
	}
	return data, nil
}

func openHourly[T any](t *testing.T, path string, parse func([]byte) (T, error)) *Reloading[T] {
	t.Helper()
	r, err := OpenReloadingWith(path, func(f *Frozen) (value T, err error) {
		data, err := f.Bytes()
		if err != nil {
			return value, err
		}
		return parse(data)
	}, ReloadOptions{Tick: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(began) > reloadPatience {
			t.Fatalf("never: %s", what)
		}
	}
}

func becomes(t *testing.T, r *Reloading[string], want string) {
	t.Helper()
	until(t, want, func() bool { return r.Get().Value == want && r.Err() == nil })
}

func troubled[T any](t *testing.T, r *Reloading[T], want error) *ReloadError {
	t.Helper()
	var err error // the one that was looked at: the next look may find something else
	until(t, want.Error(), func() bool { err = r.Err(); return errors.Is(err, want) })
	var found *ReloadError
	if !errors.As(err, &found) {
		t.Fatalf("%T", err)
	}
	return found
}

// must is for what the tests themselves do to files.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o644))
}

func writeOver(t *testing.T, path string, data []byte, piece int, pause time.Duration) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	for ; len(data) > 0; data = data[min(piece, len(data)):] {
		_, err := file.Write(data[:min(piece, len(data))])
		must(t, err)
		time.Sleep(pause)
	}
	must(t, file.Close())
}

// update brings the next generation, in all the ways in which that is done, by turns.
func update(t *testing.T, live string, number uint64) {
	t.Helper()
	data, beside := reloadGeneration(number), live+".next"
	switch number % 6 {
	case 0:
		writeFile(t, beside, data)
		must(t, exec.Command("cp", beside, live).Run())
	case 1:
		writeFile(t, beside, data)
		must(t, os.Rename(beside, live))
	case 2:
		writeOver(t, live, data, 64<<10, time.Millisecond)
	case 3: // stays at the half for a while
		writeOver(t, live, data, len(data)/2+1, 60*time.Millisecond)
	case 4: // no cut: over the old bytes, and then to its length
		file, err := os.OpenFile(live, os.O_WRONLY, 0)
		must(t, err)
		_, err = file.Write(data)
		must(t, err, file.Truncate(int64(len(data))), file.Close())
	case 5:
		writeFile(t, beside, data)
		must(t, ReplaceFile(beside, live))
	}
}

// again runs a test in a process of its own, by way of a command.
func again(t *testing.T, setUp func(*exec.Cmd), command ...string) {
	t.Helper()
	own := exec.Command(
		command[0],
		append(command[1:], "-test.run=^"+t.Name()+"$", "-test.count=1")...)
	own.Env = append(os.Environ(), "SIGWARD_TEST_AGAIN=1")
	setUp(own)
	output, err := own.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		if os.Getenv("SIGWARD_REQUIRE_ALL") == "1" {
			t.Fatalf("not to be had: %s", output)
		}
		t.Skipf("not to be had: %s", output)
	}
	if err != nil || !bytes.Contains(output, []byte("PASS")) {
		t.Errorf("%v\n%s", err, output)
	}
}

// asNobody runs the test again as another user, who may read "file" in the folder, and have it
// updated by askFor. It returns the folder in that other run, and nothing in this one.
func asNobody(t *testing.T, update func(path string, number uint64)) (folder string) {
	t.Helper()
	if os.Getenv("SIGWARD_TEST_AGAIN") != "" {
		return os.Getenv("SIGWARD_TEST_FOLDER")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	folder, err := os.MkdirTemp("", "sigward-nobody-")
	must(t, err)
	defer os.RemoveAll(folder)
	at := func(name string) string { return filepath.Join(folder, name) }
	must(t, os.Chmod(folder, 0o755), exec.Command("cp", os.Args[0], at("test")).Run())
	writeFile(t, at("file"), reloadGeneration(1))
	must(t, os.Mkdir(at("asked"), 0o777), os.Chmod(at("asked"), 0o777))
	must(t, os.Chmod(at("test"), 0o755), os.Chmod(at("file"), 0o644)) // whatever the umask
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		for number := uint64(2); ; {
			if _, err := os.Stat(at(fmt.Sprint("asked/", number))); err == nil {
				update(at("file"), number)
				number++
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	again(t, func(own *exec.Cmd) {
		own.SysProcAttr = &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: 65534, Gid: 65534},
		}
		own.Env = append(own.Env, "SIGWARD_TEST_FOLDER="+folder)
		own.Dir = folder
	}, at("test"))
	close(stop)
	<-over
	return ""
}

// asked is the file by which that other run asks for a generation.
func asked(folder string, number uint64) string {
	return filepath.Join(folder, fmt.Sprint("asked/", number))
}

// askFor has the file of asNobody get its next generation.
func askFor(t *testing.T, folder string, number uint64) {
	t.Helper()
	writeFile(t, asked(folder, number), nil)
}
