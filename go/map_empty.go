//go:build !freebsd && !openbsd && !dragonfly && !wasip1

package sigward

import "syscall"

// errEmpty is what mapping an empty file fails with.
const errEmpty = syscall.ENODATA
