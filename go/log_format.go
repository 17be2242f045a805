package sigward

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"syscall"
)

// The format is that of src/log/format.rs in the Rust crate, where each choice is explained. All
// numbers are little-endian.
//
//	0..24                 magic (8), version (4), salt (4), sum of these (4), zero (4)
//	512..528, 1024..1040  two slots for the durable watermark: position (8), sum (4), zero (4)
//	4096..                records at multiples of 8: length with bit 31 set (4), sum (4), payload, padding
const (
	firstRecord   = 4096
	recordPrefix  = 8
	logMagic      = "sigwlog\n"
	logVersion    = 1
	recordPresent = 1 << 31
)

// MaxRecord is how many bytes a record of a Log has at most: 1 GiB less one.
const MaxRecord = 1<<30 - 1

var watermarkSlots = [2]int64{512, 1024}

type logHeader struct {
	salt      uint32
	watermark int64
	slot      int // which has it
}

func newLogHeader(salt uint32) []byte {
	b := make([]byte, 24)
	copy(b, logMagic)
	binary.LittleEndian.PutUint32(b[8:], logVersion)
	binary.LittleEndian.PutUint32(b[12:], salt)
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:16]))
	return b
}

// readLogHeader reads the first page, of which a short file has less. errEmpty: nothing but zeros.
func readLogHeader(page []byte) (h logHeader, errno syscall.Errno) {
	if len(bytes.Trim(page, "\x00")) == 0 {
		return h, errEmpty
	}
	if len(page) < firstRecord || string(page[:8]) != logMagic ||
		crc32.ChecksumIEEE(page[:16]) != binary.LittleEndian.Uint32(page[16:]) {
		return h, syscall.EILSEQ
	}
	if binary.LittleEndian.Uint32(page[8:]) != logVersion {
		return h, syscall.EPROTONOSUPPORT
	}
	h.salt = binary.LittleEndian.Uint32(page[12:])
	found := false
	for i, at := range watermarkSlots {
		if mark, ok := readWatermark(h.salt, page[at:at+16]); ok && (!found || mark >= h.watermark) {
			h.watermark, h.slot, found = mark, i, true
		}
	}
	if !found {
		return h, syscall.EBADMSG
	}
	return h, 0
}

func newWatermark(salt uint32, mark int64) []byte {
	b := make([]byte, 16)
	binary.LittleEndian.PutUint64(b, uint64(mark))
	binary.LittleEndian.PutUint32(b[8:], crc32.Update(salt, crc32.IEEETable, b[:8]))
	return b
}

func readWatermark(salt uint32, slot []byte) (mark int64, ok bool) {
	if len(bytes.Trim(slot, "\x00")) == 0 {
		return firstRecord, true
	}
	mark = int64(binary.LittleEndian.Uint64(slot))
	return mark, bytes.Equal(slot, newWatermark(salt, mark))
}

// sizeOfRecord is what a record takes in the file.
func sizeOfRecord(length int) int64 { return recordPrefix + (int64(length)+7)&^7 }

// prefixOf is the number before a record; sum is that of its payload, begun with the salt.
func prefixOf(sum uint32, position int64, length int) uint64 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], uint64(position))
	binary.LittleEndian.PutUint64(place[8:], uint64(length))
	return uint64(crc32.Update(sum, crc32.IEEETable, place[:]))<<32 | recordPresent | uint64(length)
}

// readPrefix: length is -1 for what no writer has written.
func readPrefix(number uint64) (length int, end bool) {
	low := uint32(number)
	switch {
	case number == 0:
		return 0, true
	case low&recordPresent == 0 || low&^recordPresent > MaxRecord:
		return -1, false
	}
	return int(low &^ recordPresent), false
}
