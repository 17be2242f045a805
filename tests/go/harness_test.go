package hosts

// How a cell of a table is run: build a program once, start it through the launcher, read its fate.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigward/sigward/tests/go/internal/harness"
)

const (
	died    = "†"             // killed by SIGPIPE, nothing on stderr
	timeout = 2 * time.Minute // a hang, not a measurement
	archive = "../../go/lib/linux_amd64/libsigward.a"
)

func TestMain(m *testing.M) { harness.Main(m, "hosts") }

type kind = harness.Kind

const (
	bare   = harness.Bare
	warded = harness.Warded
)

var (
	once     = harness.Once
	command  = harness.Command
	buildC   = harness.BuildC
	killedBy = harness.KilledBy
	cells    = harness.Cells
)

// kinds are the kinds to test. SIGWARD_BUILDS narrows them.
func kinds(t *testing.T) []kind {
	t.Helper()
	var list []kind
	for _, k := range []kind{bare, warded} {
		if k.Wanted() {
			list = append(list, k)
		}
	}
	return list
}

func forEachKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds(t) {
		k := k
		t.Run(string(k), func(t *testing.T) { test(t, k) })
	}
}

// ---------------------------------------------------------------- building

func buildGo(k kind, environment []string, path, source string, flags ...string) error {
	if err := k.Archived(archive); err != nil {
		return err
	}
	arguments := []string{"build", "-o", path}
	if k == warded {
		arguments = append(arguments, "-tags", "warded")
	}
	arguments = append(arguments, flags...)
	return command(environment, "go", append(arguments, source)...)
}

func launcher(t *testing.T) string {
	t.Helper()
	return once(t, "launch", func(path string) error { return buildC(path, "launch/launch.c") })
}

// matrix is cmd/matrix of that kind, built with the flags.
func matrix(t *testing.T, k kind, flags ...string) string {
	t.Helper()
	name := strings.Join(append([]string{"matrix", string(k)}, flags...), "")
	return once(t, strings.ReplaceAll(name, "/", "_"), func(path string) error {
		return buildGo(k, nil, path, "./cmd/matrix", flags...)
	})
}

// ---------------------------------------------------------------- running

// fate runs a program to its end and tells it as a cell of a table does.
func fate(t *testing.T, program, setup, action string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	inherited := "default"
	if strings.HasPrefix(setup, "inherited SIG_IGN") {
		inherited = "ignored"
	}
	cmd := exec.CommandContext(ctx, launcher(t), inherited, program, setup, action)
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(),
		"MATRIX_EARLY="+early(setup),
		"MATRIX_LIBRARY="+filepath.Join(harness.Scratch, "library-bare.so"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var err error
	if strings.HasSuffix(action, "lines") {
		err = runIntoHead(cmd)
	} else {
		err = cmd.Run()
	}
	switch said := strings.TrimSpace(stderr.String()); {
	case ctx.Err() != nil:
		return "no end after " + timeout.String()
	case err == nil:
		return said
	case killedBy(err, syscall.SIGPIPE) && said == "":
		return died
	default:
		return strings.TrimSpace(fmt.Sprintf("%v %.2000s", err, said))
	}
}

// early is what the constructor of cmd/matrix is to install: the rest of a first step "early …".
func early(setup string) string {
	first, _, _ := strings.Cut(setup, ", ")
	if rest, ok := strings.CutPrefix(first, "early "); ok {
		return rest
	}
	return ""
}

// runIntoHead is `program | head -1`, with a real head.
func runIntoHead(cmd *exec.Cmd) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	head := exec.Command("head", "-1")
	head.Stdin, cmd.Stdout = reader, writer
	err = errors.Join(head.Start(), cmd.Start())
	reader.Close()
	writer.Close()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	if lost := head.Wait(); lost != nil {
		return errors.Join(err, lost)
	}
	return err
}
