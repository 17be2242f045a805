package maps

// What stays Go's own, with guarded maps in the process: cmd/own.

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// A SIGBUS that is not of a guarded map is none of our business, and this one table holds bare and
// warded. "† fault" and "† in cgo" are Go's reports of a crash, "† sent" that of a signal that
// somebody sent, † the default action.
//
// Where Notify meets a fault on a thread that Go does not know, Go keeps the signal, returns and
// meets it again for ever: that cell is not run.
const strays = `
set-up          | nil dereference | stray fault            | stray in cgo | stray on C thread | kill         | raise in cgo | raise on C thread
plain           | recovered       | † fault                | † in cgo     | †                 | † sent       | † sent       | †
SetPanicOnFault | recovered       | recovered with address | † in cgo     | †                 | † sent       | † sent       | †
Notify          | recovered       | † fault                | † in cgo     | -                 | lived, heard | lived, heard | lived, heard
Notify, Reset   | recovered       | † fault                | † in cgo     | †                 | † sent       | † sent       | †
Ignore          | recovered       | † fault                | † in cgo     | †                 | lived        | lived        | †
late SIG_DFL    | recovered       | †                      | †            | †                 | †            | †            | †
`

func TestStrays(t *testing.T) {
	for _, k := range []kind{bare, warded} {
		k := k
		t.Run(string(k), func(t *testing.T) { check(t, program(t, k, "own", nil), strays) })
	}
}

// A file is truncated under a map, and the map is read.
const (
	bareGuarded = `
set-up | guarded | guarded in cgo | guarded on C thread | handler
plain  | † fault | † in cgo       | †                   | Go's
Notify | † fault | † in cgo       | -                   | Go's
Ignore | † fault | † in cgo       | †                   | Go's
`
	wardedGuarded = `
set-up                    | guarded   | guarded in cgo | guarded on C thread | handler
plain                     | truncated | truncated      | truncated           | another
SetPanicOnFault           | truncated | truncated      | truncated           | another
Notify                    | truncated | truncated      | truncated           | another
Notify, Reset             | truncated | truncated      | truncated           | another
Ignore                    | truncated | truncated      | truncated           | another
late SIG_DFL, EnsureOnTop | truncated | truncated      | truncated           | another
late SIG_DFL              | †         | †              | †                   | none
`
)

func TestGuarded(t *testing.T) {
	t.Run("bare", func(t *testing.T) { check(t, program(t, bare, "own", nil), bareGuarded) })
	t.Run("warded", func(t *testing.T) { check(t, program(t, warded, "own", nil), wardedGuarded) })
}

func TestBuildModes(t *testing.T) {
	for _, flag := range []string{"-buildmode=pie", "-race", "-trimpath"} {
		flag := flag
		t.Run(flag, func(t *testing.T) {
			check(t, program(t, warded, "own", nil, flag), wardedGuarded)
			check(t, program(t, warded, "own", nil, flag), strays)
		})
	}
}

// versions are the oldest and the newest, besides the local one, which every other test uses.
const versions = "1.21.13 1.27.4"

func TestGoVersions(t *testing.T) {
	list := os.Getenv("SIGWARD_GO_VERSIONS")
	if list == "" {
		list = versions
	}
	var tested, missing []string
	for _, version := range strings.Fields(list) {
		t.Run(version, func(t *testing.T) {
			toolchain := []string{"GOTOOLCHAIN=go" + version}
			cmd := exec.Command("go", "version") // downloads the version when it is not there yet
			cmd.Env = append(os.Environ(), toolchain...)
			if output, err := cmd.CombinedOutput(); err != nil ||
				!strings.Contains(string(output), "go"+version+" ") {
				missing = append(missing, version)
				t.Skipf("go%s cannot be had: %v %s", version, err, output)
			}
			tested = append(tested, version)
			for k, guarded := range map[kind]string{bare: bareGuarded, warded: wardedGuarded} {
				k, guarded := k, guarded
				t.Run(string(k), func(t *testing.T) {
					own := program(t, k, "own", toolchain)
					check(t, own, strays)
					check(t, own, guarded)
				})
			}
		})
	}
	t.Logf("%d versions besides %s: %s; missing %d: %s", len(tested), runtime.Version(),
		strings.Join(tested, " "), len(missing), strings.Join(missing, " "))
	if len(tested) == 0 {
		t.Error("no other version could be tested")
	}
}
