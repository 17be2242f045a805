package maps

// How one run is made: build a program once, start it through the launcher, and tell how it ended.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigward/sigward/tests/go/internal/harness"
)

const (
	timeout = 2 * time.Minute // a hang, not a measurement
	archive = "../../../go/lib/linux_amd64/libsigward.a"
)

func TestMain(m *testing.M) { harness.Main(m, "maps") }

type kind = harness.Kind

const (
	bare   = harness.Bare
	warded = harness.Warded
)

var (
	once    = harness.Once
	command = harness.Command
	buildC  = harness.BuildC
	cells   = harness.Cells
)

// need skips a test of a kind that SIGWARD_BUILDS leaves out.
func need(t *testing.T, k kind) {
	t.Helper()
	if !k.Wanted() {
		t.Skipf("SIGWARD_BUILDS leaves out the %s programs", k)
	}
}

// ---------------------------------------------------------------- building

// program builds cmd/NAME. libsqlite3 makes go-sqlite3 use the system's library; no other program
// looks at that tag.
func program(t *testing.T, k kind, name string, environment []string, flags ...string) string {
	t.Helper()
	need(t, k)
	file := strings.Join(append(append([]string{name, string(k)}, environment...), flags...), "-")
	return once(t, strings.NewReplacer("/", "_", "=", "-").Replace(file), func(path string) error {
		tags := "libsqlite3"
		if k == warded {
			tags += ",warded"
		}
		if err := k.Archived(archive); err != nil {
			return err
		}
		arguments := append([]string{"build", "-o", path, "-tags", tags}, flags...)
		return command(environment, "go", append(arguments, "./cmd/"+name)...)
	})
}

// ---------------------------------------------------------------- running

// An end is how a process ended and what it said.
type end struct {
	err            error
	hung           bool
	stdout, stderr string
}

// run starts a program with every signal at its default and a folder of its own, which is its first
// argument.
func run(t *testing.T, program string, arguments ...string) end {
	t.Helper()
	launcher := once(t, "launch",
		func(path string) error { return buildC(path, "../launch/launch.c") })
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	folder := t.TempDir()
	cmd := exec.CommandContext(
		ctx,
		launcher,
		append([]string{"default", program, folder}, arguments...)...)
	cmd.WaitDelay = 30 * time.Second
	cmd.Dir = folder
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return end{
		err,
		ctx.Err() != nil,
		strings.TrimSpace(stdout.String()),
		strings.TrimSpace(stderr.String()),
	}
}

// killed says whether the signal ended the process.
func (e end) killed(signal syscall.Signal) bool { return harness.KilledBy(e.err, signal) }

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
	// Go as a library aborts its host after the report.
	case e.killed(syscall.SIGABRT) && goReport(e.stderr) != "":
		return goReport(e.stderr) + ", aborted"
	}
	return fmt.Sprintf("%v\nstdout: %.500s\nstderr: %.1000s", e.err, e.stdout, e.stderr)
}

// goReport names Go's crash report for a SIGBUS: a fault in Go code, a fault in C that Go called,
// or a signal that somebody sent. Each ends with status 2 and shows the goroutines.
func goReport(stderr string) string {
	has := func(text string) bool { return strings.Contains(stderr, text) }
	switch {
	case !has("\ngoroutine "):
		return ""
	case strings.HasPrefix(stderr, "unexpected fault address 0x") &&
		has("[signal SIGBUS: bus error code=0x2 addr=0x"):
		return "† fault"
	case !strings.HasPrefix(stderr, "SIGBUS: bus error\nPC=0x"):
		return ""
	case has(" sigcode=2") && has("\nsignal arrived during cgo execution\n"):
		return "† in cgo"
	// SI_USER; SI_TKILL, without its sign.
	case has(" sigcode=0"), has(" sigcode=18446744073709551610"):
		return "† sent"
	}
	return ""
}

// ---------------------------------------------------------------- tables

// check runs every cell of a table whose rows are set-ups and whose columns are actions; "-" is a
// cell that is not run.
func check(t *testing.T, program, table string) {
	t.Helper()
	for _, c := range cells(t, table) {
		c := c
		if c.Want == "-" {
			continue
		}
		t.Run(c.Row+"/"+c.Column, func(t *testing.T) {
			t.Parallel()
			if have := run(t, program, c.Row, c.Column).fate(); have != c.Want {
				t.Errorf("set-up %q, action %q: have %q, want %q", c.Row, c.Column, have, c.Want)
			}
		})
	}
}
