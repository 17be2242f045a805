package main

// Files, the bytes they hold, and the judgement of what was read: the scheme of soak.h.
//
// A byte is a keyed hash of (file, generation, offset) and never zero. Who writes a block takes its
// next generation before the first byte and settles it after the last; a reader notes the settled
// one before it reads and the latest one afterwards, and the byte must be of one in between. Growth
// writes content always, so a zero is never right, except behind a file's end inside its last page:
// there Verify must say that the map has changed. Outside of memory (tmpfs) Linux gives zeros for
// whole pages behind the end as well, where it keeps them in a folio that cannot be split.

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	page    = 4096
	block   = 1024
	longest = 32 * page
	tmpfs   = 0x01021994 // TMPFS_MAGIC
)

// content fills out with what the block holds in that generation.
func content(out []byte, id uint64, generation uint32, number int) {
	for i := 0; i+8 <= len(out); i += 8 {
		x := id*0x9E3779B97F4A7C15 + uint64(generation)<<40 + uint64(number*block+i)/8
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		binary.LittleEndian.PutUint64(out[i:], (x^x>>31)|0x0101010101010101)
	}
}

// state is what is known of a block: one word, so that nobody waits.
type state struct {
	started, settled, writers uint32
	raced                     bool
}

func unpack(word uint64) state {
	return state{
		uint32(word) & (1<<26 - 1),
		uint32(word>>26) & (1<<26 - 1),
		uint32(word>>52) & 255,
		word>>60 == 1,
	}
}

func (s state) pack() uint64 {
	word := uint64(s.started) | uint64(s.settled)<<26 | uint64(s.writers)<<52
	if s.raced {
		word |= 1 << 60
	}
	return word
}

func change(word *atomic.Uint64, how func(*state)) state {
	for {
		old := word.Load()
		next := unpack(old)
		how(&next)
		if word.CompareAndSwap(old, next.pack()) {
			return next
		}
	}
}

type file struct {
	id     uint64
	disk   *os.File
	coarse bool          // pages may be lost without a signal
	length atomic.Int64  // lowered before the file shrinks, raised after it has grown
	epoch  atomic.Uint64 // odd while the length changes
	blocks [longest / block]atomic.Uint64
	// Cuts inside this page << 16 | where the exempt rest begins.
	tails [longest / page]atomic.Uint32

	changing sync.Mutex // held while the length changes
}

var lastID atomic.Uint64

func newFile(path string) *file {
	disk, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	must(err)
	var system syscall.Statfs_t
	must(syscall.Fstatfs(int(disk.Fd()), &system))
	f := &file{id: lastID.Add(1), disk: disk, coarse: system.Type != tmpfs}
	for i := range f.tails {
		f.tails[i].Store(page)
	}
	f.grow(1 + rand.Int63n(longest))
	return f
}

// writing is a write to the blocks of from ≤ offset < to.
type writing struct {
	file     *file
	from, to int64
	taken    []state
}

// begin takes the blocks' next generations and makes the bytes to be written.
func (f *file) begin(from, to int64) (*writing, []byte) {
	w := &writing{file: f, from: from, to: to}
	out := make([]byte, roundUp(to-from, block))
	for at := from; at < to; at += block {
		taken := change(&f.blocks[at/block], func(s *state) {
			s.started++
			s.raced = s.raced || s.writers > 0
			s.writers++
		})
		content(out[at-from:at-from+block], f.id, taken.started, int(at/block))
		w.taken = append(w.taken, taken)
	}
	return w, out[:to-from]
}

// end settles what is surely in the file: the first good bytes.
func (w *writing) end(good int64) {
	for i, taken := range w.taken {
		at := w.from + int64(i)*block
		change(&w.file.blocks[at/block], func(s *state) {
			if s.writers--; s.writers == 0 {
				if !s.raced && min(at+block, w.to) <= w.from+good {
					s.settled = taken.started
				}
				s.raced = false
			}
		})
	}
}

// missing counts the bytes of back that neither this write nor one that raced with it wrote.
func (w *writing) missing(back []byte) (missing int) {
	for i, taken := range w.taken {
		at := int64(i) * block
		if at >= int64(len(back)) {
			break
		}
		number := int(w.from+at) / block
		first, last := taken.started, unpack(w.file.blocks[number].Load()).started
		if taken.raced {
			first = taken.settled + 1
		}
		missing += foreign(w.file.id, number, 0, first, last,
			back[at:min(at+block, int64(len(back)))], nil)
	}
	return missing
}

