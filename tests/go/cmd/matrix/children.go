package main

// #include <stdlib.h>
// #include "native.h"
import "C"

// How a child finds SIGPIPE: default or ignored, free or blocked, as its own /proc/self/status
// tells.

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

func init() {
	actions["child of os/exec"] = func() (string, error) {
		status, err := exec.Command("grep", "^Sig", "/proc/self/status").Output()
		return signalState(string(status), err)
	}
	for _, how := range []string{"posix_spawn", "system"} {
		how := how
		actions["child of "+how] = func() (string, error) { return signalState(spawn(how)) }
	}
}

func spawn(how string) (string, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer reader.Close()
	fd, err := syscall.Dup(int(writer.Fd())) // not close-on-exec: the shell of system() needs it
	writer.Close()
	if err != nil {
		return "", err
	}
	text := C.CString(how)
	defer C.free(unsafe.Pointer(text))
	status := C.native_spawn(text, C.int(fd))
	syscall.Close(fd)
	if status != 0 {
		return "", fmt.Errorf("%s: wait status %#x", how, int(status))
	}
	output, err := io.ReadAll(reader)
	return string(output), err
}

// signalState reads the Sig lines of a /proc/PID/status.
func signalState(status string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	masks := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSpace(status), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if name == "SigQ" {
			continue
		}
		if masks[name], err = strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil {
			return "", err
		}
	}
	if len(masks) != 4 { // SigPnd, SigBlk, SigIgn, SigCgt
		return "", fmt.Errorf("not a status: %q", status)
	}
	const pipe = 1 << (syscall.SIGPIPE - 1)
	state := "default"
	if masks["SigIgn"]&pipe != 0 {
		state = "ignored"
	}
	if masks["SigCgt"]&pipe != 0 {
		state = "caught"
	}
	if masks["SigBlk"] != 0 {
		state += fmt.Sprintf(", blocked %#x", masks["SigBlk"])
	}
	return state, nil
}
