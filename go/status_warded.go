//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

import "unsafe"

// Status asks the kernel who stands where, so it sees what other libraries have installed since. It
// changes nothing but the counter Overwritten, when it is the first to see that.
func Status() StatusReport {
	var report C.struct_sigward_status_report
	if err := code("status", C.sigward_status(&report)); err != nil {
		return StatusReport{SIGPIPE: because(err.Error()), SIGBUS: because(err.Error())}
	}
	s := StatusReport{SIGPIPE: standing(&report.sigpipe), SIGBUS: standing(&report.sigbus)}
	if bits := C.sigward_thread_check(); s.SIGBUS.Armed && bits&C.SIGWARD_THREAD_BLOCKED != 0 {
		s.SIGBUS = because("the signal is blocked in this thread, where a fault ends the process")
	}
	return s
}

func standing(s *C.struct_sigward_standing) SignalStatus {
	status := because(reason(s))
	status.Owner = cString(unsafe.Slice((*byte)(unsafe.Pointer(&s.owner[0])), len(s.owner)))
	return status
}

// reason is the library's, in the words of this package. To the library, beneath Go is a good place
// as well; but init has taken the top, so another one stands there now, and nobody knows whether it
// passes on what it gets.
func reason(s *C.struct_sigward_standing) string {
	switch {
	case s.armed != 0 && s.seat == C.SIGWARD_SEAT_ON_TOP:
		return ""
	case initError != nil:
		return initError.Error()
	case s.armed != 0, s.reason == C.SIGWARD_REASON_COVERED:
		return "another handler, or the default action, stands above ours; " +
			"EnsureOnTop takes the top again"
	case s.reason == C.SIGWARD_REASON_NOT_ASKED:
		return "it was taken back; Filter undoes that"
	}
	return C.GoString(C.sigward_reason_text(s.reason))
}
