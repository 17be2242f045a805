//go:build linux

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// The test starts itself with a standard output that nobody reads.
func TestWriterToAClosedStandardOutput(t *testing.T) {
	switch os.Getenv("SIGWARD_WRITER") {
	case "quiet":
		_, err := Writer(os.Stdout).Write([]byte("x"))
		if !errors.Is(err, syscall.EPIPE) {
			os.Exit(4)
		}
		os.Exit(0)
	case "plain":
		os.Stdout.Write([]byte("x"))
		os.Exit(5)
	}
	run := func(kind string) *os.ProcessState {
		reader, stdout, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		reader.Close()
		defer stdout.Close()
		child := exec.Command(os.Args[0], "-test.run=TestWriterToAClosedStandardOutput")
		child.Env = append(os.Environ(), "SIGWARD_WRITER="+kind)
		child.Stdout = stdout
		child.Run()
		return child.ProcessState
	}
	if state := run("quiet"); !state.Success() {
		t.Errorf("with Writer: %v", state)
	}
	if status := run("plain").Sys().(syscall.WaitStatus); !status.Signaled() ||
		status.Signal() != syscall.SIGPIPE {
		t.Errorf("the plain write must end the process as Go documents: %v", status)
	}
}

func TestWriterWritesAll(t *testing.T) {
	reader, file, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		n, err := Writer(file).Write(sent)
		if n != len(sent) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		file.Close()
	}()
	got, err := io.ReadAll(reader)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, err := Writer(file).Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("to a closed file: %d, %v", n, err)
	}
}