// foreign counts the bytes, which begin in the block at that place, that are of none of the
// generations, and calls each for those.
func foreign(
	id uint64,
	number, place int,
	first, last uint32,
	got []byte,
	each func(int),
) (count int) {
	var expected [block]byte
	found := make([]bool, len(got))
	for g := last; g >= max(first, 1); g-- {
		content(expected[:], id, g, number)
		part := expected[place : place+len(got)]
		if bytes.Equal(part, got) {
			return 0
		}
		for i := range got {
			found[i] = found[i] || part[i] == got[i]
		}
	}
	for i := range got {
		if !found[i] {
			count++
			if each != nil {
				each(i)
			}
		}
	}
	return count
}

// sight is what may be seen in a range: noted before the bytes are read.
type sight struct {
	file    *file
	from    int64
	epoch   uint64
	length  int64
	private bool // copy on write: pages may keep an older generation
	settled []uint32
	tails   []uint32
}

func (f *file) look(from, to int64, private bool) *sight {
	s := &sight{
		file:    f,
		from:    from,
		epoch:   f.epoch.Load(),
		length:  f.length.Load(),
		private: private,
	}
	for b := from / block; b <= (to-1)/block; b++ {
		settled := unpack(f.blocks[b].Load()).settled
		if private {
			settled = 1
		}
		s.settled = append(s.settled, settled)
	}
	for p := from / page; p <= (to-1)/page; p++ {
		s.tails = append(s.tails, f.tails[p].Load())
	}
	return s
}

// excuse is where in this page bytes are exempt that were read since.
func (s *sight) excuse(number int64) int64 {
	then, now := s.tails[number-s.from/page], s.file.tails[number].Load()
	if then>>16 != now>>16 || s.private && now>>16 != 0 {
		return number * page
	}
	return number*page + int64(min(then&0xFFFF, now&0xFFFF))
}

// coarseEnd is from where on a zero is nobody's fault in a coarse file.
func (s *sight) coarseEnd() int64 {
	switch {
	case !s.file.coarse:
		return longest
	case s.private || s.epoch != s.file.epoch.Load():
		return 0
	}
	return min(s.length, s.file.length.Load())
}

// judge says whether some of the bytes were only excused as the rest of a page behind the file's
// end.
func (s *sight) judge(got []byte, who string) (excused bool) {
	counts.reads.Add(1)
	counts.bytes.Add(uint64(len(got)))
	for at := 0; at < len(got); {
		offset := s.from + int64(at)
		number := offset / block
		next := min(at+int((number+1)*block-offset), len(got))
		first, last := s.settled[number-s.from/block], unpack(s.file.blocks[number].Load()).started
		start := at
		foreign(s.file.id, int(number), int(offset%block), first, last, got[at:next], func(i int) {
			place := s.from + int64(start+i)
			switch {
			case place >= s.excuse(place/page), got[start+i] == 0 && place >= s.coarseEnd():
				excused = true
			case got[start+i] == 0:
				wrong(&counts.unflagged, "%s: file %d, offset %d: 00, generations %d to %d", who,
					s.file.id, place, first, last)
			default:
				wrong(&counts.wrong, "%s: file %d, offset %d: %02x, generations %d to %d", who,
					s.file.id, place, got[start+i], first, last)
			}
		})
		at = next
	}
	return excused
}

// ---------------------------------------------------------------- changing a file that is held

func (f *file) tailBegins(end int64) {
	if tail := &f.tails[min(end/page, longest/page-1)]; end%page != 0 {
		old := tail.Load()
		tail.Store((old>>16+1)<<16 | min(old&0xFFFF, uint32(end%page)))
	}
}

func (f *file) noTail(from, to int64) {
	for p := from; p < to; p++ {
		f.tails[p].Store(f.tails[p].Load()&^0xFFFF | page)
	}
}

// cut shrinks the file, also to inside of a page.
func (f *file) cut(length int64) {
	before := f.length.Load()
	if length >= before {
		return
	}
	f.tailBegins(length)
	f.epoch.Add(1)
	f.length.Store(length)
	must(f.disk.Truncate(length))
	f.noTail(roundUp(length, page)/page, roundUp(before, page)/page)
	f.epoch.Add(1)
	counts.cuts.Add(1)
}

// grow writes from the start of the page that the file ends in.
func (f *file) grow(length int64) {
	before := f.length.Load()
	if length <= before {
		return
	}
	from := before / page * page
	f.tailBegins(length)
	f.epoch.Add(1)
	f.put(from, length)
	f.length.Store(length)
	f.noTail(from/page, length/page)
	if length%page != 0 {
		last := &f.tails[length/page]
		last.Store(last.Load()&^0xFFFF | uint32(length%page))
	}
	f.epoch.Add(1)
	counts.grows.Add(1)
}

// put writes a range that begins with a block and lies within the file or makes it longer.
func (f *file) put(from, to int64) {
	w, out := f.begin(from, to)
	_, err := f.disk.WriteAt(out, from)
	must(err)
	w.end(to - from)
}

func roundUp(number, unit int64) int64 { return (number + unit - 1) / unit * unit }
