//go:build !linux || (!amd64 && !arm64)

package sigward

import "syscall"

// reserve has no call to make on other systems, and no list of holes.
func reserve(_ int, _, length int64, _ bool) (Promise, syscall.Errno) {
	if length <= 0 {
		return 0, syscall.EINVAL
	}
	return 0, syscall.ENOSYS
}
