//go:build !bare

// Command both is a Go program that links two Rust static libraries, each with a sigward of its
// own, beside the Go package's archive: three in one process.
package main

import (
	"fmt"
	"os"

	sigward "github.com/sigward/sigward/go"
)

func check(what string, right bool) {
	if !right {
		events, _, _ := sigward.ReadEvents(0)
		fmt.Println(what, "is wrong:", sigward.Status(), events)
		os.Exit(1)
	}
}

func swallowed() int {
	events, _, _ := sigward.ReadEvents(0)
	return len(events)
}

func main() {
	check("arming", sigward.Err() == nil && sigward.Status().SIGPIPE.Armed)
	check("a write", writes())
	// Whose init was called last stands on top and has the records. Status says so.
	check("who is on top", !sigward.Status().SIGPIPE.Armed && swallowed() == 0)
	check("taking the top", sigward.EnsureOnTop() == nil && sigward.Status().SIGPIPE.Armed)
	check("a write on top", writes() && swallowed() == 3)
	fmt.Println("lived")
}
