//go:build cgo && linux && (amd64 || arm64)

package sigward

// #include "sigward.h"
// #include "sigward_go.h"
import "C"

import (
	"strconv"
	"unsafe"
)

const isWarded = true

// ownAudit asks the library, which Audit of Rust and C does as well.
func ownAudit() (*OwnAudit, error) {
	var report C.struct_sigward_status_report
	if err := code("status", C.sigward_status(&report)); err != nil {
		return nil, err
	}
	counters, err := Counters()
	if err != nil {
		return nil, err
	}
	text := func(s *C.struct_sigward_standing) string {
		return C.GoString(C.sigward_reason_text(s.reason))
	}
	own := &OwnAudit{
		SIGPIPE: text(&report.sigpipe), SIGBUS: text(&report.sigbus),
		Guarded: counters.Maps, HasGo: true, Rows: []HandlerRow{},
	}
	for i, reason := range [2]C.int32_t{report.sigpipe.reason, report.sigbus.reason} {
		own.covered[i] = reason == C.SIGWARD_REASON_COVERED || reason == C.SIGWARD_REASON_ALTERED
	}
	own.isGuarding = report.sigbus.armed != 0
	for signal := 1; signal <= 64; signal++ {
		var line [33]C.struct_sigward_runtime_handler
		count := C.sigward_runtime_handlers(C.int(signal), &line[0], C.size_t(len(line)))
		if count > 0 && (count > 1 || line[0].address != 0) {
			row := HandlerRow{signalName(signal), handlerOf(&line[0]), []Handler{}}
			for i := range line[1:count] {
				row.Line = append(row.Line, handlerOf(&line[1+i]))
			}
			own.Rows = append(own.Rows, row)
		}
	}
	return own, nil
}

func handlerOf(h *C.struct_sigward_runtime_handler) Handler {
	address := "0x" + strconv.FormatUint(uint64(h.address), 16)
	switch h.address {
	case 0:
		address = "default"
	case 1:
		address = "ignored"
	}
	made := Handler{Address: address, Flags: []string{}, IsOurs: h.is_ours != 0}
	library := unsafe.Slice((*byte)(unsafe.Pointer(&h.library[0])), len(h.library))
	if name := cString(library); name != "" {
		made.Library = &name
	}
	for _, flag := range []struct {
		bit  uint32
		name string
	}{
		{1, "SA_NOCLDSTOP"},
		{2, "SA_NOCLDWAIT"},
		{4, "SA_SIGINFO"},
		{0x08000000, "SA_ONSTACK"},
		{0x10000000, "SA_RESTART"},
		{0x40000000, "SA_NODEFER"},
		{0x80000000, "SA_RESETHAND"},
	} {
		if uint32(h.flags)&flag.bit != 0 {
			made.Flags = append(made.Flags, flag.name)
		}
	}
	return made
}
