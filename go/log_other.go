//go:build !cgo || !linux || (!amd64 && !arm64)

package sigward

import "syscall"

// There is one log, the library's: without it nothing is promised, and nothing opened.
const noLog = syscall.ENOSYS

func checkLog(string) (r LogReport, errno syscall.Errno) { return r, noLog }

func salvageLog(string, string) (r LogReport, errno syscall.Errno) { return r, noLog }

type logHandle struct{}

func openLogHandle(string, LogOptions) (h logHandle, found LogRecovery, errno syscall.Errno) {
	return h, found, noLog
}
func (logHandle) append([]byte) (int64, syscall.Errno) { return 0, noLog }
func (logHandle) flush() (int64, syscall.Errno)        { return 0, noLog }
func (logHandle) end() int64                           { return 0 }
func (logHandle) close() syscall.Errno                 { return noLog }

type readerHandle struct{}

func openReaderHandle(string) (h readerHandle, errno syscall.Errno) { return h, noLog }
func (readerHandle) next([]byte) (int, syscall.Errno)               { return 0, noLog }
func (readerHandle) durable() (int64, syscall.Errno)                { return 0, noLog }
func (readerHandle) position() int64                                { return 0 }
func (readerHandle) seek(int64) syscall.Errno                       { return noLog }
func (readerHandle) close()                                         {}
