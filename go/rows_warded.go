//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

import "syscall"

// Repair gives the handler of a signal SA_ONSTACK if it lacks it, and tells whether it did; nothing
// else about the handler changes. A handler without it, as some C and Rust libraries install them,
// runs on the small stack of whichever goroutine the signal meets and overwrites what lies below;
// one that hands on to Go's ends the process ("non-Go code set up signal handler without SA_ONSTACK
// flag"). Call it after such a library has been started.
//
// EINVAL for what is no signal. From any goroutine.
func Repair(signal syscall.Signal) (repaired bool, err error) {
	status := C.sigward_repair(C.int(signal))
	return status > 0, code("repair", status)
}

// RepairAll is Repair for every signal, and returns how many handlers it repaired. After an error
// those of lower numbers have been repaired.
func RepairAll() (repaired int, err error) {
	status := C.sigward_repair_all()
	return max(int(status), 0), code("repair all", status)
}

// Rows are the dispositions of all signals at one moment: handler, flags and mask of each.
type Rows struct{ rows C.sigward_rows }

// SaveRows notes the dispositions of all signals, and changes nothing.
func SaveRows() (*Rows, error) {
	r := new(Rows)
	if err := code("save rows", C.sigward_rows_save(&r.rows)); err != nil {
		return nil, err
	}
	return r, nil
}

// Restore puts back every disposition that is no longer as it was noted. Seats of this package that
// were taken since then stay. It may be called more than once. Not while other goroutines call
// os/signal: what that has changed since SaveRows is put back as well, and os/signal does not know.
// A handler that stood there must still be loaded.
func (r *Rows) Restore() error { return code("restore rows", C.sigward_rows_restore(&r.rows)) }
