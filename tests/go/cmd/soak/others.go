package main

// Those who disturb: they change the files, start children, keep the collector and the scheduler
// busy, and own memory that nobody else may touch.

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"unsafe"

	sigward "github.com/sigward/sigward/go"
)

// ---------------------------------------------------------------- files

// alive are the latest files, also unlinked ones that are still mapped.
var alive [24]atomic.Pointer[file]

func note(f *file) *file {
	alive[f.id%uint64(len(alive))].Store(f)
	return f
}

func withAny(how func(*file)) {
	if f := alive[rand.Intn(len(alive))].Load(); f != nil && f.changing.TryLock() {
		defer f.changing.Unlock()
		how(f)
	}
}

func truncator() {
	for going() {
		withAny(func(f *file) {
			before := f.length.Load()
			length := rand.Int63n(before + 1)
			if rand.Intn(2) == 0 {
				length = length / page * page
			}
			f.cut(length)
			switch rand.Intn(4) {
			case 0:
				f.grow(before)
			case 1:
				f.grow(1 + rand.Int63n(longest))
			}
		})
		rest(400)
	}
}

func grower() {
	for going() {
		withAny(func(f *file) {
			if length := f.length.Load(); length > 0 && rand.Intn(4) == 0 {
				from := rand.Int63n(length)
				to := from + 1 + rand.Int63n(length-from)
				f.put(from/block*block, min(roundUp(to, block), length))
				counts.rewrites.Add(1)
				return
			}
			f.grow(1 + rand.Int63n(longest))
		})
		rest(200)
	}
}

func replacer() {
	for going() {
		if s := &slots[rand.Intn(len(slots))]; !s.immovable {
			fresh := note(newFile(s.path + ".new"))
			s.replaced.Add(1)
			must(os.Rename(s.path+".new", s.path))
			s.file.Store(fresh)
			s.replaced.Add(1)
			counts.replaces.Add(1)
		}
		rest(3000)
	}
}

// ---------------------------------------------------------------- the process

func starter() {
	for going() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			wrong(&counts.unexpected, "a child: %v", err)
		}
		counts.children.Add(1)
		rest(5000)
	}
}

// collector starts collections, besides those of GOGC=5.
func collector() {
	for going() {
		runtime.GC()
		counts.collections.Add(1)
		rest(5000)
	}
}

// busy never gives way by itself: the scheduler preempts it by a signal.
func busy() {
	for going() {
		x := rand.Uint32()
		for i := 0; i < 1<<20; i++ {
			x ^= x << 13
			x ^= x >> 17
			x ^= x << 5
		}
		sink.Store(x)
		rest(4000)
	}
}

// neighbour takes and gives back pages of the system's and of Go's, so that what a map left is used
// again at once.
func neighbour() {
	type room struct {
		words  []uint64
		seed   uint64
		mapped []byte
	}
	var kept [24]room
	for turn := 0; going() || turn%len(kept) != 0; turn++ {
		r := &kept[turn%len(kept)]
		for i, word := range r.words {
			if word != r.seed+uint64(i) {
				wrong(&counts.clobbers, "memory of others at %p: %x", &r.words[i], word)
				break
			}
		}
		if r.mapped != nil {
			must(syscall.Munmap(r.mapped))
		}
		*r = room{}
		counts.neighbours.Add(1)
		if !going() {
			continue
		}
		length := (1 + rand.Intn(8)) * page
		if rand.Intn(2) == 0 {
			r.words = make([]uint64, length/8)
		} else {
			var err error
			protection := syscall.PROT_READ | syscall.PROT_WRITE
			kind := syscall.MAP_ANON | syscall.MAP_PRIVATE
			r.mapped, err = syscall.Mmap(-1, 0, length, protection, kind)
			must(err)
			r.words = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(r.mapped))), length/8)
		}
		r.seed = rand.Uint64() | 1
		for i := range r.words {
			r.words[i] = r.seed + uint64(i)
		}
		rest(50)
	}
}

// ---------------------------------------------------------------- maps that are not the package's

// nameless is a file in memory, where every lost page has its signal.
func nameless(length int64) *os.File {
	disk, err := os.CreateTemp(folders[0], "own")
	must(err)
	must(os.Remove(disk.Name()))
	fill(disk, length)
	return disk
}

