//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sigward/sigward/go/internal/foreign"
)

// A shared writable mapping of others' that lost a page ends the process, and the line says why.
func TestLastWords(t *testing.T) {
	if folder := os.Getenv("SIGWARD_LAST_WORDS"); folder != "" {
		words, err := os.OpenFile(folder+"/words", os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		must(t, LastWords(words))
		if os.Getenv("SIGWARD_SILENT") != "" {
			must(t, LastWords(nil))
		}
		f, err := os.OpenFile(folder+"/store", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		store, err := syscall.Mmap(int(f.Fd()), 0, 4*page, syscall.PROT_READ|syscall.PROT_WRITE,
			syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := AdoptFile(folder + "/store"); err != nil {
			t.Fatal(err)
		}
		must(t, f.Truncate(page))
		foreign.Sum(store)
		return
	}
	for _, silent := range []string{"", "1"} {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "words"), nil)
		write(t, filepath.Join(folder, "store"), pattern(4*page, 0))
		child := exec.Command(os.Args[0], "-test.run=^TestLastWords$")
		child.Env = append(os.Environ(), "SIGWARD_LAST_WORDS="+folder, "SIGWARD_SILENT="+silent)
		var stderr bytes.Buffer
		child.Stderr = &stderr
		if err := child.Run(); err == nil {
			t.Error("it must end")
		}
		words, err := os.ReadFile(filepath.Join(folder, "words"))
		must(t, err)
		told := strings.Count(string(words), folder+"/store") == 1 &&
			strings.Count(string(words), "\n") == 1
		toldTwice := strings.Contains(stderr.String(), folder+"/store")
		if want := silent == ""; told != want || toldTwice != want || !want && len(words) > 0 {
			t.Errorf("silent %q: %q, and on stderr %.300q", silent, words, stderr.String())
		}
	}
	closed, err := os.Open("/dev/null")
	must(t, err)
	closed.Close()
	if err := LastWords(closed); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
