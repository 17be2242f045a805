package hosts

import "testing"

// What must not change. Each table holds for the bare program and for the warded one.

// A SIGPIPE that somebody sends is no echo of a write, and sigward leaves it alone.
const senders = `
action                       | plain | Notify  | Notify, Reset | Ignore | Ignore, Notify, Reset | inherited SIG_IGN | late SIG_DFL | late handler
kill -PIPE while idle        | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
kill -PIPE while busy        | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
kill -PIPE while in cgo      | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
cgo raise                    | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
cgo pthread_kill             | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
cgo kill                     | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
cgo sigqueue                 | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
foreign raise                | †     | lived N | †             | lived  | lived                 | lived             | †            | lived
foreign pthread_kill         | †     | lived N | †             | lived  | lived                 | lived             | †            | lived
foreign kill                 | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
foreign sigqueue             | lived | lived N | lived         | lived  | lived                 | lived             | †            | lived
`

func TestSentSignals(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) { checkActions(t, matrix(t, k), senders) })
}

// Only signal.Ignore, and a SIG_IGN set late for children of C, reach a child. An inherited SIG_IGN
// does not: Go's own handler stands over it in the bare program too.
const children = `
set-up                  | child of os/exec | child of posix_spawn | child of system
plain                   | default          | default              | default
Notify                  | default          | default              | default
Notify, Reset           | default          | default              | default
Ignore                  | ignored          | ignored              | ignored
Ignore, Reset           | ignored          | ignored              | ignored
Ignore, Notify, Reset   | default          | default              | default
inherited SIG_IGN       | default          | default              | default
late SIG_DFL            | default          | default              | default
late SIG_IGN            | default          | ignored              | ignored
late handler            | default          | default              | default
late chaining handler   | default          | default              | default
early handler           | default          | default              | default
early SIG_IGN           | default          | default              | default
`

func TestChildren(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) { check(t, matrix(t, k), children) })
}

// `program | head -1`: the program is to die of SIGPIPE, unless it asked for the signal or against
// it. A thread in C that prints there is told as without us, too.
const pipeline = `
set-up                | lines | cgo lines | foreign lines
plain                 | †     | E         | †
Notify                | E N   | E N       | E N
Notify, Reset         | †     | E         | †
Ignore                | E     | E         | E
Ignore, Notify, Reset | †     | E         | E
inherited SIG_IGN     | †     | E         | E
`

// Only x86-64 shows which descriptor a write was to.
const pipelineSwallowed = `
set-up       | lines | foreign lines
SwallowStdio | †     | E
`

func TestPipeIntoHead(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		check(t, matrix(t, k), pipeline)
		if k == warded {
			check(t, matrix(t, k), pipelineSwallowed)
		}
	})
}

// What os/signal answers.
const (
	notIgnored = "start false; Notify false; Reset false; " +
		"Ignore true; Reset true; Ignore, Notify false; Stop false"
	ignored = "start true; Notify false; Reset false; " +
		"Ignore true; Reset true; Ignore, Notify false; Stop false"
	answers = `
set-up                | Ignored after each call
plain                 | ` + notIgnored + `
Notify, Reset         | ` + notIgnored + `
Ignore                | ` + ignored + `
Ignore, Reset         | ` + ignored + `
Ignore, Notify, Reset | ` + notIgnored + `
inherited SIG_IGN     | ` + notIgnored + `
late SIG_IGN          | ` + notIgnored + `
`
)

func TestAnswersOfOsSignal(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) { check(t, matrix(t, k), answers) })
}

// Signals that are Go's own, or another library's.
const others = `
set-up | profile | nil dereference | preemption | own handler
plain  | samples | recovered       | preempted  | lived
Notify | samples | recovered       | preempted  | lived
`

func TestOtherSignals(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) { check(t, matrix(t, k), others) })
}
