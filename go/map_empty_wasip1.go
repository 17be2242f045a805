package sigward

import "syscall"

// errEmpty would be what mapping an empty file fails with.
const errEmpty = syscall.ENOTSUP
