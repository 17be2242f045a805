//go:build freebsd || openbsd || dragonfly

package sigward

import "syscall"

// errEmpty is what mapping an empty file fails with: these systems have no ENODATA.
const errEmpty = syscall.EFTYPE
