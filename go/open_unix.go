//go:build unix

package sigward

import "syscall"

// waitForNobody are the flags of open(2) for a path that may be a pipe or a terminal.
const waitForNobody = syscall.O_NONBLOCK | syscall.O_NOCTTY
