package sigward

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestALeaseIsHadOrRefusedClearly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, []byte("contents"))
	lease, err := TakeLease(path)
	if runtime.GOOS != "linux" {
		if lease != nil || !errors.Is(err, ErrNoLeases) || !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Error(err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, wanted := lease.Deadline(); wanted || !lease.Held() {
		t.Error("nobody wants it")
	}
	if err := lease.Release(); err != nil {
		t.Error(err)
	}
	if err := lease.Release(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if lease.Held() {
		t.Error("released")
	}
}
