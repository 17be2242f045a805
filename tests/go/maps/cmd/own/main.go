// Own is a Go program with cgo that meets SIGBUS in one way and says what became of it.
//
//	own FOLDER SET-UP ACTION
//
// A set-up is a list of steps, "SetPanicOnFault, Notify", each a key of steps; an action is a key
// of actions. What came of it goes to stdout as one line; a program that dies prints nothing there.
//
// Built with the tag warded it imports sigward and has a guarded map open the whole time; after an
// action that it survived, a fault in that map must be an error all the same. It differs in nothing
// else.
package main

// #include "native.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
)

var (
	folder string
	heard  = make(chan os.Signal, 16) // receives SIGBUS when a step asked for it
)

var steps = map[string]func() error{
	"plain":           func() error { return nil },
	"SetPanicOnFault": func() error { debug.SetPanicOnFault(true); return nil },
	"Notify":          func() error { signal.Notify(heard, syscall.SIGBUS); return nil },
	"Ignore":          func() error { signal.Ignore(syscall.SIGBUS); return nil },
	"Reset":           func() error { signal.Reset(syscall.SIGBUS); return nil },
	"late SIG_DFL":    func() error { return errno(C.native_default()) },
}

// actions meet the signal. The answer is what goes into a cell of a table.
var actions = map[string]func() (string, error){
	"nil dereference": func() (string, error) { return recovered(nilDereference) },
	"stray fault": func() (string, error) {
		return recovered(func() { touch(lost("stray")) })
	},
	"stray in cgo":      func() (string, error) { return "lived", cTouch(lost("stray"), false) },
	"stray on C thread": func() (string, error) { return "lived", cTouch(lost("stray"), true) },
	"kill": func() (string, error) {
		return sent(syscall.Kill(os.Getpid(), syscall.SIGBUS))
	},
	"raise in cgo":      func() (string, error) { return sent(errno(C.native_raise(0))) },
	"raise on C thread": func() (string, error) { return sent(errno(C.native_raise(1))) },
	"guarded":           func() (string, error) { return guarded(touch) },
	"guarded in cgo": func() (string, error) {
		return guarded(func(b []byte) { cMust(b, false) })
	},
	"guarded on C thread": func() (string, error) {
		return guarded(func(b []byte) { cMust(b, true) })
	},
	"handler": handler,
}

func init() {
	if len(os.Args) > 3 && os.Args[3] == "kill" {
		runtime.LockOSThread() // the main goroutine stays on the thread that the kernel asks first
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "own:", err)
		os.Exit(3)
	}
}

func run() error {
	if len(os.Args) != 4 {
		return errors.New("usage: own FOLDER SET-UP ACTION")
	}
	folder = os.Args[1]
	for _, name := range strings.Split(os.Args[2], ", ") {
		step, ok := steps[name]
		if !ok {
			return fmt.Errorf("no step %q", name)
		}
		if err := step(); err != nil {
			return fmt.Errorf("step %q: %w", name, err)
		}
	}
	action, ok := actions[os.Args[3]]
	if !ok {
		return fmt.Errorf("no action %q", os.Args[3])
	}
	bystander, err := open(file("bystander"))
	if err != nil {
		return err
	}
	outcome, err := action()
	if err != nil {
		return fmt.Errorf("action %q: %w", os.Args[3], err)
	}
	if err := stillGuarded(bystander); err != nil {
		return fmt.Errorf("after action %q: %w", os.Args[3], err)
	}
	fmt.Println(outcome)
	return nil
}

const size = 64 << 10

// file makes a file of x-es and returns its path.
func file(name string) string {
	path := filepath.Join(folder, name)
	must(os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600))
	return path
}

// lost is a mapping that nobody guards, with nothing beneath it any more.
func lost(name string) []byte {
	f, err := os.Open(file(name))
	must(err)
	defer f.Close()
	data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	must(err)
	must(os.Truncate(f.Name(), 0))
	return data
}

var sink byte

//go:noinline
func touch(data []byte) { sink = data[len(data)/2] }

func nilDereference() {
	var nowhere *struct{ field byte }
	sink = nowhere.field
}

// recovered runs something that is to panic with a runtime error, and names the address if the
// error knows it.
func recovered(act func()) (outcome string, err error) {
	defer func() {
		fault, ok := recover().(runtime.Error)
		if !ok {
			err = fmt.Errorf("no runtime error: %v", fault)
			return
		}
		outcome = "recovered"
		if _, ok := fault.(interface{ Addr() uintptr }); ok &&
			strings.Contains(fault.Error(), "memory address") {
			outcome += " with address"
		}
	}()
	act()
	return "lived", nil
}

func cTouch(data []byte, onThread bool) error {
	thread := C.int(0)
	if onThread {
		thread = 1
	}
	return errno(C.native_touch(unsafe.Pointer(&data[len(data)/2]), thread))
}

func cMust(data []byte, onThread bool) { must(cTouch(data, onThread)) }

// sent tells whether a signal that was sent reached signal.Notify. Go hands signals on in the order
// of their numbers, so once a SIGWINCH sent now has come, an earlier SIGBUS has come too, or never
// will.
func sent(err error) (string, error) {
	last := make(chan os.Signal, 1)
	signal.Notify(last, syscall.SIGWINCH)
	must(syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	<-last
	if len(heard) > 0 {
		return "lived, heard", err
	}
	return "lived", err
}

// handler tells whose code stands in the kernel's table for SIGBUS.
func handler() (string, error) {
	address := uintptr(C.native_handler())
	if f := runtime.FuncForPC(address); f != nil && strings.HasPrefix(f.Name(), "runtime.") {
		return "Go's", nil
	}
	if address <= 1 {
		return "none", nil
	}
	return "another", nil
}

func errno(code C.int) error {
	if code == 0 {
		return nil
	}
	return syscall.Errno(code)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