func fill(disk *os.File, length int64) {
	out := make([]byte, length)
	for i := range out {
		out[i] = 'f'
	}
	_, err := disk.WriteAt(out, 0)
	must(err)
}

// foreigner has a map that nobody guards: its faults are Go's, that is panics, and its pages are
// not patched.
func foreigner() {
	debug.SetPanicOnFault(true)
	disk := nameless(4 * page)
	defer disk.Close()
	data, err := syscall.Mmap(int(disk.Fd()), 0, 4*page, syscall.PROT_READ, syscall.MAP_SHARED)
	must(err)
	defer syscall.Munmap(data)
	for going() {
		must(disk.Truncate(page))
		at := page + rand.Intn(3*page)
		if address, faulted := faultAt(data, at); !faulted ||
			address != uintptr(unsafe.Pointer(&data[at])) {
			wrong(&counts.stolen, "a fault of nobody's map at %p came as %x, %v", &data[at],
				address, faulted)
		}
		fill(disk, 4*page)
		if data[at] != 'f' {
			wrong(&counts.clobbers, "a map that is nobody's was patched")
		}
		nilDereference()
		counts.foreign.Add(1)
		rest(1000)
	}
}

func faultAt(data []byte, at int) (address uintptr, faulted bool) {
	defer func() {
		if fault, ok := recover().(interface{ Addr() uintptr }); ok {
			address, faulted = fault.Addr(), true
		}
	}()
	sink.Store(uint32(data[at]))
	return 0, false
}

func nilDereference() {
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			wrong(&counts.unexpected, "a nil dereference did not panic")
		}
	}()
	var nothing *uint32
	sink.Store(*nothing)
}

// adopter has mappings of its own that are guarded one by one, and reads them on two goroutines at
// once.
func adopter() {
	for going() {
		f := slots[rand.Intn(len(slots))].file.Load()
		pages := f.length.Load() / page
		if pages == 0 {
			continue
		}
		data, err := syscall.Mmap(int(f.disk.Fd()), 0, int(pages*page), syscall.PROT_READ,
			syscall.MAP_SHARED)
		must(err)
		adopted, err := sigward.Adopt(data, f.disk, 0)
		if err != nil {
			wrong(&counts.unexpected, "adopt: %v", err)
			return
		}
		look := func() {
			for i := 0; i < 8; i++ {
				lost := func() int64 {
					if fault, lost := adopted.Status(); lost {
						return fault.Offset
					}
					return longest
				}
				readAdopted(f, data, 0, lost)
			}
		}
		both(look, look)
		must(adopted.Close())
		must(syscall.Munmap(data))
		counts.adopted.Add(1)
		rest(500)
	}
}

func readAdopted(f *file, data []byte, start int64, lost func() int64) {
	at := rand.Int63n(int64(len(data)))
	out := make([]byte, min(1+rand.Int63n(page), int64(len(data))-at))
	seen := f.look(start+at, start+at+int64(len(out)), false)
	copy(out, data[at:])
	good := min(max(lost()-start-at, 0), int64(len(out)))
	seen.judge(out[:good], "adopted")
}

func both(one, other func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		one()
	}()
	other()
	<-done
}

// library maps a file by itself, again and again, and is guarded by the file's name.
func library() {
	path := fmt.Sprintf("%s/library", folders[0])
	f := note(newFile(path))
	adopted, err := sigward.AdoptFile(path)
	must(err)
	for going() {
		pages := f.length.Load() / page
		if pages == 0 {
			f.changing.Lock()
			f.grow(longest)
			f.changing.Unlock()
			continue
		}
		start := rand.Int63n(pages) * page
		data, err := syscall.Mmap(int(f.disk.Fd()), start, int(pages*page-start), syscall.PROT_READ,
			syscall.MAP_SHARED)
		must(err)
		lost := func() int64 {
			if fault, lost := adopted.Status(); lost {
				return fault.Offset
			}
			return longest
		}
		for i := 0; i < 8; i++ {
			readAdopted(f, data, start, lost)
		}
		must(syscall.Munmap(data))
		if err := adopted.Heal(); err != nil {
			wrong(&counts.unexpected, "heal: %v", err)
		}
		counts.libraries.Add(1)
		rest(500)
	}
	must(adopted.Close())
}
