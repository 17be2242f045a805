//go:build unix && (!cgo || !linux || (!amd64 && !arm64))

package sigward

import (
	"math"
	"syscall"
)

// roomAtLeast is how much a mapping that moves has at least.
const roomAtLeast = 64 << 20

// grow makes file and mapping n bytes long. Only one at a time.
func (c *mapping) grow(n int64, slowly bool) (*mapping, syscall.Errno) {
	if _, lost := c.status(); lost {
		return nil, syscall.EFAULT
	}
	errno := c.checkGround()
	switch {
	case errno != 0:
		return nil, errno
	case n < int64(len(c.data)):
		return nil, syscall.EINVAL
	}
	whole, moved := c.wholes[len(c.wholes)-1], false
	if n > int64(len(whole)) {
		if whole, errno = c.mapMore(n); errno != 0 {
			return nil, errno
		}
		moved = true
	}
	if c.promised < n {
		promise, errno := reserve(c.fd, c.promised, n-c.promised, slowly)
		if errno != 0 {
			if moved {
				syscall.Munmap(whole)
			}
			if errno == syscall.ENOSYS {
				errno = syscall.EOPNOTSUPP
			}
			return nil, errno
		}
		c.promised = n
		if promise == PromiseFull {
			c.kept.Store(n)
		}
	}
	if moved {
		c.faulted.Lock()
		c.wholes = append(c.wholes, whole)
		c.grows.Store(true)
		c.faulted.Unlock()
	}
	return c.longer(whole, n), 0
}

// mapMore maps the file again, with room for twice n bytes if that can be had.
func (c *mapping) mapMore(n int64) (whole []byte, errno syscall.Errno) {
	plenty := int64(math.MaxInt / 4)
	if n < plenty {
		plenty = max(2*n, roomAtLeast)
	}
	for _, room := range []int64{plenty, n} {
		errno = eintr(func() (err error) {
			whole, err = syscall.Mmap(c.fd, 0, int(max(room, n)),
				syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			return err
		})
		if errno != syscall.ENOMEM && errno != syscall.EAGAIN {
			break
		}
	}
	return whole, errno
}

func (c *mapping) follow() (*mapping, syscall.Errno) {
	now, errno := statNow(c.fd)
	switch {
	case c.fd < 0:
		return nil, syscall.EINVAL
	case errno != 0:
		return nil, errno
	case now.size < c.begin+int64(len(c.data)):
		return nil, syscall.EFAULT
	case !c.grows.Load():
		return c, 0
	}
	c.faulted.Lock()
	whole := c.wholes[len(c.wholes)-1]
	c.faulted.Unlock()
	return c.longer(whole, min(now.size, int64(len(whole)))), 0
}

// longer is the first n bytes of a whole. A loss that one of them has met is one of all.
func (c *mapping) longer(whole []byte, n int64) *mapping {
	return &mapping{
		data:       whole[:n:n],
		lowestLost: c.lowestLost,
		identity:   c.identity,
		ground:     c.ground,
	}
}
