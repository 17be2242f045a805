// Package harness is what the tests of Go hosts have in common: programs are built once, started
// through the launcher, and told by how they end; expectations are tables.
package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Scratch is where the tests build, and where their programs' files are.
var Scratch string

// Main runs the tests with a Scratch folder, which is removed at the end.
func Main(m *testing.M, name string) {
	var err error
	if Scratch, err = os.MkdirTemp("", "sigward-"+name+"-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(Scratch)
	os.Exit(code)
}

// A Kind of program is bare or warded. That is a build tag and nothing else.
type Kind string

// Both kinds.
const (
	Bare   Kind = "bare"
	Warded Kind = "warded"
)

// Wanted is false for a kind that SIGWARD_BUILDS leaves out.
func (k Kind) Wanted() bool {
	wanted := os.Getenv("SIGWARD_BUILDS")
	return wanted == "" || strings.Contains(wanted, string(k))
}

// Archived wants the archive for a warded program.
func (k Kind) Archived(archive string) error {
	if _, err := os.Stat(archive); k == Warded && err != nil {
		return fmt.Errorf("%w: run make archive first, or set SIGWARD_BUILDS=bare", err)
	}
	return nil
}

type artifact struct {
	once sync.Once
	err  error
}

var artifacts sync.Map // path → *artifact

// Once makes a file in the scratch folder at its first use, and fails the test when that did not
// work.
func Once(t *testing.T, name string, make func(path string) error) string {
	t.Helper()
	path := filepath.Join(Scratch, name)
	entry, _ := artifacts.LoadOrStore(path, new(artifact))
	made := entry.(*artifact)
	made.once.Do(func() { made.err = make(path) })
	if made.err != nil {
		t.Fatalf("build %s: %v", name, made.err)
	}
	return path
}

// Command runs a program to its end; what it said is in the error.
func Command(environment []string, name string, arguments ...string) error {
	cmd := exec.Command(name, arguments...)
	cmd.Env = append(os.Environ(), environment...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}

// BuildC compiles strictly, with threads.
func BuildC(path string, arguments ...string) error {
	flags := []string{"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path}
	return Command(nil, "cc", append(flags, arguments...)...)
}

// KilledBy says whether the signal ended the process.
func KilledBy(err error, signal syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

// A Cell of a table.
type Cell struct{ Row, Column, Want string }

// Cells reads a table. Its first line names the columns, each further line a row.
func Cells(t *testing.T, table string) (list []Cell) {
	t.Helper()
	var columns []string
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Split(line, "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if columns == nil {
			columns = fields
			continue
		}
		if len(fields) != len(columns) {
			t.Fatalf("%d fields, not %d: %s", len(fields), len(columns), line)
		}
		for i := 1; i < len(fields); i++ {
			list = append(list, Cell{fields[0], columns[i], fields[i]})
		}
	}
	if len(list) == 0 {
		t.Fatal("an empty table")
	}
	return list
}
