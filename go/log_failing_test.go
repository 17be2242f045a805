//go:build cgo && linux && (amd64 || arm64)

package sigward

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// markedRecord has the mark of the hosts' disk wherever a sector may begin in it.
func markedRecord(number byte) []byte {
	const size = 64 << 10
	return append(bytes.Repeat([]byte{number}, 8), bytes.Repeat([]byte("markmark"), size/8)...)
}

// believedRecords are those that a reader is given, each of which has to be whole.
func believedRecords(t *testing.T, path string) (records [][]byte) {
	t.Helper()
	r, err := OpenLogReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		record, err := r.Next()
		if err == io.EOF {
			return records
		}
		if err != nil || !bytes.Equal(record, markedRecord(record[0])) {
			t.Fatal(len(records), err)
		}
		records = append(records, bytes.Clone(record))
	}
}

// A flush that fails is told as often as anybody asks, and whoever opens the log next believes no
// record that only the page cache has.
func TestLogBelievesOnlyWhatTheDeviceHas(t *testing.T) {
	onFailingDisk(t, func(t *testing.T, folder string, disk failingDisk) {
		path := filepath.Join(folder, "log")
		l := openLog(t, path)
		add := func(number byte) {
			t.Helper()
			if _, err := l.Append(markedRecord(number)); err != nil {
				t.Fatal(err)
			}
		}
		areOnDevice := func() {
			t.Helper()
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			there := onDevice(t, path, int(info.Size()&^4095))
			for _, record := range believedRecords(t, path) {
				if !bytes.Contains(there, record) {
					t.Errorf("record %d is believed and not on the device", record[0])
				}
			}
		}
		add(1)
		durable, err := l.Flush()
		if err != nil {
			t.Fatal(err)
		}
		disk.fail(t)
		add(2)
		var why *LogError
		for range [2]int{} {
			_, err := l.Flush()
			if !errors.As(err, &why) || why.Errno != syscall.EIO && why.Errno != syscall.ENOSPC {
				t.Fatal(err)
			}
			if _, err := l.Append(markedRecord(9)); err == nil {
				t.Error("a record was taken after a flush that failed")
			}
		}
		l.Close()
		if err := disk.heal(); err != nil {
			t.Fatal(err)
		}
		l = openLog(t, path)
		add(3)
		if now, err := l.Flush(); err != nil || now <= durable {
			t.Fatal(durable, now, err)
		}
		areOnDevice()
		numbers := func() (all []byte) {
			for _, record := range believedRecords(t, path) {
				all = append(all, record[0])
			}
			return all
		}
		if got := numbers(); got[0] != 1 || got[len(got)-1] != 3 {
			t.Error("records", got)
		}
		t.Log("records", numbers())
	})
}
