//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

// Status asks the kernel who stands where, so it sees what other libraries have installed since. It changes nothing.
func Status() StatusReport { return StatusReport{because(pipeReason()), because(busReason())} }

const covered = "another handler stands above ours; EnsureOnTop takes the top again"

func pipeReason() string {
	var report C.struct_sigward_sigpipe_report
	if err := code("status", C.sigward_sigpipe_status(&report)); err != nil {
		return err.Error()
	}
	switch {
	case initError != nil:
		return initError.Error()
	case report.outcome == C.SIGWARD_OUTCOME_UNTOUCHED:
		return "it was taken back; Filter undoes that"
	case report.outcome != C.SIGWARD_OUTCOME_FILTERED:
		return "the signal was ignored when we came, and stays so: writes return EPIPE, and children inherit it"
	case report.seat == C.SIGWARD_SEAT_ON_TOP:
		return ""
	case report.seat == C.SIGWARD_SEAT_COVERED, report.seat == C.SIGWARD_SEAT_BENEATH: // init took the top
		return covered
	}
	return "our handler is not there; EnsureOnTop installs it"
}

func busReason() string {
	switch bits := C.sigward_thread_check(); {
	case bits&C.SIGWARD_THREAD_UNGUARDED != 0 && initError != nil:
		return initError.Error()
	case bits&C.SIGWARD_THREAD_UNGUARDED != 0:
		return "nobody has taken the seat; EnsureOnTop or the first map does"
	case bits&C.SIGWARD_THREAD_COVERED != 0:
		return covered
	case bits&C.SIGWARD_THREAD_BLOCKED != 0:
		return "the signal is blocked in this thread, where a fault ends the process"
	}
	return ""
}
