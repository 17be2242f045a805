//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A nil pointer in Go, and a SIGABRT from somewhere.
func endOfChild(how string) {
	if os.Getenv("SIGWARD_EXPLAIN_BARE") == "" {
		if err := ExplainSignals(syscall.SIGTERM); !errors.Is(err, syscall.EINVAL) {
			panic(err)
		}
		if err := ExplainSignals(syscall.SIGSEGV, syscall.SIGABRT); err != nil {
			panic(err)
		}
		LastWordsJSON(how == "json")
	}
	var nowhere *[4]int
	switch how {
	case "recovered":
		defer func() {
			if recover() == nil {
				panic("no fault")
			}
			os.Exit(0)
		}()
		os.Exit(3 + nowhere[2])
	case "nil", "json":
		os.Exit(3 + nowhere[2])
	default:
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		time.Sleep(time.Minute) // it may come on another thread; nothing but waiters is a deadlock
	}
}

// As JSON the line is an object.
func fromJSON(t *testing.T, line string) string {
	var told struct {
		Sigward, Signal, Address, Thread, Cause, Handler string
		Number, Code, Tid, Pid                           int
	}
	if err := json.Unmarshal([]byte(line), &told); err != nil {
		t.Errorf("%v: %s", err, line)
	}
	return fmt.Sprintf("sigward: %s: %s (code %d, address %s) on thread %q (tid %d) of pid %d: %s"+
		"; it goes to the handler of %s", told.Sigward, told.Signal, told.Code, told.Address,
		told.Thread, told.Tid, told.Pid, told.Cause, told.Handler)
}

// The runtime's reports and panics are as without us; ours comes before.
func TestExplainSignals(t *testing.T) {
	if how := os.Getenv("SIGWARD_EXPLAIN"); how != "" {
		endOfChild(how)
	}
	// The address is 0x10, or 0 where the race detector has the pointer looked at before.
	for how, want := range map[string]struct {
		code         int
		ours, theirs string
	}{
		"nil":       {2, "SIGSEGV (code 1, address 0x", "nil pointer dereference"},
		"json":      {2, "SIGSEGV (code 1, address 0x", "nil pointer dereference"},
		"recovered": {0, "SIGSEGV (code 1, address 0x", ""},
		"abort":     {2, "SIGABRT (code 0)", "SIGABRT: abort"},
	} {
		for _, bare := range []string{"", "1"} {
			child := exec.Command(os.Args[0], "-test.run=^TestExplainSignals$")
			child.Env = append(os.Environ(), "SIGWARD_EXPLAIN="+how, "SIGWARD_EXPLAIN_BARE="+bare)
			var stderr bytes.Buffer
			child.Stderr = &stderr
			_ = child.Run()
			if code := child.ProcessState.ExitCode(); code != want.code {
				t.Errorf("%s: %d: %.2000s", how, code, &stderr)
			}
			ours, theirs, _ := strings.Cut(stderr.String(), "\n")
			if bare != "" {
				theirs = stderr.String()
			} else if how == "json" {
				ours = fromJSON(t, ours)
			}
			if bare == "" && (!strings.HasPrefix(ours, "sigward: passing on: "+want.ours) ||
				!strings.Contains(ours, ") on thread ") ||
				!strings.Contains(ours, "; it goes to the handler of ")) {
				t.Errorf("%s: %.2000s", how, &stderr)
			}
			if !strings.Contains(theirs, want.theirs) || strings.Contains(theirs, "sigward: ") ||
				want.theirs == "" && theirs != "" {
				t.Errorf("%s: %.2000s", how, theirs)
			}
		}
	}
}
