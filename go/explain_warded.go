//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

import (
	"syscall"
	"unsafe"
)

// Explain says, from now on, what the process dies of: one line on standard error, and to the file
// of [LastWords], before a SIGPIPE or SIGBUS that comes by here ends it. Whether it ends is not
// changed. Also for mappings that nobody guards.
//
//	sigward: last words: SIGPIPE (code 0) on thread "pool-3" (tid 4713) of pid 4711: write to
//	    fd 17 (pipe:[8123]) by libfoo.so: its reader is gone (EPIPE)
//	sigward: passing on: SIGBUS (code 2, address 0x7f3a50014000) on thread "app" (tid 4711) of
//	    pid 4711: read at offset 81,920 of /data/geo.mmdb (67,108,864 bytes mapped) by app: the
//	    file is 0 bytes long now; it goes to the handler of app
//
// (Each is one line.)
//
// A SIGBUS goes to the Go runtime, which ends the program with its own report or, after
// [runtime/debug.SetPanicOnFault], makes it a panic. Which of the two cannot be known in
// advance, so that line begins in other words; there are 16 of them at most in the life of a
// process.
//
// A line that would block is left out, and so is one for a standard error that was closed or has
// become another file since: call Explain again after redirecting it. The death of a program whose
// own write to a broken os.Stdout or os.Stderr ends it (see [Writer]) is the runtime's, without a
// line. From any goroutine.
func Explain() error { return code("explain", C.sigward_explain()) }

// ExplainSignals is [Explain], and also of these signals: SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ
// and SIGSYS. Those that an earlier call has named and this one does not are left again; no signal
// at all leaves them all.
//
//	sigward: passing on: SIGSEGV (code 1, address 0x10) on thread "app" (tid 4711) of pid 4711:
//	    read at app+0x4b1b32 by app: a null pointer; it goes to the handler of app
//
// (One line.) Each goes on to the Go runtime, whose report or panic is as it was: a nil pointer
// that Go code recovers from is told as well, and counts among the 16 lines of Explain. SIGXFSZ and
// SIGSYS are not told in a Go executable, whose runtime has handlers for both. It fails with EINVAL
// for another signal; SIGPIPE and SIGBUS may be named and change nothing. From any goroutine.
func ExplainSignals(signals ...syscall.Signal) error {
	numbers := make([]C.int, 0, len(signals)+1)
	for _, signal := range signals {
		numbers = append(numbers, C.int(signal))
	}
	status := C.sigward_explain_signals(unsafe.SliceData(numbers), C.size_t(len(numbers)))
	return code("explain", status)
}

// LastWordsJSON makes the reports of [Explain] and [ExplainSignals] JSON, or text again: one object
// in one line, with the keys sigward ("last words" or "passing on"), time_ns, signal, number, code,
// address, thread, tid, pid, cause and handler, in this order; more may follow. From any goroutine.
func LastWordsJSON(wanted bool) {
	var number C.int
	if wanted {
		number = 1
	}
	C.sigward_last_words_json(number)
}
