package main

// The columns of the matrix: one write to something broken, from each kind of code.

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

func init() {
	for _, deed := range []string{"write", "copy in kernel", "write partly", "lines"} {
		deed := deed
		actions["cgo "+deed] = func() (string, error) { return brokenPipe(native(deed, false)) }
		actions["foreign "+deed] = func() (string, error) { return brokenPipe(native(deed, true)) }
	}
	actions["Go socket"] = goSocket
	actions["Go pipe"] = goPipe
	actions["closed stdout"] = closedStdout
	actions["lines"] = lines
}

// brokenPipe is the answer of a write that was to fail with EPIPE.
func brokenPipe(err error) (string, error) {
	if errors.Is(err, syscall.EPIPE) {
		return "E", nil
	}
	return "", fmt.Errorf("want EPIPE, have %v", err)
}

// goSocket writes to a TCP connection whose peer went away with a reset: first ECONNRESET, then
// EPIPE.
func goSocket() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	peer, err := listener.Accept()
	if err != nil {
		return "", err
	}
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		return "", err
	}
	if err := peer.Close(); err != nil {
		return "", err
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		if _, err = conn.Write([]byte("x")); errors.Is(err, syscall.EPIPE) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return brokenPipe(err)
}

func goPipe() (string, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer writer.Close()
	if err := reader.Close(); err != nil {
		return "", err
	}
	_, err = writer.Write([]byte("x"))
	return brokenPipe(err)
}

// closedStdout writes to fd 1, a pipe that nobody reads. Go dies of this one on purpose.
func closedStdout() (string, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	if err := syscall.Dup3(int(writer.Fd()), 1, 0); err != nil {
		return "", err
	}
	writer.Close()
	reader.Close()
	_, err = os.Stdout.Write([]byte("x"))
	return brokenPipe(err)
}

// lines is `yes`: it prints until its reader leaves.
func lines() (string, error) {
	out := bufio.NewWriter(os.Stdout)
	for {
		if _, err := fmt.Fprintln(out, "a line"); err != nil {
			return brokenPipe(err)
		}
	}
}
