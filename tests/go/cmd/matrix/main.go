// Matrix is a real Go program with cgo that meets SIGPIPE in one way and says what became of it.
//
//	matrix SET-UP ACTION
//
// A set-up is a list of steps, "Ignore, Notify, Reset", each of them a key of steps; an action is a
// key of actions. The outcome goes to stderr as one line: E for EPIPE returned, "lived" when
// nothing had to be returned, and " N" behind it when the signal also reached a channel of
// signal.Notify. A program that dies of SIGPIPE prints nothing.
//
// Built with the tag warded it imports sigward, and differs in nothing else.
package main

// #include <stdlib.h>
// #include "native.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// pipes receives SIGPIPE when a step asked for it.
var pipes = make(chan os.Signal, 16)

// steps are what a program does to SIGPIPE before it meets one.
var steps = map[string]func() error{
	"plain":  func() error { return nil },
	"Notify": func() error { signal.Notify(pipes, syscall.SIGPIPE); return nil },
	"Stop":   func() error { signal.Stop(pipes); return nil },
	"Reset":  func() error { signal.Reset(syscall.SIGPIPE); return nil },
	"Ignore": func() error { signal.Ignore(syscall.SIGPIPE); return nil },

	"inherited SIG_IGN": func() error { return nil }, // done by whoever started us
	"early handler":     func() error { return wasEarly("handler") },
	"early SIG_IGN":     func() error { return wasEarly("SIG_IGN") },

	"late SIG_DFL":          func() error { return late("SIG_DFL") },
	"late SIG_IGN":          func() error { return late("SIG_IGN") },
	"late handler":          func() error { return late("handler") },
	"late chaining handler": func() error { return late("chaining handler") },
}

// actions meet the signal. The answer is what goes into a cell of a table.
var actions = map[string]func() (string, error){}

func init() {
	if len(os.Args) > 2 && strings.HasPrefix(os.Args[2], "kill -PIPE") {
		runtime.LockOSThread() // the main goroutine stays on the thread that the kernel asks first
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(2)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return errors.New("usage: matrix SET-UP ACTION")
	}
	for _, name := range strings.Split(os.Args[1], ", ") {
		step, ok := steps[name]
		if !ok {
			return fmt.Errorf("no step %q", name)
		}
		if err := step(); err != nil {
			return fmt.Errorf("step %q: %w", name, err)
		}
	}
	action, ok := actions[os.Args[2]]
	if !ok {
		return fmt.Errorf("no action %q", os.Args[2])
	}
	outcome, err := action()
	if err != nil {
		return fmt.Errorf("action %q: %w", os.Args[2], err)
	}
	if notified() {
		outcome += " N"
	}
	fmt.Fprintln(os.Stderr, outcome)
	return nil
}

// notified tells whether SIGPIPE reached a channel. Go hands signals on in the order of their
// numbers, so once a SIGWINCH sent now has come, an earlier SIGPIPE has come too, or never will.
func notified() bool {
	last := make(chan os.Signal, 1)
	signal.Notify(last, syscall.SIGWINCH)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		panic(err)
	}
	<-last
	return len(pipes) > 0
}

// settle gives a signal that was sent to the whole process the time to arrive on whatever thread.
func settle() { time.Sleep(50 * time.Millisecond) }

func wasEarly(want string) error {
	if got := C.GoString(C.native_early()); got != want {
		return fmt.Errorf("the constructor did %q, not %q", got, want)
	}
	return nil
}

func late(name string) error {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	return errno(C.native_late(text))
}

// native runs a deed of native.c, in cgo on this thread or on a pthread that Go does not know.
func native(name string, foreign bool) error {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	thread := C.int(0)
	if foreign {
		thread = 1
	}
	return errno(C.native_do(text, thread))
}

func errno(code C.int) error {
	if code == 0 {
		return nil
	}
	return syscall.Errno(code)
}
