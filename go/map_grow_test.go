//go:build unix

package sigward

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// grown is what byte at of a file that grows is, as soon as it has been written.
func grown(at int) byte { return byte(at*7 + at/4096 + 1) }

// growable is a new empty file's map; it skips where the file system of the test's folder cannot
// promise.
func growable(t *testing.T, o Options) (*Map, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "grows")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Writable = true
	m, err := OpenWith(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Grow(1); errors.Is(err, ErrNoPromise) {
		t.Skip("the file system of temporary files cannot promise blocks")
	} else if err != nil {
		t.Fatal(err)
	}
	return m, path
}

func TestGrowWhileOthersRead(t *testing.T) {
	const step, steps = 5000, 200
	for name, capacity := range map[string]int64{"in place": 1 << 24, "moving": 1} {
		t.Run(name, func(t *testing.T) {
			m, path := growable(t, Options{Capacity: capacity})
			if _, err := m.WriteAt([]byte{grown(0)}, 0); err != nil {
				t.Fatal(err)
			}
			follower, err := OpenWith(path, Options{Capacity: 1 << 24})
			if err != nil {
				t.Fatal(err)
			}
			defer follower.Close()
			first := m.Bytes()
			var written sync.Map // lengths up to which everything is there
			written.Store(0, 1)
			done := make(chan struct{})
			var readers sync.WaitGroup
			for _, read := range []func(n int) ([]byte, error){
				func(n int) (p []byte, err error) {
					p = make([]byte, n)
					_, err = m.ReadAt(p, 0)
					return p, err
				},
				func(n int) ([]byte, error) { return m.Bytes()[:n], m.Err() },
				func(n int) (p []byte, err error) {
					err = m.Do(func(data []byte) error { p = bytes.Clone(data[:n]); return nil })
					return p, err
				},
				func(n int) ([]byte, error) {
					if _, err := follower.Follow(); err != nil {
						return nil, err
					}
					p := make([]byte, n)
					_, err := follower.ReadAt(p, 0)
					return p, err
				},
			} {
				read := read
				readers.Add(1)
				go func() {
					defer readers.Done()
					for last := false; !last; {
						select {
						case <-done:
							last = true
						default:
						}
						n, _ := written.Load(0)
						p, err := read(n.(int))
						if err != nil {
							t.Error(err)
							return
						}
						for at := 0; at < len(p); at += 61 {
							if p[at] != grown(at) {
								t.Errorf("byte %d of %d is %d", at, len(p), p[at])
								return
							}
						}
					}
				}()
			}
			for i := 1; i <= steps; i++ {
				if err := m.Grow(int64(i * step)); err != nil {
					t.Fatal(err)
				}
				if name == "moving" && i == steps/2 {
					// Beyond what the first move made room for.
					if err := m.Grow(80 << 20); err != nil {
						t.Fatal(err)
					}
					break
				}
				from := max((i-1)*step, 1)
				part := make([]byte, i*step-from)
				for at := range part {
					part[at] = grown(from + at)
				}
				if _, err := m.WriteAt(part, int64(from)); err != nil {
					t.Fatal(err)
				}
				written.Store(0, i*step)
				runtime.Gosched()
			}
			close(done)
			readers.Wait()
			if first[0] != grown(0) || m.Check(first) != nil {
				t.Error("a slice of before is no longer good")
			}
			if at := &m.Bytes()[0]; name == "in place" && at != &first[0] {
				t.Error("it moved")
			} else if name == "moving" && at == &first[0] {
				t.Error("it did not move")
			}
			if all := m.Bytes(); m.Check(all[len(all)-1:]) != nil {
				t.Error("the newest slice is not known")
			}
			if err := m.Flush(); err != nil {
				t.Error(err)
			}
			if s, err := os.Stat(path); err != nil || s.Size() != int64(m.Len()) {
				t.Errorf("%d bytes, the file is %v", m.Len(), s)
			}
			if err := m.Verify(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGrowRefused(t *testing.T) {
	m, path := growable(t, Options{Capacity: 1 << 20})
	expect := func(err error, errno syscall.Errno) {
		t.Helper()
		if !errors.Is(err, errno) {
			t.Errorf("%v, expected %v", err, errno)
		}
		if now, e := os.Stat(path); e != nil || now.Size() != int64(m.Len()) {
			t.Errorf("the file has %d bytes, the map %d", now.Size(), m.Len())
		}
	}
	expect(m.Grow(-1), syscall.EINVAL)
	expect(m.Grow(0), syscall.EINVAL)
	if err := m.Grow(1); err != nil {
		t.Error(err)
	}
	if err := m.Grow(1 << 62); err == nil {
		t.Error("grew to 2^62 bytes")
	}
	for _, o := range []Options{
		{Capacity: -1},
		{Capacity: 1, Offset: 1},
		{Capacity: 1, Len: 1},
		{Capacity: 1, CopyOnWrite: true},
		{Capacity: 1, NoDescriptor: true},
		{Capacity: 1, Strict: true},
	} {
		if _, err := OpenWith(path, o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []Options{
		{},
		{CopyOnWrite: true},
		{Writable: true, CopyOnWrite: true},
		{Writable: true, Len: 1},
		{Writable: true, NoDescriptor: true},
	} {
		other, err := OpenWith(path, o)
		if err != nil {
			t.Fatal(err)
		}
		errno := syscall.EINVAL
		if !o.Writable {
			errno = syscall.EBADF
		}
		expect(other.Grow(100), errno)
		other.Close()
		if err := other.Grow(100); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		if _, err := other.Follow(); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	}
}

func TestGrowAfterTruncation(t *testing.T) {
	m, path := growable(t, Options{Capacity: 1 << 20})
	if err := m.Grow(100_000); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := m.Grow(200_000); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	if _, err := m.Follow(); !errors.Is(err, ErrLost) {
		t.Errorf("%v", err)
	}
	if err := m.Refresh(); err != nil || m.Len() != 10 {
		t.Fatalf("%v, %d bytes", err, m.Len())
	}
	if err := m.Grow(200_000); err != nil {
		t.Fatal(err)
	}
	if _, err := m.WriteAt([]byte{7}, 199_999); err != nil {
		t.Error(err)
	}
}

// What is written through the map has to be where somebody finds it.
func TestFlushAndGrowNoticeWhatBecomesOfTheFile(t *testing.T) {
	m, path := growable(t, Options{Capacity: 1 << 22})
	if err := m.Grow(1 << 21); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte{7}, 1<<21)
	if _, err := m.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if promise, err := ReservePromise(f, 0, 1<<21); err == nil && promise == PromiseFull {
		if os.Truncate(path, 1<<12) != nil || os.Truncate(path, 1<<21) != nil {
			t.Fatal("cannot cut the file")
		}
		if err := m.Flush(); !errors.Is(err, ErrStale) {
			t.Errorf("flush of a file that was cut and is as long again: %v", err)
		}
		if err := m.Grow(1<<21 + 1); !errors.Is(err, ErrStale) {
			t.Errorf("grow: %v", err)
		}
		if err := m.Verify(); !errors.Is(err, ErrStale) {
			t.Errorf("verify: %v", err)
		}
		if err := m.Refresh(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.Grow(1<<21+1), m.Flush()); err != nil {
			t.Error(err)
		}
	}
	if err := os.Rename(path, path+".1"); err != nil || m.Flush() != nil {
		t.Error("a renamed file has a name", err)
	}
	if err := os.Remove(path + ".1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(); !errors.Is(err, ErrStale) {
		t.Errorf("flush of an unlinked file: %v", err)
	}
	if err := m.Grow(1<<21 + 2); !errors.Is(err, ErrStale) {
		t.Errorf("grow of an unlinked file: %v", err)
	}
}
