package sigwardslog

import "syscall"

func threadID() int { return syscall.Gettid() }
