//go:build unix

package sigward

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
)

// Readers on a hundred goroutines while others truncate, replace, refresh, close and collect
// garbage: each byte is of one version, or there is an error.
func TestMapUnderReaders(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	const size, readers = 4 * page, 100
	path := file(t, pattern(size, 0))
	var shared atomic.Pointer[Map]
	shared.Store(open(t, path, Options{}))
	var done atomic.Bool
	var right, failed atomic.Int64
	var all sync.WaitGroup
	for i := 0; i < readers; i++ {
		all.Add(1)
		go func(seed int) {
			defer all.Done()
			buffer := make([]byte, 6000)
			for round := seed; !done.Load(); round++ {
				off := int64(round * 7919 % (size - len(buffer)))
				m := shared.Load()
				var n int
				var err error
				if round%3 == 0 {
					err = m.Do(func(data []byte) error {
						if len(data) < int(off)+len(buffer) {
							return io.ErrUnexpectedEOF
						}
						n = copy(buffer, data[off:])
						return nil
					})
					if err != nil {
						n = 0
					}
				} else {
					n, err = m.ReadAt(buffer, off)
				}
				if err == nil {
					right.Add(1)
				} else {
					failed.Add(1)
				}
				if wrong := mixed(buffer[:n], int(off)); wrong != "" {
					t.Errorf("%s at %d of %d bytes, error %v", wrong, off, n, err)
					done.Store(true)
				}
				_ = make([]byte, 1<<10) // work for the collector
				runtime.Gosched()       // a turn for who changes the file
			}
		}(i)
	}
	for round := 1; round <= 60 && !done.Load(); round++ {
		switch m := shared.Load(); round % 4 {
		case 0: // a reader of the closed one gets os.ErrClosed
			shared.Store(open(t, path, Options{}))
			m.Close()
		case 1:
			truncate(t, path, int64(round%3)*page)
			runtime.Gosched()
			replace(t, path, pattern(size, byte(round)))
			if err := m.Refresh(); err != nil {
				t.Error(err)
			}
		default:
			replace(t, path, pattern(size, byte(round)))
			if err := m.Refresh(); err != nil {
				t.Error(err)
			}
			runtime.GC()
		}
	}
	for right.Load() == 0 {
		runtime.Gosched()
	}
	done.Store(true)
	all.Wait()
	t.Logf("%d reads were right, %d failed", right.Load(), failed.Load())
}

// mixed tells what is wrong with bytes that should be of one version of a pattern: "" if nothing
// is.
func mixed(got []byte, off int) string {
	if len(got) == 0 {
		return ""
	}
	// A version is a number that each byte tells.
	version := func(at int) int {
		place := at + off
		return (int(got[at]) - 1 - (place+place>>8+place>>16)%255 + 255) % 255
	}
	first := version(0)
	for at := range got {
		if got[at] == 0 {
			return fmt.Sprintf("a silent zero (byte %d)", at)
		}
		if version(at) != first {
			return fmt.Sprintf("bytes of two versions (byte %d)", at)
		}
	}
	return ""
}
