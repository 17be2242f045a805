//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/sigward/sigward/go/internal/foreign"
)

// faultOfChild reads a page that its file has lost, in Go, in Go where that is a panic, or in C.
func faultOfChild(how, path string) {
	if os.Getenv("SIGWARD_EXPLAIN_BARE") == "" {
		if err := Explain(); err != nil {
			panic(err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, 4*page, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	if err := f.Truncate(0); err != nil {
		panic(err)
	}
	if how == "panic" {
		debug.SetPanicOnFault(true)
		defer func() {
			if recover() == nil {
				panic("no fault")
			}
			os.Exit(0)
		}()
	}
	if how == "c" {
		foreign.Sum(data)
	}
	os.Exit(3 + int(data[2*page]))
}

// The runtime has its own report of each SIGBUS, or none, as without us; ours comes before.
func TestExplain(t *testing.T) {
	if how := os.Getenv("SIGWARD_EXPLAIN"); how != "" {
		faultOfChild(how, os.Getenv("SIGWARD_EXPLAIN_FILE"))
	}
	// On a thread that Go did not create it puts the default action back, without a report.
	for how, ends := range map[string]int{"go": 2, "panic": 0, "c": -1} {
		for _, bare := range []string{"", "1"} {
			path := filepath.Join(t.TempDir(), "geo")
			write(t, path, pattern(4*page, 0))
			child := exec.Command(os.Args[0], "-test.run=^TestExplain$")
			child.Env = append(os.Environ(), "SIGWARD_EXPLAIN="+how, "SIGWARD_EXPLAIN_FILE="+path,
				"SIGWARD_EXPLAIN_BARE="+bare)
			var stderr bytes.Buffer
			child.Stderr = &stderr
			_ = child.Run()
			if code := child.ProcessState.ExitCode(); code != ends {
				t.Errorf("%s: %d: %.2000s", how, code, &stderr)
			}
			ours, theirs, _ := strings.Cut(stderr.String(), "\n")
			if bare != "" {
				theirs = stderr.String()
			} else if !strings.HasPrefix(ours, "sigward: passing on: SIGBUS (code 2, addr") ||
				!strings.Contains(ours, " of "+path+" (262,144 bytes mapped) by ") ||
				!strings.Contains(ours, ": the file is 0 bytes long now; it goes to the handler") {
				t.Errorf("%s: %.2000s", how, &stderr)
			}
			reported := strings.Contains(theirs, "SIGBUS")
			if reported != (how == "go") || strings.Contains(theirs, "sigward: ") {
				t.Errorf("%s: %.2000s", how, theirs)
			}
		}
	}
}
