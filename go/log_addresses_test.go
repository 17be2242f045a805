//go:build linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where RLIMIT_AS leaves few addresses, a log is opened with less room, unless the caller said how
// much is wanted.
func TestLogWithFewAddresses(t *testing.T) {
	const each, room = 16384, 200 // records that need more than leastCapacity
	if path := os.Getenv("SIGWARD_LOG_ADDRESSES"); path != "" {
		l := openLog(t, path)
		defer l.Close()
		r, err := OpenLogReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if l.options.Capacity >= defaultCapacity || r.capacity >= defaultCapacity {
			t.Fatalf("room for %d and %d: the limit limits nothing", l.options.Capacity, r.capacity)
		}
		for n := 0; n < room; n++ {
			if _, err := l.Append(bytes.Repeat([]byte{byte(n)}, each)); err != nil {
				t.Fatal(n, err)
			}
		}
		for n := 0; n < room; n++ {
			if record, err := r.Next(); err != nil || !bytes.Equal(record, bytes.Repeat([]byte{byte(n)}, each)) {
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
	child := exec.Command("/bin/sh", "-c", `ulimit -v 3000000 && exec "$0" -test.run='^TestLogWithFewAddresses$'`, os.Args[0])
	child.Env = append(os.Environ(), "SIGWARD_LOG_ADDRESSES="+filepath.Join(t.TempDir(), "log"))
	if said, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// A reader whose map is full goes on, also when the log has another name meanwhile.
func TestLogReaderOutgrowsItsMap(t *testing.T) {
	for _, renamed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), fmt.Sprint("log", renamed))
		l := openLog(t, path)
		defer l.Close()
		r, err := OpenLogReader(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		small, capacity, err := openWithRoom(path, Options{}, int64(r.m.Len())+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.m.Close()
		r.m, r.capacity = small, capacity
		if renamed {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			openLog(t, path).Close() // another one
		}
		for n := uint64(0); n < 50_000; n++ {
			if _, err := l.Append(testRecord(n)); err != nil {
				t.Fatal(err)
			}
		}
		for n := uint64(0); n < 50_000; n++ {
			if record, err := r.Next(); err != nil || !bytes.Equal(record, testRecord(n)) {
				t.Fatal(renamed, n, len(record), err)
			}
		}
	}
}
