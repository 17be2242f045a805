// Package halves calls the Rust half of the service: an event shipper and a download server, both
// on tokio, and a journal, on threads that Rust made and Go has never heard of.
//
// The archive is named by its path (archive_*.go). It is an isolated one (scripts/isolate-archive):
// one object with the functions of halves.h and nothing else to be seen. Go refuses a staticlib as
// cargo makes it.
package halves

/*
#include <stdlib.h>
#include "halves.h"
*/
import "C"

import (
	"fmt"
	"net"
	"strconv"
	"syscall"
	"unsafe"
)

// Counters is what happened in the Rust half so far.
type Counters struct {
	Accepted        uint64 // events taken by Ship
	Acknowledged    uint64 // events that the collector acknowledged
	Resent          uint64 // events sent once more over a new connection
	Connections     uint64 // connections made to the collector
	Downloads       uint64 // downloads begun
	BrokenPipe      uint64 // errors of kind BrokenPipe
	ConnectionReset uint64 // errors of kind ConnectionReset
	OtherErrors     uint64 // all other errors
	Journaled       uint64 // lines that are in the journal
	JournalNoSpace  uint64 // times that its disk was full
	JournalCut      uint64 // times that its file was cut
}

// Start starts both halves of the Rust side, once per process, and returns the address of the
// downloads. The collector is "IP:PORT". A certificate, a PEM file, makes the shipper speak TLS and
// trust that one only.
func Start(collector, certificate string) (downloads string, err error) {
	address := C.CString(collector)
	defer C.free(unsafe.Pointer(address))
	var trusted *C.char
	if certificate != "" {
		trusted = C.CString(certificate)
		defer C.free(unsafe.Pointer(trusted))
	}
	port := C.halves_start(address, trusted)
	if port < 0 {
		return "", fmt.Errorf("start the Rust half: %w", syscall.Errno(-port))
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), nil
}

// Journal starts the journal, once per process: from now on each event is also a line of the file
// at path.
func Journal(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	if status := C.halves_journal(name); status < 0 {
		return fmt.Errorf("start the journal %s: %w", path, syscall.Errno(-status))
	}
	return nil
}

// Ship hands over an event, one line of text, and returns its sequence number. The shipper keeps it
// until the collector has acknowledged it. syscall.EAGAIN means that too many events wait.
func Ship(event []byte) (sequence uint64, err error) {
	number := C.halves_ship((*C.uint8_t)(unsafe.SliceData(event)), C.size_t(len(event)))
	if number < 0 {
		return 0, fmt.Errorf("ship an event: %w", syscall.Errno(-number))
	}
	return uint64(number), nil
}

// ReadCounters copies the counters of the Rust half.
func ReadCounters() Counters {
	var c C.halves_counters
	C.halves_read_counters(&c) // fails for NULL only
	return Counters{
		Accepted:        uint64(c.accepted),
		Acknowledged:    uint64(c.acknowledged),
		Resent:          uint64(c.resent),
		Connections:     uint64(c.connections),
		Downloads:       uint64(c.downloads),
		BrokenPipe:      uint64(c.broken_pipe),
		ConnectionReset: uint64(c.connection_reset),
		OtherErrors:     uint64(c.other_errors),
		Journaled:       uint64(c.journaled),
		JournalNoSpace:  uint64(c.journal_no_space),
		JournalCut:      uint64(c.journal_cut),
	}
}
