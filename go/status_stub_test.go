//go:build !cgo || !linux || (!amd64 && !arm64)

package sigward

import (
	"strings"
	"testing"
)

func TestStatusSaysThatNothingIsArmed(t *testing.T) {
	s := Status()
	for _, one := range []SignalStatus{s.SIGPIPE, s.SIGBUS} {
		if one.Armed || one.Reason == "" || !strings.Contains(s.String(), "not armed: "+one.Reason) {
			t.Errorf("%+v: %v", one, s)
		}
	}
}
