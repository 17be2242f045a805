package main

// What Go's runtime does with signals of its own: profiles, nil dereferences, preemption. And what
// the functions of os/signal answer.

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

func init() {
	actions["profile"] = profile
	actions["nil dereference"] = nilDereference
	actions["preemption"] = preemption
	actions["own handler"] = func() (string, error) {
		return "lived", errors.Join(native("own handler", false), native("own handler", true))
	}
	actions["Ignored after each call"] = ignoredAfterEach
}

// profile wants to see itself in a CPU profile: in one of many, if ticks should miss it.
func profile() (outcome string, err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if outcome, err = profileOnce(); err != nil || outcome == "samples" {
			break
		}
	}
	return outcome, err
}

func profileOnce() (string, error) {
	var packed bytes.Buffer
	if err := pprof.StartCPUProfile(&packed); err != nil {
		return "", err
	}
	burnProcessorTime(100 * time.Millisecond)
	pprof.StopCPUProfile()
	unpacker, err := gzip.NewReader(&packed)
	if err != nil {
		return "", err
	}
	unpacked, err := io.ReadAll(unpacker)
	if err != nil {
		return "", err
	}
	if !bytes.Contains(unpacked, []byte("burnProcessorTime")) {
		return "empty", nil
	}
	return "samples", nil
}

//go:noinline
func burnProcessorTime(amount time.Duration) {
	processor := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			panic(err)
		}
		return time.Duration(usage.Utime.Nano())
	}
	for end := processor() + amount; processor() < end; {
		for i := 0; i < 1e6; i++ {
		}
	}
}

func nilDereference() (outcome string, err error) {
	defer func() {
		if fault, ok := recover().(runtime.Error); ok {
			outcome = "recovered"
		} else {
			err = fmt.Errorf("recovered %v", fault)
		}
	}()
	var nowhere *struct{ field int }
	return fmt.Sprint(nowhere.field), nil
}

// preemption gets the only processor back from a loop that never yields. Only SIGURG can do that.
func preemption() (string, error) {
	runtime.GOMAXPROCS(1)
	for i := 0; i < 3; i++ {
		go func() {
			for {
			}
		}()
		runtime.Gosched()
	}
	return "preempted", nil
}

func ignoredAfterEach() (string, error) {
	var answers []string
	answer := func(call string) {
		answers = append(answers, fmt.Sprintf("%s %v", call, signal.Ignored(syscall.SIGPIPE)))
	}
	answer("start")
	signal.Notify(pipes, syscall.SIGPIPE)
	answer("Notify")
	signal.Reset(syscall.SIGPIPE)
	answer("Reset")
	signal.Ignore(syscall.SIGPIPE)
	answer("Ignore")
	signal.Reset(syscall.SIGPIPE)
	answer("Reset")
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(pipes, syscall.SIGPIPE)
	answer("Ignore, Notify")
	signal.Stop(pipes)
	answer("Stop")
	return strings.Join(answers, "; "), nil
}
