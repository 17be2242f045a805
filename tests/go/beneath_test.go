package hosts

import "testing"

// A Go program that links the archive and not the Go package. What is no echo and comes to an idle
// thread does not reach signal.Notify, but it ends nothing that lived without us.
const beneathTable = `
set-up        | cgo write | foreign write | Go socket | Go pipe | closed stdout | kill -PIPE while idle | kill -PIPE while in cgo | cgo raise | foreign raise
plain         | E         | E             | E         | E       | †             | lived                 | lived                   | lived     | †
Ignore        | E         | E             | E         | E       | E             | lived                 | lived                   | lived     | lived
`

func TestArchiveWithoutThePackage(t *testing.T) {
	program := once(t, "matrix-beneath", func(path string) error {
		return buildGo(bare, nil, path, "./cmd/matrix", "-tags", "beneath")
	})
	check(t, program, beneathTable)
}
