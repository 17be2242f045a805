// Library is a Go library for a C host: built with -buildmode=c-shared or c-archive. chost/host.c
// is its host.
package main

import "C"

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

var pipes = make(chan os.Signal, 16)

func main() {}

// library_ready returns once Go's runtime is up and every package's init has run.
//
//export library_ready
func library_ready() {}

//export library_notify
func library_notify() { signal.Notify(pipes, syscall.SIGPIPE) }

// library_notified tells whether SIGPIPE reached the channel: Go hands signals on in the order of
// their numbers.
//
//export library_notified
func library_notified() C.int {
	last := make(chan os.Signal, 1)
	signal.Notify(last, syscall.SIGWINCH)
	defer signal.Stop(last)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		panic(err)
	}
	<-last
	return C.int(len(pipes))
}

// library_go_pipe lets Go code write to a broken pipe, and returns the errno.
//
//export library_go_pipe
func library_go_pipe() C.int {
	reader, writer, err := os.Pipe()
	if err != nil {
		return -1
	}
	defer writer.Close()
	reader.Close()
	_, err = writer.Write([]byte("x"))
	var code syscall.Errno
	if errors.As(err, &code) {
		return C.int(code)
	}
	return 0
}
