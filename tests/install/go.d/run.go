//go:build !bare && !host

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

// run breaks a pipe and cuts a mapped file, and ends the process with 1 if either is no error.
func run() {
	if err := broken(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("lived; %v\n", sigward.Status())
}

func broken() error {
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		return err
	}
	syscall.Close(pipe[0])
	if errno := syscall.Errno(writeOnThread(pipe[1])); errno != syscall.EPIPE {
		return fmt.Errorf("the write said %v", errno)
	}
	file, err := os.CreateTemp("", "install-go")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := file.Truncate(1 << 16); err != nil {
		return err
	}
	m, err := sigward.Open(file.Name())
	if err != nil {
		return err
	}
	defer m.Close()
	if err := file.Truncate(0); err != nil {
		return err
	}
	if _, err := m.ReadAt(make([]byte, 16), 1<<15); !errors.Is(err, sigward.ErrTruncated) {
		return fmt.Errorf("the map said %v", err)
	}
	return nil
}
