//go:build bare && !host

package main

import "syscall"

// run writes to a broken pipe in a program without the library.
func run() {
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		panic(err)
	}
	syscall.Close(pipe[0])
	writeOnThread(pipe[1])
}
