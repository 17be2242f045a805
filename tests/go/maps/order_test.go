package maps

// C programs with mapped files that load Go, and who of the two came first: chost/host.c and
// cmd/guest.

import (
	"strings"
	"testing"
)

// What the host came through. A stray fault, one that no guarded map knows, must end it just as
// without us: by the default action on a thread of C, with Go's report in Go code.
const orders = `
order                | exit                                                 | stray on C thread                                | stray in Go
none                 | Go recovers; lived                                   | Go recovers; †                                   | Go recovers; † fault, aborted
package, bare        | †                                                    | †                                                | †
package              | C read; Go read; Go recovers; lived                  | C read; Go read; Go recovers; †                  | C read; Go read; Go recovers; † fault, aborted
Go, ours             | C read; Go read; Go recovers; lived                  | C read; Go read; Go recovers; †                  | C read; Go read; Go recovers; † fault, aborted
ours, Go, ours again | C read; Go read; C read; Go read; Go recovers; lived | C read; Go read; C read; Go read; Go recovers; † | C read; Go read; C read; Go read; Go recovers; † fault, aborted
ours, Go             | C read; † fault, aborted                             | C read; † fault, aborted                         | C read; † fault, aborted
`

func TestOrder(t *testing.T) {
	for _, c := range cells(t, orders) {
		c := c
		t.Run(c.Row+"/"+c.Column, func(t *testing.T) {
			host, library := cast(t, c.Row)
			e := run(t, host, library, strings.TrimSuffix(c.Row, ", bare"), c.Column)
			have := e.fate()
			if e.stdout != "" && e.err != nil {
				have = e.stdout + " " + have
			}
			if have != c.Want {
				t.Errorf("have %q, want %q", have, c.Want)
			}
		})
	}
}

// cast is the host and the library of an order. Where the host has sigward, the library knows
// nothing of it.
func cast(t *testing.T, order string) (host, library string) {
	t.Helper()
	switch order {
	case "none", "package, bare":
		return hostOf(t, bare), program(t, bare, "guest", nil, "-buildmode=c-shared")
	case "package":
		return hostOf(t, bare), program(t, warded, "guest", nil, "-buildmode=c-shared")
	}
	return hostOf(t, warded), program(t, bare, "guest", nil, "-buildmode=c-shared")
}

func hostOf(t *testing.T, k kind) string {
	t.Helper()
	need(t, k)
	return once(t, "host-"+string(k), func(path string) error {
		if k == bare {
			return buildC(path, "-DBARE", "chost/host.c", "-ldl")
		}
		return buildC(path, "-I../../../include", "chost/host.c", archive, "-ldl", "-lm")
	})
}
