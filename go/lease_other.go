//go:build !linux || (!amd64 && !arm64)

package sigward

import (
	"os"
	"syscall"
	"time"
)

const brokenErrno = syscall.ESTALE

// leasedFile is never made: these systems have no leases.
type leasedFile struct {
	path     string
	file     *os.File
	wanted   chan struct{}
	deadline time.Time
}

func takeLease(string) (*leasedFile, syscall.Errno, error) {
	return nil, syscall.EOPNOTSUPP, ErrNoLeases
}

func (l *leasedFile) isHeld() bool { return false }

func (l *leasedFile) release() (held, first bool) { return false, false }
