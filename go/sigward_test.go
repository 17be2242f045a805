package sigward

import (
	"syscall"
	"testing"
)

func TestPeer(t *testing.T) {
	cases := map[string][]byte{
		"127.0.0.1:8080": {syscall.AF_INET, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"[::1]:443": {
			syscall.AF_INET6,
			0,
			1,
			187,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			0,
			1,
			0,
			0,
			0,
			0,
		},
		"/run/x": {syscall.AF_UNIX, 0, '/', 'r', 'u', 'n', '/', 'x', 0, 'y'},
		"":       {syscall.AF_INET, 0, 0x1f},
	}
	for want, raw := range cases {
		if got := peer(raw); got != want {
			t.Errorf("peer(%v) = %q, want %q", raw, got, want)
		}
	}
	if peer(nil) != "" || peer([]byte{syscall.AF_INET, 0, 1, 2}) != "" {
		t.Error("a torn address must be no address")
	}
}

func TestEventString(t *testing.T) {
	event := Event{
		Thread: "rust \"io\"",
		TID:    7,
		FD:     9,
		Kind:   "socket",
		Inode:  5,
		Peer:   "[::1]:443",
		Result: -32,
		Call:   "writev",
		Caller: "libx.so",
	}
	want := `SIGPIPE swallowed: writev by libx.so on thread "rust \"io\"" (tid 7) ` +
		`to fd 9 (socket:[5], peer [::1]:443): EPIPE`
	if got := event.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `SIGPIPE swallowed: a write on thread "" (tid 0) ` +
		`to an unknown fd: 12 bytes, then it broke`
	if got := (Event{FD: -1, Kind: "unknown", Result: 12}).String(); got != want {
		t.Error(got)
	}
}
