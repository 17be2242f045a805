//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/sigward/sigward/go/internal/foreign"
)

// Each in a process of its own: what another library has done to the dispositions, Status sees.
func TestStatusSeesTheKernelsTable(t *testing.T) {
	ways := map[string]func(t *testing.T){
		"armed": func(t *testing.T) { stands(t, "", "") },
		"taken back": func(t *testing.T) {
			must(t, Restore())
			stands(t, "Filter", "")
			must(t, Filter())
			stands(t, "", "")
		},
		"a handler above": func(t *testing.T) {
			foreign.PlainHandler(syscall.SIGPIPE)
			stands(t, "EnsureOnTop", "")
			foreign.PlainHandler(syscall.SIGBUS)
			stands(t, "EnsureOnTop", "EnsureOnTop")
			must(t, EnsureOnTop())
			stands(t, "", "")
		},
		"the default": func(t *testing.T) {
			foreign.Default(syscall.SIGPIPE)
			stands(t, "EnsureOnTop", "")
			foreign.Default(syscall.SIGBUS)
			stands(t, "EnsureOnTop", "EnsureOnTop")
			must(t, EnsureOnTop())
			stands(t, "", "")
			if err := foreign.Write(brokenPipe(t)); err != syscall.EPIPE {
				t.Error(err)
			}
		},
	}
	if way, ok := ways[os.Getenv("SIGWARD_STATUS")]; ok {
		way(t)
		return
	}
	for way := range ways {
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "SIGWARD_STATUS="+way)
		if said, err := child.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", way, err, said)
		}
	}
}

// stands wants reasons that have these words in them; none: armed.
func stands(t *testing.T, pipe, bus string) {
	t.Helper()
	s := Status()
	for _, c := range []struct {
		is   SignalStatus
		want string
	}{{s.SIGPIPE, pipe}, {s.SIGBUS, bus}} {
		if c.is.Armed != (c.want == "") || !strings.Contains(c.is.Reason, c.want) {
			t.Errorf("%v, not %q and %q", s, pipe, bus)
		}
	}
}
