package hosts

import "testing"

// Who dies when SIGPIPE is raised. E: EPIPE came back to the caller. N: signal.Notify's channel had
// it too. †: the process was killed by SIGPIPE and said nothing.

// What Go does by itself.
const bareWrites = `
set-up                              | cgo write | foreign write | Go socket | Go pipe | closed stdout
plain                               | E         | †             | E         | E       | †
Notify, Reset                       | E         | †             | E         | E       | †
Notify, Stop                        | E         | †             | E         | E       | †
Notify                              | E N       | E N           | E N       | E N     | E N
Ignore                              | E         | E             | E         | E       | E
Ignore, Reset                       | E         | E             | E         | E       | E
Ignore, Notify                      | E         | E             | E N       | E N     | E N
Ignore, Notify, Reset               | E         | E             | E         | E       | †
inherited SIG_IGN                   | E         | E             | E         | E       | †
inherited SIG_IGN, Notify           | E         | E             | E N       | E N     | E N
late SIG_DFL                        | †         | †             | †         | †       | †
late SIG_DFL, Ignore, Notify, Reset | E         | E             | E         | E       | †
late SIG_IGN                        | E         | E             | E         | E       | †
late handler                        | E         | E             | E         | E       | †
late handler, Notify                | E         | E             | E         | E       | E N
late chaining handler               | E         | †             | E         | E       | †
late chaining handler, Notify       | E N       | E N           | E N       | E N     | E N
early handler                       | E         | E             | E         | E       | †
early SIG_IGN                       | E         | E             | E         | E       | †
early handler, Notify               | E         | E             | E N       | E N     | E N
early SIG_IGN, Notify               | E         | E             | E N       | E N     | E N
`

// With sigward, a write of code that is not Go's is an error on every thread and in every row, but
// for the one where somebody sets SIG_DFL over us and nobody asks us to take the seat again. Its
// signal ends with us, so Notify does not have it. Go's own writes are as above.
const wardedWrites = `
set-up                              | cgo write | foreign write | Go socket | Go pipe | closed stdout
plain                               | E         | E             | E         | E       | †
Notify, Reset                       | E         | E             | E         | E       | †
Notify, Stop                        | E         | E             | E         | E       | †
Notify                              | E         | E             | E N       | E N     | E N
Notify, EnsureOnTop                 | E         | E             | E N       | E N     | E N
Ignore                              | E         | E             | E         | E       | E
Ignore, Reset                       | E         | E             | E         | E       | E
Ignore, EnsureOnTop                 | E         | E             | E         | E       | E
Ignore, Notify                      | E         | E             | E N       | E N     | E N
Ignore, Notify, EnsureOnTop         | E         | E             | E N       | E N     | E N
Ignore, Notify, Reset               | E         | E             | E         | E       | †
inherited SIG_IGN                   | E         | E             | E         | E       | †
inherited SIG_IGN, Notify           | E         | E             | E N       | E N     | E N
late SIG_DFL                        | †         | †             | †         | †       | †
late SIG_DFL, EnsureOnTop           | E         | E             | E         | E       | †
late SIG_DFL, Ignore, Notify, Reset | E         | E             | E         | E       | †
late SIG_IGN                        | E         | E             | E         | E       | †
late SIG_IGN, EnsureOnTop           | E         | E             | E         | E       | †
late handler                        | E         | E             | E         | E       | †
late handler, Notify                | E         | E             | E         | E       | E N
late handler, EnsureOnTop           | E         | E             | E         | E       | †
late chaining handler               | E         | E             | E         | E       | †
late chaining handler, Notify       | E         | E             | E N       | E N     | E N
late chaining handler, EnsureOnTop  | E         | E             | E         | E       | †
early handler                       | E         | E             | E         | E       | †
early SIG_IGN                       | E         | E             | E         | E       | †
early handler, Notify               | E         | E             | E N       | E N     | E N
early SIG_IGN, Notify               | E         | E             | E N       | E N     | E N
`

// Calls for which no flag prevents the signal, and the write that succeeds in part and raises it
// all the same.
const bareRareWrites = `
set-up | cgo copy in kernel | cgo write partly | foreign copy in kernel | foreign write partly
plain  | E                  | E                | †                      | †
Notify | E N                | E N              | E N                    | E N
`

const wardedRareWrites = `
set-up | cgo copy in kernel | cgo write partly | foreign copy in kernel | foreign write partly
plain  | E                  | E                | E                      | E
Notify | E                  | E                | E                      | E
`

func TestWrites(t *testing.T) {
	tables := map[kind][2]string{
		bare:   {bareWrites, bareRareWrites},
		warded: {wardedWrites, wardedRareWrites},
	}
	forEachKind(t, func(t *testing.T, k kind) {
		for _, table := range tables[k] {
			check(t, matrix(t, k), table)
		}
	})
}
