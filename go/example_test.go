//go:build cgo && linux && (amd64 || arm64)

package sigward_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"syscall"
	"time"

	sigward "github.com/sigward/sigward/go"
)

// lose maps a file, lets somebody cut it and reads what is gone.
func lose(path string) {
	m, err := sigward.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	os.Truncate(path, 0)
	m.ReadAt(make([]byte, 1), 40_000)
}

// Each failure that was caught, in the log.
func ExampleWatch() {
	path, remove := scratch('a')
	defer remove()
	stop := sigward.Watch(time.Second, func(e sigward.Event) {
		if e.Path == path {
			fmt.Println(e.Signal, e.Cause, e.Offset, e.LenNow) // or log.Print(e)
		}
	})
	lose(path)
	stop() // after what there is was reported
	// Output: bus error truncated 0 0
}

// The same without a goroutine.
func ExampleReadEvents() {
	path, remove := scratch('a')
	defer remove()
	lose(path)
	for cursor := uint64(0); ; {
		events, next, err := sigward.ReadEvents(cursor)
		if err != nil || len(events) == 0 {
			break
		}
		for _, e := range events {
			if e.Path == path {
				fmt.Println(e.Cause)
			}
		}
		cursor = next
	}
	// Output: truncated
}

// For a dashboard.
func ExampleCounters() {
	path, remove := scratch('a')
	defer remove()
	before, err := sigward.Counters()
	if err != nil {
		log.Fatal(err)
	}
	lose(path)
	after, err := sigward.Counters()
	fmt.Println(after.Faults > before.Faults, err)
	// Output: true <nil>
}

// A health check.
func ExampleStatus() {
	if err := sigward.EnsureOnTop(); err != nil { // if a library has installed handlers since
		log.Fatal(err)
	}
	status := sigward.Status()
	fmt.Println(status)
	if !status.SIGPIPE.Armed || !status.SIGBUS.Armed {
		log.Print("a broken peer or a lost page may end this process")
	}
	// Output: SIGPIPE armed; SIGBUS armed
}

// Whether a fault in this thread would be caught: C code may have blocked SIGBUS there.
func ExampleThreadCheck() {
	fmt.Println(sigward.ThreadCheck())
	// Output: <nil>
}

// Printing to a pipe whose reader has gone.
func ExampleWriter() {
	reader, pipe, err := os.Pipe() // as os.Stdout, in `prog | head`
	if err != nil {
		log.Fatal(err)
	}
	reader.Close()
	_, err = fmt.Fprintln(sigward.Writer(pipe), "a line")
	fmt.Println(errors.Is(err, syscall.EPIPE))
	// Output: true
}

// A descriptor whose broken peer no handler of anybody's hears of.
func ExampleSetNoSigpipe() {
	reader, pipe, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	reader.Close()
	err = sigward.SetNoSigpipe(int(pipe.Fd()))
	if errors.Is(err, syscall.ENOTSUP) {
		log.Print("this processor does not show the descriptor of a write")
	} else if err != nil {
		log.Fatal(err)
	}
	_, err = syscall.Write(int(pipe.Fd()), []byte("x"))
	fmt.Println(err)
	// Output: broken pipe
}

// A C library that installs handlers and leaves them behind.
func ExampleKeepRows() {
	err := sigward.KeepRows(func() {
		// startProfiler(); work(); stopProfiler()
	})
	fmt.Println(err)
	// Output: <nil>
}

// A C or Rust library that has installed handlers without SA_ONSTACK, which end a Go process.
func ExampleRepairAll() {
	// startLibrary()
	repaired, err := sigward.RepairAll()
	if repaired > 0 {
		log.Print("handlers that Go would have died of: ", repaired)
	}
	fmt.Println(err)
	// Output: <nil>
}

// Where the one line goes that tells why a page that cannot be replaced has ended the process.
func ExampleLastWords() {
	path, remove := scratch('a')
	defer remove()
	words, err := os.OpenFile(path+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sigward.LastWords(words))
	// Output: <nil>
}
