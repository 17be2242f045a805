package sigwardslog

import (
	"log/slog"
	"net/netip"
	"os"
	"strconv"

	sigward "github.com/sigward/sigward/go"
)

// Attrs are an event's attributes, under the names of OpenTelemetry's semantic conventions where
// there are such. Each event has
//
//	error.type             EPIPE; of a loss: truncated, no_space, io, hardware, unknown
//	process.pid
//	thread.id, thread.name who wrote, or met the loss
//	sigward.event          its number (sigward.Event.Number)
//	sigward.signal         SIGPIPE, SIGBUS
//	sigward.fd             the descriptor, unless it could not be told
//	sigward.library        file name of the library that made the call, if it could be told
//
// a broken peer, as far as it could be told,
//
//	network.peer.address   IP address, or the name of a Unix socket
//	network.peer.port
//	network.transport      pipe, unix
//	network.type           ipv4, ipv6
//	sigward.call           the system call
//	sigward.kind           of the descriptor: pipe, socket, other, unknown
//	sigward.inode          of the pipe or socket, as in /proc/PID/fd
//	sigward.written        bytes of a partial write
//
// and a loss in a map
//
//	file.path              its last 112 bytes; file.inode
//	file.size              in bytes, of a truncated file
//	sigward.access         read, write
//	sigward.offset         the lowest lost byte, from the start of the map
func Attrs(e sigward.Event) []slog.Attr {
	attrs := []slog.Attr{
		slog.Int("process.pid", os.Getpid()),
		slog.Int("thread.id", e.TID),
		slog.String("thread.name", e.Thread),
		slog.Uint64("sigward.event", e.Number),
	}
	text := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if e.FD >= 0 {
		attrs = append(attrs, slog.Int("sigward.fd", e.FD))
	}
	text("sigward.library", e.Caller)
	if e.Kind == "map" {
		access := "read"
		if e.Write {
			access = "write"
		}
		text("sigward.signal", "SIGBUS")
		text("error.type", e.Cause.Word())
		text("file.path", e.Path)
		text("file.inode", strconv.FormatUint(e.Inode, 10)) // a string by the conventions
		if e.Cause == sigward.CauseTruncated {
			attrs = append(attrs, slog.Int64("file.size", e.LenNow))
		}
		text("sigward.access", access)
		return append(attrs, slog.Int64("sigward.offset", e.Offset))
	}
	text("sigward.signal", "SIGPIPE")
	text("error.type", "EPIPE")
	text("sigward.call", e.Call)
	text("sigward.kind", e.Kind)
	if e.Inode != 0 {
		attrs = append(attrs, slog.Uint64("sigward.inode", e.Inode))
	}
	if e.Result > 0 {
		attrs = append(attrs, slog.Int64("sigward.written", e.Result))
	}
	return append(attrs, peer(e)...)
}

func peer(e sigward.Event) []slog.Attr {
	switch address, err := netip.ParseAddrPort(e.Peer); {
	case e.Kind == "pipe":
		return []slog.Attr{slog.String("network.transport", "pipe")}
	case e.Peer == "":
		return nil
	case err != nil:
		return []slog.Attr{
			slog.String("network.transport", "unix"),
			slog.String("network.peer.address", e.Peer),
		}
	default:
		kind := "ipv4"
		if address.Addr().Is6() {
			kind = "ipv6"
		}
		return []slog.Attr{
			slog.String("network.type", kind),
			slog.String("network.peer.address", address.Addr().String()),
			slog.Int("network.peer.port", int(address.Port())),
		}
	}
}
