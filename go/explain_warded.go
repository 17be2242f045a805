//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
import "C"

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
// [runtime/debug.SetPanicOnFault], makes it a panic. Which of the two nobody knows before, so that
// line begins in other words; there are 16 of them at most in the life of a process.
//
// A line that would block is left out, and so is one for a standard error that was closed or has
// become another file since: call Explain again after redirecting it. The death of a program whose
// own write to a broken os.Stdout or os.Stderr ends it (see [Writer]) is the runtime's, without a
// line. From any goroutine.
func Explain() error { return code("explain", C.sigward_explain()) }
