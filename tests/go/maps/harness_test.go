package maps

// How one run is made: build a program once, start it through the launcher, and tell how it ended.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	timeout = 60 * time.Second // a hang, not a measurement
	archive = "../../../go/lib/linux_amd64/libsigward.a"
)

var scratch string // where the tests build and where the programs' files are; removed at the end

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "sigward-maps-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// A kind of program is bare or warded. That is a build tag and nothing else.
type kind string

const (
	bare   kind = "bare"
	warded kind = "warded"
)

// need skips a test of a kind that SIGWARD_BUILDS leaves out.
func need(t *testing.T, k kind) {
	t.Helper()
	if wanted := os.Getenv("SIGWARD_BUILDS"); wanted != "" && !strings.Contains(wanted, string(k)) {
		t.Skipf("SIGWARD_BUILDS=%s leaves out the %s programs", wanted, k)
	}
}

// ---------------------------------------------------------------- building

type artifact struct {
	once sync.Once
	err  error
}

var artifacts sync.Map // path → *artifact

// once makes a file in the scratch folder at its first use, and fails the test when that did not work.
func once(t *testing.T, name string, make func(path string) error) string {
	t.Helper()
	path := filepath.Join(scratch, name)
	entry, _ := artifacts.LoadOrStore(path, new(artifact))
	made := entry.(*artifact)
	made.once.Do(func() { made.err = make(path) })
	if made.err != nil {
		t.Fatalf("build %s: %v", name, made.err)
	}
	return path
}

func command(environment []string, name string, arguments ...string) error {
	cmd := exec.Command(name, arguments...)
	cmd.Env = append(os.Environ(), environment...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, output)
	}
	return nil
}

// program builds cmd/NAME. libsqlite3 makes go-sqlite3 use the system's library; no other program looks at that tag.
func program(t *testing.T, k kind, name string, environment []string, flags ...string) string {
	t.Helper()
	need(t, k)
	file := strings.Join(append(append([]string{name, string(k)}, environment...), flags...), "-")
	return once(t, strings.NewReplacer("/", "_", "=", "-").Replace(file), func(path string) error {
		tags := "libsqlite3"
		if k == warded {
			tags += ",warded"
			if _, err := os.Stat(archive); err != nil {
				return fmt.Errorf("%w: run make archive first, or set SIGWARD_BUILDS=bare", err)
			}
		}
		arguments := append([]string{"build", "-o", path, "-tags", tags}, flags...)
		return command(environment, "go", append(arguments, "./cmd/"+name)...)
	})
}

// buildC compiles strictly, with threads.
func buildC(path string, arguments ...string) error {
	flags := []string{"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path}
	return command(nil, "cc", append(flags, arguments...)...)
}

// ---------------------------------------------------------------- running

// An end is how a process ended and what it said.
type end struct {
	err            error
	hung           bool
	stdout, stderr string
}

// run starts a program with every signal at its default and a folder of its own, which is its first argument.
func run(t *testing.T, program string, arguments ...string) end {
	t.Helper()
	launcher := once(t, "launch", func(path string) error { return buildC(path, "../launch/launch.c") })
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	folder := t.TempDir()
	cmd := exec.CommandContext(ctx, launcher, append([]string{"default", program, folder}, arguments...)...)
	cmd.WaitDelay = time.Second
	cmd.Dir = folder
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return end{err, ctx.Err() != nil, strings.TrimSpace(stdout.String()), strings.TrimSpace(stderr.String())}
}

// killed says whether the signal ended the process.
func (e end) killed(signal syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(e.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

// fate is the end as a cell of a table.
func (e end) fate() string {
	var exit *exec.ExitError
	switch {
	case e.hung:
		return "no end after " + timeout.String()
	case e.err == nil:
		return e.stdout
	case e.killed(syscall.SIGBUS) && e.stderr == "":
		return "†"
	case errors.As(e.err, &exit) && exit.ExitCode() == 2 && goReport(e.stderr) != "":
		return goReport(e.stderr)
	case e.killed(syscall.SIGABRT) && goReport(e.stderr) != "": // Go as a library aborts its host after the report
		return goReport(e.stderr) + ", aborted"
	}
	return fmt.Sprintf("%v\nstdout: %.500s\nstderr: %.1000s", e.err, e.stdout, e.stderr)
}

// goReport names Go's crash report for a SIGBUS: a fault in Go code, a fault in C that Go called, or a signal that
// somebody sent. Each ends with status 2 and shows the goroutines.
func goReport(stderr string) string {
	has := func(text string) bool { return strings.Contains(stderr, text) }
	switch {
	case !has("\ngoroutine "):
		return ""
	case strings.HasPrefix(stderr, "unexpected fault address 0x") && has("[signal SIGBUS: bus error code=0x2 addr=0x"):
		return "† fault"
	case !strings.HasPrefix(stderr, "SIGBUS: bus error\nPC=0x"):
		return ""
	case has(" sigcode=2") && has("\nsignal arrived during cgo execution\n"):
		return "† in cgo"
	case has(" sigcode=0"), has(" sigcode=18446744073709551610"): // SI_USER; SI_TKILL, without its sign
		return "† sent"
	}
	return ""
}

// ---------------------------------------------------------------- tables

type cell struct{ row, column, want string }

// cells reads a table. Its first line names the columns, each further line a row.
func cells(t *testing.T, table string) (list []cell) {
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
			list = append(list, cell{fields[0], columns[i], fields[i]})
		}
	}
	if len(list) == 0 {
		t.Fatal("an empty table")
	}
	return list
}

// check runs every cell of a table whose rows are set-ups and whose columns are actions; "-" is a cell that is not run.
func check(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		c := c
		if c.want == "-" {
			continue
		}
		t.Run(c.row+"/"+c.column, func(t *testing.T) {
			t.Parallel()
			if have := run(t, program, c.row, c.column).fate(); have != c.want {
				t.Errorf("set-up %q, action %q: have %q, want %q", c.row, c.column, have, c.want)
			}
		})
	}
}
