package sigward

import (
	"math/rand"
	"net/netip"
	"testing"
)

// Every pattern of zero groups, with random groups between them, and what only looks mapped.
func TestPeerWritesAddressesAsNetipDoes(t *testing.T) {
	raw := make([]byte, 24)
	raw[0], raw[2], raw[3] = 10, 31, 144
	check := func() {
		t.Helper()
		want := netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw[8:24])), 8080).String()
		if got := peer(raw); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	for zeros := 0; zeros < 1<<8; zeros++ {
		for i := 0; i < 8; i++ {
			high, low := byte(0), byte(0)
			if zeros>>i&1 == 0 {
				high, low = byte(rand.Intn(2)*rand.Intn(256)), byte(1+rand.Intn(255))
			}
			raw[8+2*i], raw[9+2*i] = high, low
		}
		check()
	}
	copy(raw[8:], "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x7f\x00\x00\x01")
	check()
	raw[17] = 1
	check()
}
