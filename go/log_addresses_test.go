//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where RLIMIT_AS leaves few addresses, a log is opened with less room, unless the caller said how
// much is wanted.
func TestLogWithFewAddresses(t *testing.T) {
	const each, room = 16384, 200
	if path := os.Getenv("SIGWARD_LOG_ADDRESSES"); path != "" {
		l := openLog(t, path)
		defer l.Close()
		r, err := OpenLogReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for n := 0; n < room; n++ {
			if _, err := l.Append(bytes.Repeat([]byte{byte(n)}, each)); err != nil {
				t.Fatal(n, err)
			}
		}
		for n := 0; n < room; n++ {
			if record, err := r.Next(); err != nil ||
				!bytes.Equal(record, bytes.Repeat([]byte{byte(n)}, each)) {
				t.Fatal(n, len(record), err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
		if l, err := OpenLogWith(path+"-wanted", LogOptions{Capacity: 64 << 30}); err == nil {
			l.Close()
			t.Error("room that cannot be had")
		}
		return
	}
	child := exec.Command("/bin/sh", "-c",
		`ulimit -v 3000000 && exec "$0" -test.run='^TestLogWithFewAddresses$'`, os.Args[0])
	child.Env = append(os.Environ(), "SIGWARD_LOG_ADDRESSES="+filepath.Join(t.TempDir(), "log"))
	if said, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
