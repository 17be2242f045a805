//go:build amd64 || arm64

package sigward

import (
	"syscall"
	"unsafe"
)

// extent is a run of blocks, in bytes from the start of the file.
type extent struct{ start, end int64 }

// fiemap is struct fiemap with room for some extents (Documentation/filesystems/fiemap.rst).
type fiemap struct {
	start, length          uint64
	flags, mapped, room, _ uint32
	extents                [64]struct {
		logical, physical, length uint64
		_                         [2]uint64
		flags                     uint32
		_                         [3]uint32
	}
}

// extents lists those that touch the range, cut to it, in order. With settled, what was written is
// on the disk first. EOPNOTSUPP or ENOTTY where the file system has no such list. SEEK_HOLE will
// not do: to it a reservation is a hole.
func extents(fd int, start, end int64, settled bool) (found []extent, errno syscall.Errno) {
	const request, sync, last = 0xc020660b, 1, 1
	for start < end {
		list := fiemap{start: uint64(start), length: uint64(end - start)}
		list.room = uint32(len(list.extents))
		if settled {
			list.flags = sync
		}
		if errno := ioctl(fd, request, unsafe.Pointer(&list)); errno != 0 {
			return nil, errno
		}
		if list.mapped == 0 {
			break
		}
		for _, e := range list.extents[:list.mapped] {
			from, to := max(int64(e.logical), start), min(int64(e.logical+e.length), end)
			if from < to {
				found = append(found, extent{from, to})
			}
		}
		tail := list.extents[list.mapped-1]
		if tail.flags&last != 0 {
			break
		}
		start = max(int64(tail.logical+tail.length), start+1)
	}
	return found, 0
}

// gaps are the parts of the range that none of taken, which are in order, has.
func gaps(start, end int64, taken []extent) (free []extent) {
	for _, e := range taken {
		if e.start >= end {
			break
		}
		if e.start > start {
			free = append(free, extent{start: start, end: e.start})
		}
		start = max(start, e.end)
	}
	if start < end {
		free = append(free, extent{start: start, end: end})
	}
	return free
}
