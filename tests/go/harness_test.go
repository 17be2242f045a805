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
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	died    = "†" // killed by SIGPIPE, nothing on stderr
	timeout = 20 * time.Second
	archive = "../../go/lib/linux_amd64/libsigward.a"
)

var scratch string // where the tests build; removed at the end

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "sigward-hosts-"); err != nil {
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

func (k kind) tags() []string {
	if k == warded {
		return []string{"-tags", "warded"}
	}
	return nil
}

// kinds are the kinds to test. SIGWARD_BUILDS narrows them.
func kinds(t *testing.T) []kind {
	t.Helper()
	var list []kind
	wanted := os.Getenv("SIGWARD_BUILDS")
	for _, k := range []kind{bare, warded} {
		if wanted == "" || strings.Contains(wanted, string(k)) {
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

func buildGo(k kind, environment []string, path, source string, flags ...string) error {
	if _, err := os.Stat(archive); k == warded && err != nil {
		return fmt.Errorf("%w: run make archive first, or set SIGWARD_BUILDS=bare", err)
	}
	arguments := append([]string{"build", "-o", path}, k.tags()...)
	arguments = append(arguments, flags...)
	return command(environment, "go", append(arguments, source)...)
}

// buildC compiles strictly, with threads.
func buildC(path string, arguments ...string) error {
	flags := []string{"-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path}
	return command(nil, "cc", append(flags, arguments...)...)
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
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(),
		"MATRIX_EARLY="+early(setup),
		"MATRIX_LIBRARY="+filepath.Join(scratch, "library-bare.so"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var err error
	if action == "lines" {
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

func killedBy(err error, signal syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
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
