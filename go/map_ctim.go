//go:build unix && !darwin && !freebsd && !netbsd

package sigward

import "syscall"

func changeTime(s *syscall.Stat_t) (seconds, nano int64) {
	return int64(s.Ctim.Sec), int64(s.Ctim.Nsec)
}
