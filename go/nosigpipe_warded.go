//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

// SetNoSigpipe makes every write to a descriptor quiet, by Go, C, C++ or Rust: a SIGPIPE that such
// a write raises ends with this package, whatever stands behind it, a signal.Notify of yours too.
// The write returns EPIPE as ever.
//
// The number is quiet for as long as it stands for the same pipe or socket: not a duplicate of it,
// and not what the number is given to after it was closed. That package os ends the process when
// os.Stdout or os.Stderr is a broken pipe is no matter of signals and stays: see Writer.
//
// It fails with EBADF for a descriptor that is not open, ENOMEM, and ENOTSUP where the processor
// does not show the descriptor of a write (arm64), on other systems, and without cgo.
func SetNoSigpipe(fd int) error {
	return code("set no sigpipe", C.sigward_set_nosigpipe(C.int(fd)))
}
