package hosts

// Go as a guest: a C program that links or loads a Go library. And Go programs of the other build
// modes.

import "testing"

// The threads are the host's own, and Go knows none of them.
const bareHost = `
set-up | thread write at once | thread write | main write | Go pipe | kill -PIPE
plain  | †                    | †            | †          | E       | †
Notify | E N                  | E N          | E N        | E N     | lived N
`

const wardedHost = `
set-up | thread write at once | thread write | main write | Go pipe | kill -PIPE
plain  | E                    | E            | E          | E       | †
Notify | E                    | E            | E          | E N     | lived N
`

// A thread that writes and writes, from before Go's runtime is up until every init has run: the
// host of a library does not wait for Go, and there must be no instant at which one of its writes
// is deadly.
const (
	bareStart = `
set-up | thread writes meanwhile
plain  | †
`
	wardedStart = `
set-up | thread writes meanwhile
plain  | E
`
)

var hosts = map[string]func(t *testing.T, k kind) string{
	"c-archive":       archiveHost,
	"c-shared":        sharedHost,
	"c-shared loaded": loadingHost,
}

func TestHostInC(
	t *testing.T,
) {
	checkHosts(t, map[kind]string{bare: bareHost, warded: wardedHost})
}

func TestHostWhileGoStarts(t *testing.T) {
	for i := 0; i < 20; i++ {
		checkHosts(t, map[kind]string{bare: bareStart, warded: wardedStart})
	}
}

func checkHosts(t *testing.T, tables map[kind]string) {
	t.Helper()
	forEachKind(t, func(t *testing.T, k kind) {
		for name, host := range hosts {
			name, host := name, host
			t.Run(name, func(t *testing.T) { check(t, host(t, k), tables[k]) })
		}
	})
}

// archiveHost links the Go archive, and sigward's beside it: -buildmode=c-archive leaves out the
// archives that cgo directives name, and the C linker has to be given them.
func archiveHost(t *testing.T, k kind) string {
	t.Helper()
	besides := map[kind][]string{warded: {archive}}
	return once(t, "host-archive-"+string(k), func(path string) error {
		if err := buildGo(k, nil, path+".a", "./cmd/library", "-buildmode=c-archive"); err != nil {
			return err
		}
		return buildC(path, append([]string{"chost/host.c", path + ".a"}, besides[k]...)...)
	})
}

func sharedHost(t *testing.T, k kind) string {
	t.Helper()
	library := sharedLibrary(t, k)
	return once(t, "host-shared-"+string(k), func(path string) error {
		return buildC(path, "chost/host.c", library)
	})
}

func loadingHost(t *testing.T, k kind) string {
	t.Helper()
	library := sharedLibrary(t, k)
	return once(t, "host-loading-"+string(k), func(path string) error {
		return buildC(path, `-DLOADED_LATE="`+library+`"`, "chost/host.c", "-ldl")
	})
}

func sharedLibrary(t *testing.T, k kind) string {
	t.Helper()
	return once(t, "library-"+string(k)+".so", func(path string) error {
		return buildGo(k, nil, path, "./cmd/library", "-buildmode=c-shared")
	})
}

// The rows and columns that tell whether a build is armed at all.
const (
	bareCore = `
set-up | cgo write | foreign write | Go socket | closed stdout | kill -PIPE while idle
plain  | E         | †             | E         | †             | lived
Notify | E N       | E N           | E N       | E N           | lived N
`
	wardedCore = `
set-up | cgo write | foreign write | Go socket | closed stdout | kill -PIPE while idle
plain  | E         | E             | E         | †             | lived
Notify | E         | E             | E N       | E N           | lived N
`
)

var core = map[kind]string{bare: bareCore, warded: wardedCore}

func TestBuildModes(t *testing.T) {
	modes := map[string][]string{
		"pie":      {"-buildmode=pie"},
		"race":     {"-race"},
		"stripped": {"-ldflags=-s -w"},
		"trimmed":  {"-trimpath"},
	}
	forEachKind(t, func(t *testing.T, k kind) {
		for name, flags := range modes {
			name, flags := name, flags
			t.Run(name, func(t *testing.T) { check(t, matrix(t, k, flags...), core[k]) })
		}
	})
}

// A second Go runtime in the process: a bare Go library that a C library loads. It takes the top of
// SIGPIPE.
const (
	bareSecond = `
set-up            | cgo write | foreign write | Go socket | Go pipe | closed stdout | second Go pipe
second Go         | E         | †             | E         | E       | †             | E
second Go, Notify | E N       | E N           | E N       | E N     | E N           | E
`
	wardedSecond = `
set-up                 | cgo write | foreign write | Go socket | Go pipe | closed stdout | second Go pipe
second Go              | E         | E             | E         | E       | †             | E
second Go, EnsureOnTop | E         | E             | E         | E       | †             | E
second Go, Notify      | E         | E             | E N       | E N     | E N           | E
`
)

func TestSecondGo(t *testing.T) {
	tables := map[kind]string{bare: bareSecond, warded: wardedSecond}
	forEachKind(t, func(t *testing.T, k kind) {
		sharedLibrary(t, bare)
		check(t, matrix(t, k), tables[k])
	})
}
