package main

// #include "native.h"
import "C"

// A SIGPIPE that is no echo of a write: somebody sent it.

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
)

func init() {
	for _, deed := range []string{"raise", "pthread_kill", "kill", "sigqueue"} {
		deed := deed
		actions["cgo "+deed] = func() (string, error) { return lived(native(deed, false)) }
		actions["foreign "+deed] = func() (string, error) { return lived(native(deed, true)) }
	}
	actions["kill -PIPE while idle"] = func() (string, error) {
		return lived(<-killed())
	}
	actions["kill -PIPE while busy"] = func() (string, error) {
		var done atomic.Bool
		var err error
		go func() { err = <-killed(); done.Store(true) }()
		for !done.Load() {
		}
		return lived(err)
	}
	actions["kill -PIPE while in cgo"] = func() (string, error) {
		var err error
		go func() { err = <-killed(); C.native_release() }()
		C.native_wait()
		return lived(err)
	}
	actions["kill -PIPE with foreign write"] = func() (string, error) {
		err := native("write", true)
		return lived(errors.Join(<-killed(), ignoreBroken(err)))
	}
}

// killed answers when another process has sent us SIGPIPE and the signal had time to arrive.
func killed() <-chan error {
	answer := make(chan error, 1)
	go func() {
		err := exec.Command("sh", "-c", "kill -PIPE "+strconv.Itoa(os.Getpid())).Run()
		settle()
		answer <- err
	}()
	return answer
}

func lived(err error) (string, error) {
	settle()
	return "lived", err
}

func ignoreBroken(err error) error {
	if outcome, _ := brokenPipe(err); outcome == "E" {
		return nil
	}
	return err
}
