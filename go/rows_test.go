//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"

	"github.com/sigward/sigward/go/internal/foreign"
)

// burn keeps the processor busy until enough says so, or for a minute.
func burn(enough func() bool) bool {
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		for n, sum := 0, 0; n < 1e6; n++ {
			sum += n
		}
		if enough() {
			return true
		}
	}
	return false
}

// profiled is how many bytes a profile of Go's has that was taken for half a second of processor
// time.
func profiled(t *testing.T) int {
	t.Helper()
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Fatal(err)
	}
	var begin, now syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &begin)
	burn(func() bool {
		syscall.Getrusage(syscall.RUSAGE_SELF, &now)
		return now.Utime.Nano()-begin.Utime.Nano() > int64(time.Second/2)
	})
	pprof.StopCPUProfile()
	return profile.Len()
}

func withProfiler(t *testing.T) {
	foreign.StartProfiler()
	var begin, now syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &begin)
	burn(func() bool {
		syscall.Getrusage(syscall.RUSAGE_SELF, &now)
		return now.Utime.Nano()-begin.Utime.Nano() > int64(100*time.Millisecond)
	})
	if foreign.StopProfiler() == 0 {
		t.Error("the profiler in C got nothing")
	}
}

// After a profiler in C has gone, SIGPROF is Go's again. Bare, the next profile of Go's ends the
// process.
func TestSIGPROFIsGoAgain(t *testing.T) {
	ways := map[string]func(){
		"bare": func() { withProfiler(t) },
		"kept": func() {
			if err := KeepRows(func() { withProfiler(t) }); err != nil {
				t.Fatal(err)
			}
		},
		"saved and restored": func() {
			rows, err := SaveRows()
			if err != nil {
				t.Fatal(err)
			}
			withProfiler(t)
			for n := 0; n < 2; n++ {
				if err := rows.Restore(); err != nil {
					t.Fatal(err)
				}
			}
		},
		"panics": func() {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic did not pass")
				}
			}()
			KeepRows(func() { withProfiler(t); panic("mine") })
		},
	}
	if way, ok := ways[os.Getenv("SIGWARD_PROFILER")]; ok {
		empty := profiled(t)
		way()
		if n := profiled(t); n < empty/2 || empty == 0 {
			t.Errorf("a profile of %d bytes, where it was %d before", n, empty)
		}
		return
	}
	for way := range ways {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_PROFILER="+way)
		said, err := child.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit); way != "bare" {
			if err != nil {
				t.Errorf("%s: %v\n%s", way, err, said)
			}
		} else if exit == nil || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPROF {
			t.Errorf("%s: %v\n%s", way, err, said)
		}
	}
}

// A handler without SA_ONSTACK runs on the stack of a goroutine, which is too small for it.
func TestRepairOfPlainHandlers(t *testing.T) {
	ways := map[string]func(){
		"bare": func() {},
		"one": func() {
			if repaired, err := Repair(syscall.SIGUSR1); err != nil || !repaired {
				t.Error(repaired, err)
			}
			if repaired, err := Repair(syscall.SIGUSR1); err != nil || repaired {
				t.Error("twice:", repaired, err)
			}
			Repair(syscall.SIGUSR2)
		},
		"all": func() {
			if repaired, err := RepairAll(); err != nil || repaired != 2 {
				t.Error(repaired, err)
			}
			if repaired, err := RepairAll(); err != nil || repaired != 0 {
				t.Error("twice:", repaired, err)
			}
		},
	}
	if way, ok := ways[os.Getenv("SIGWARD_REPAIR")]; ok {
		foreign.PlainHandler(syscall.SIGUSR1)
		foreign.PlainHandler(syscall.SIGUSR2)
		way()
		for _, signal := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2} {
			for n := 0; n < 20; n++ {
				syscall.Tgkill(os.Getpid(), syscall.Gettid(), signal)
			}
		}
		if n := foreign.OffStack(); n != 0 {
			t.Errorf("%d handlers ran on the stack of a goroutine", n)
		}
		return
	}
	for way := range ways {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_REPAIR="+way)
		if said, err := child.CombinedOutput(); (err == nil) != (way != "bare") {
			t.Errorf("%s: %v\n%s", way, err, said)
		}
	}
	if _, err := Repair(0); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if _, err := Repair(1000); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
}
