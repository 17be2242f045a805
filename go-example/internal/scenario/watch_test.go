package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watching is the command `sigward`, as `make example` builds it, where it may watch.
func watching(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/sigward")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil && os.Getenv("SIGWARD_REQUIRE_ALL") != "" {
		t.Fatal(err)
	}
	if err := CheckWatcher(context.Background(), path); err != nil {
		t.Skipf("sigward watch may not run here: %v", err)
	}
	return path
}

// TestExplained: watched, each bare service ends as it does unwatched (TestFailures,
// TestMapFailures), and the watcher says why.
func TestExplained(t *testing.T) {
	ctx, options := context.Background(), Quick(binaries(t))
	options.Watcher = watching(t)
	var err error
	if options.Generations, err = WriteGenerations(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	explained := func(t *testing.T, end End, problems []string, err error) {
		t.Helper()
		if errors.Is(err, ErrNoMount) && os.Getenv("SIGWARD_REQUIRE_ALL") == "" {
			t.Skip(err)
		}
		report(t, problems, err)
		lived := end.Status.exited(0)
		if !end.Watched || lived != (end.Why == "") || lived != (end.Timeline.Death == 0) {
			t.Errorf("watched %v, %s, died after %v: %q",
				end.Watched, end.Status, end.Timeline.Death, end.Why)
		}
		if strings.Contains(end.Why, os.TempDir()) || strings.Contains(end.Why, "\n") {
			t.Errorf("for people: %q", end.Why)
		}
		if end.Timeline.Series[0].Total() == 0 {
			t.Error("nothing was answered")
		}
		t.Log(end.Why)
	}
	for _, f := range Failures {
		t.Run(f.Name, func(t *testing.T) {
			bare, err := options.RunBare(ctx, f)
			explained(t, bare.End, bare.Problems(), err)
		})
	}
	for _, f := range MapFailures {
		t.Run(f.Name, func(t *testing.T) {
			r, err := f.RunBare(ctx, options)
			explained(t, r.End, r.Problems, err)
		})
	}
}

// TestCheckWatcher: who may not watch is told why. Two cannot watch one program, so the second is
// refused as it would be where ptrace is forbidden.
func TestCheckWatcher(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "sigward")
	if err := CheckWatcher(context.Background(), nowhere); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that is not there: %v", err)
	}
	path := watching(t)
	watched := filepath.Join(t.TempDir(), "watched")
	script := fmt.Sprintf("#!/bin/sh\nexec %s watch -f -o /dev/null -- %s \"$@\"\n", path, path)
	if err := os.WriteFile(watched, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	err := CheckWatcher(context.Background(), watched)
	if err == nil || !strings.HasPrefix(err.Error(), "sigward: ") {
		t.Errorf("refused: %v", err)
	}
}

// TestKillWatched: nobody outlives the end of a run.
func TestKillWatched(t *testing.T) {
	program := `echo "{\"api\": \"a\", \"pid\": $$}"; exec sleep 1000`
	line := []string{watching(t), "watch", "--", "sh", "-c", program}
	for name, end := range map[string]func(*service){
		"kill": func(s *service) { s.kill() },
		"stop": func(s *service) { s.stop(syscall.SIGTERM) },
	} {
		s, err := startService(context.Background(), true, line)
		if err != nil {
			t.Fatal(err)
		}
		pid := s.addresses.PID
		if !alive(pid) || pid == s.command.Process.Pid {
			t.Errorf("%d does not run below a watcher", pid)
		}
		end(s)
		for start := time.Now(); alive(pid); time.Sleep(5 * time.Millisecond) {
			if time.Since(start) > 30*time.Second {
				t.Fatalf("%s: process %d is still there", name, pid)
			}
		}
	}
}

// alive says whether there is such a process, which has not ended.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "State:\tZ")
}

func TestUnexplained(t *testing.T) {
	end := End{Watched: true, Why: "service (pid 7) died of SIGPIPE: sent by the process itself"}
	missing := end.unexplained("died of SIGPIPE", "the peer is gone")
	if len(missing) != 1 || len(end.unexplained("died of SIGPIPE")) != 0 {
		t.Error("a death that is not explained is a problem")
	}
	if end.Watched = false; len(end.unexplained("the peer is gone")) != 0 {
		t.Error("nobody watched")
	}
}
