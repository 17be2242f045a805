package sigward

import (
	"bytes"
	"encoding/binary"
	"os"
	"unsafe"
)

// elfFile is an ELF file of 64 bits in the order of this machine, read piece by piece. debug/elf
// would be in every program: what it needs to start is linked whether or not it is called.
type elfFile struct {
	file     *os.File
	length   int64
	sections []elfSection
	names    int
}

type elfSection struct {
	name, kind   uint32
	offset, size uint64
	link         uint32
}

const dynamicSymbols = 11

func nativeOrder() binary.ByteOrder {
	if one := uint16(1); *(*byte)(unsafe.Pointer(&one)) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

// openELF returns nil for what is none.
func openELF(name string) *elfFile {
	status, err := os.Stat(name)
	if err != nil || !status.Mode().IsRegular() {
		return nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil
	}
	e, order := &elfFile{file: file, length: status.Size()}, nativeOrder()
	head, kind := e.part(0, 64), byte(1)
	if order == binary.BigEndian {
		kind = 2
	}
	if head == nil || !bytes.Equal(head[:6], []byte{0x7f, 'E', 'L', 'F', 2, kind}) {
		file.Close()
		return nil
	}
	e.names = int(order.Uint16(head[0x3e:]))
	size, count := uint64(order.Uint16(head[0x3a:])), uint64(order.Uint16(head[0x3c:]))
	table := e.part(order.Uint64(head[0x28:]), size*count)
	for ; size >= 64 && uint64(len(table)) >= size; table = table[size:] {
		e.sections = append(e.sections, elfSection{
			name: order.Uint32(table), kind: order.Uint32(table[4:]),
			offset: order.Uint64(table[0x18:]), size: order.Uint64(table[0x20:]),
			link: order.Uint32(table[0x28:]),
		})
	}
	return e
}

// part is so many bytes, or nil if the file has not as many.
func (e *elfFile) part(offset, size uint64) []byte {
	const longest = 1 << 28
	if size > longest || offset > uint64(e.length) || offset+size > uint64(e.length) {
		return nil
	}
	made := make([]byte, size)
	if _, err := e.file.ReadAt(made, int64(offset)); err != nil {
		return nil
	}
	return made
}

// nameAt is the name that begins there.
func nameAt(names []byte, at uint32) string {
	if uint64(at) >= uint64(len(names)) {
		return ""
	}
	name, _, _ := bytes.Cut(names[at:], []byte{0})
	return string(name)
}

func hasSection(name, wanted string) bool {
	e := openELF(name)
	if e == nil {
		return false
	}
	defer e.file.Close()
	if e.names >= len(e.sections) {
		return false
	}
	names := e.part(e.sections[e.names].offset, e.sections[e.names].size)
	for _, section := range e.sections {
		if nameAt(names, section.name) == wanted {
			return true
		}
	}
	return false
}

// exports is whether it has a symbol of this name for other objects to use.
func exports(name, wanted string) bool {
	e := openELF(name)
	if e == nil {
		return false
	}
	defer e.file.Close()
	order := nativeOrder()
	for _, section := range e.sections {
		if section.kind != dynamicSymbols || uint64(section.link) >= uint64(len(e.sections)) {
			continue
		}
		names := e.part(e.sections[section.link].offset, e.sections[section.link].size)
		symbols := e.part(section.offset, section.size)
		for ; len(symbols) >= 24; symbols = symbols[24:] {
			isDefined := order.Uint16(symbols[6:]) != 0
			if isDefined && nameAt(names, order.Uint32(symbols)) == wanted {
				return true
			}
		}
	}
	return false
}
