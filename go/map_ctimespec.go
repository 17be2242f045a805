//go:build darwin || freebsd || netbsd

package sigward

import "syscall"

func changeTime(s *syscall.Stat_t) (seconds, nano int64) {
	return int64(s.Ctimespec.Sec), int64(s.Ctimespec.Nsec)
}
