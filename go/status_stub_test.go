//go:build !cgo || !linux || (!amd64 && !arm64)

package sigward

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStatusSaysThatNothingIsArmed(t *testing.T) {
	s := Status()
	for _, one := range []SignalStatus{s.SIGPIPE, s.SIGBUS} {
		if one.Armed || one.Reason == "" ||
			!strings.Contains(s.String(), "not armed: "+one.Reason) {
			t.Errorf("%+v: %v", one, s)
		}
	}
}

func TestLogSaysThatThereIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if _, err := OpenLog(path); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := OpenLogReader(path); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
