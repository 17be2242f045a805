package sigwardslog

import (
	"log/slog"
	"os"
	"reflect"
	"testing"

	sigward "github.com/sigward/sigward/go"
)

type values map[string]any

func attributes(e sigward.Event) values {
	got := values{}
	for _, attr := range Attrs(e) {
		got[attr.Key] = attr.Value.Any()
	}
	return got
}

func TestAttributes(t *testing.T) {
	for name, test := range map[string]struct {
		event sigward.Event
		want  values // besides process.pid, thread.name and thread.id, sigward.event
	}{
		"tcp": {
			sigward.Event{FD: 3, Kind: "socket", Result: -32, Inode: 9, Call: "writev",
				Caller: "libfoo.so", Peer: "127.0.0.1:5432"},
			values{"error.type": "EPIPE", "sigward.signal": "SIGPIPE", "sigward.fd": int64(3),
				"sigward.kind": "socket", "sigward.inode": uint64(9), "sigward.call": "writev",
				"sigward.library": "libfoo.so", "network.type": "ipv4",
				"network.peer.address": "127.0.0.1", "network.peer.port": int64(5432)},
		},
		"tcp6, in part": {
			sigward.Event{FD: 3, Kind: "socket", Result: 12, Peer: "[2001:db8::1]:80"},
			values{"error.type": "EPIPE", "sigward.signal": "SIGPIPE", "sigward.fd": int64(3),
				"sigward.kind": "socket", "sigward.written": int64(12), "network.type": "ipv6",
				"network.peer.address": "2001:db8::1", "network.peer.port": int64(80)},
		},
		"unix": {
			sigward.Event{FD: 0, Kind: "socket", Peer: "/run/log"},
			values{"error.type": "EPIPE", "sigward.signal": "SIGPIPE", "sigward.fd": int64(0),
				"sigward.kind": "socket", "network.transport": "unix",
				"network.peer.address": "/run/log"},
		},
		"pipe": {
			sigward.Event{FD: 1, Kind: "pipe", Result: -32},
			values{"error.type": "EPIPE", "sigward.signal": "SIGPIPE", "sigward.fd": int64(1),
				"sigward.kind": "pipe", "network.transport": "pipe"},
		},
		"nothing known": {
			sigward.Event{FD: -1, Kind: "unknown"},
			values{"error.type": "EPIPE", "sigward.signal": "SIGPIPE", "sigward.kind": "unknown"},
		},
		"full disk": {
			sigward.Event{FD: 4, Kind: "map", Path: "/a", Inode: 8, Offset: 4096,
				Cause: sigward.CauseNoSpace, Write: true, LenNow: 1},
			values{"error.type": "no_space", "sigward.signal": "SIGBUS", "sigward.fd": int64(4),
				"file.path": "/a", "file.inode": "8", "sigward.access": "write",
				"sigward.offset": int64(4096)},
		},
		"cut file": {
			sigward.Event{FD: -1, Kind: "map", Inode: 8, Cause: sigward.CauseTruncated, LenNow: 5},
			values{"error.type": "truncated", "sigward.signal": "SIGBUS", "file.inode": "8",
				"file.size": int64(5), "sigward.access": "read", "sigward.offset": int64(0)},
		},
	} {
		test.event.Number, test.event.TID, test.event.Thread = 7, 5, "pool"
		test.want["process.pid"], test.want["thread.id"] = int64(os.Getpid()), int64(5)
		test.want["thread.name"], test.want["sigward.event"] = "pool", uint64(7)
		if got := attributes(test.event); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s\ngot  %v\nwant %v", name, got, test.want)
		}
	}
}

// Nothing happens without events.
func TestWatchOfNothing(t *testing.T) {
	stop := Watch(1, slog.New(slog.NewTextHandler(failing{t}, nil)))
	stop()
	stop()
}

type failing struct{ *testing.T }

func (f failing) Write(text []byte) (int, error) {
	f.Errorf("logged: %s", text)
	return len(text), nil
}
