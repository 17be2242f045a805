package sigward

import "syscall"

// Grow makes the map and its file n bytes long: for a map of a whole file with Options.Writable.
// The file gets blocks for every byte first, then the map its new length. So a full disk is an
// error of Grow, and afterwards a write to any byte of the map finds its block, also on a disk that
// is full by then (on btrfs once: see PromiseFirstWrite). New bytes are zeros. A file that somebody
// else has made longer stays so.
//
// Up to Options.Capacity nothing moves; beyond, the map moves to where there is twice as much room,
// and what was there stays mapped with it. In both cases nobody who reads or writes waits, and
// slices from Bytes stay good: they show the same file, as far as they reach. Each call costs some
// system calls, fallocate(2) among them, so grow in large steps.
//
// It fails with a *MapError, and then the map, the file's length and every byte in it are as they
// were (see Reserve): ErrNoSpace (no room, or no quota), ErrNoPromise (this file system cannot
// promise blocks: see Options.ReserveSlowly), EFBIG beyond RLIMIT_FSIZE, ENOMEM where there is no
// address space for so much, ErrLost where bytes of the map are lost (Refresh first), ErrStale
// where the file was unlinked, replaced, or cut and made as long again (see Flush), EBADF for a map
// that is not writable, EINVAL for a length below the map's or a map that cannot grow (a part of a
// file, CopyOnWrite, NoDescriptor).
func (m *Map) Grow(n int64) error {
	m.growing.Lock()
	defer m.growing.Unlock()
	_, err := m.lengthen("grow", func(c *mapping) (*mapping, syscall.Errno) {
		switch {
		case !m.options.Writable:
			return nil, syscall.EBADF
		case n < 0, !m.options.wholeFile(), m.options.CopyOnWrite, m.options.NoDescriptor:
			return nil, syscall.EINVAL
		case int64(int(n)) != n:
			return nil, syscall.EOVERFLOW
		}
		return c.grow(n, m.options.ReserveSlowly)
	})
	return err
}

// Follow takes over the length that the file has now, up to Options.Capacity, and returns the map's
// length: for readers of a file that another process, or another Map, makes longer. The map never
// becomes shorter; ErrLost if the file did. It makes one system call.
func (m *Map) Follow() (int, error) {
	return m.lengthen("follow", (*mapping).follow)
}

// lengthen puts the view that call makes of the current mapping in its place.
func (m *Map) lengthen(op string, call func(*mapping) (*mapping, syscall.Errno)) (int, error) {
	for {
		c := m.current.Load()
		if c == nil {
			return 0, closedError(op, m.path)
		}
		next, errno := call(c)
		if errno != 0 {
			return 0, m.failure(c, op, errno)
		}
		// Refresh, Close or the other one of Grow and Follow may have come in between: then again.
		if len(next.data) == len(c.data) && next.lowestLost == c.lowestLost ||
			m.current.CompareAndSwap(c, next) {
			return len(next.data), nil
		}
	}
}
