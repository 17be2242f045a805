//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"errors"
	"runtime"
	"syscall"
	"testing"

	"github.com/sigward/sigward/go/internal/foreign"
)

// Notify hears of Go's own write to a broken pipe, and not of one to a quiet descriptor.
func TestSetNoSigpipe(t *testing.T) {
	fd := brokenPipe(t)
	write := func() {
		if _, err := syscall.Write(fd, []byte("x")); err != syscall.EPIPE {
			t.Error(err)
		}
		if err := foreign.Write(fd); err != syscall.EPIPE {
			t.Error(err)
		}
	}
	if came := counted(t, syscall.SIGPIPE, write, 1); came != 1 {
		t.Errorf("bare: %d signals, not 1", came)
	}
	err := SetNoSigpipe(fd)
	if runtime.GOARCH != "amd64" {
		if !errors.Is(err, syscall.ENOTSUP) {
			t.Error(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if came := counted(t, syscall.SIGPIPE, write, 0); came != 0 {
		t.Errorf("quiet: %d signals", came)
	}
	// The number is somebody else's now.
	other := brokenPipe(t)
	must(t, syscall.Dup3(other, fd, 0))
	if came := counted(t, syscall.SIGPIPE, write, 1); came != 1 {
		t.Errorf("used again: %d signals, not 1", came)
	}
	if err := SetNoSigpipe(-1); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
}
