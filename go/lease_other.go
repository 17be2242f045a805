//go:build !linux || (!amd64 && !arm64)

package sigward

import (
	"os"
	"syscall"
	"time"
)

const brokenErrno = syscall.ESTALE

// heldLease is never made: these systems have no leases.
type heldLease struct {
	path     string
	file     *os.File
	wanted   chan struct{}
	deadline time.Time
}

func takeLease(string) (*heldLease, syscall.Errno, error) {
	return nil, syscall.EOPNOTSUPP, ErrNoLeases
}

func (l *heldLease) isHeld() bool { return false }

func (l *heldLease) release() (held, first bool) { return false, false }
