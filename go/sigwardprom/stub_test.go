//go:build !cgo || !linux || (!amd64 && !arm64)

package sigwardprom

import "testing"

func TestNothingIsArmed(t *testing.T) {
	c := page(t, New())
	for name, value := range c {
		if value != 0 {
			t.Errorf("%s: %v", name, value)
		}
	}
	if _, ok := c["sigward_armed signal=SIGPIPE"]; !ok {
		t.Errorf("%v", c)
	}
}
