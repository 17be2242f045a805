//go:build unix

package sigward

import (
	"os"
	"testing"
)

// The cost of a read in a Map against a plain copy of as many bytes, and against pread: ratios
// within one run count.

const benchmarkSize = 1 << 22

// benchmark makes a map whose pages are all there.
func benchmark(b *testing.B, length int) (m *Map, p []byte) {
	m = open(b, file(b, pattern(benchmarkSize, 0)), Options{Populate: true})
	b.SetBytes(int64(length))
	b.ResetTimer()
	return m, make([]byte, length)
}

// next is another place in the first half, not on one line of the cache with this one.
func next(off int64) int64 { return (off + 4096 + 64) & (benchmarkSize/2 - 1) }

func benchmarkCopy(b *testing.B, length int) {
	m, p := benchmark(b, length)
	data := m.Bytes()
	for i, off := 0, int64(0); i < b.N; i, off = i+1, next(off) {
		copy(p, data[off:])
	}
}

func benchmarkReadAt(b *testing.B, length int) {
	m, p := benchmark(b, length)
	for i, off := 0, int64(0); i < b.N; i, off = i+1, next(off) {
		if n, err := m.ReadAt(p, off); n != len(p) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func benchmarkPread(b *testing.B, length int) {
	m, p := benchmark(b, length)
	f, err := os.Open(m.path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for i, off := 0, int64(0); i < b.N; i, off = i+1, next(off) {
		if n, err := f.ReadAt(p, off); n != len(p) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkCopy16(b *testing.B)   { benchmarkCopy(b, 16) }
func BenchmarkReadAt16(b *testing.B) { benchmarkReadAt(b, 16) }
func BenchmarkPread16(b *testing.B)  { benchmarkPread(b, 16) }
func BenchmarkCopy4K(b *testing.B)   { benchmarkCopy(b, 4096) }
func BenchmarkReadAt4K(b *testing.B) { benchmarkReadAt(b, 4096) }
func BenchmarkPread4K(b *testing.B)  { benchmarkPread(b, 4096) }

func BenchmarkDo16(b *testing.B) {
	m, p := benchmark(b, 16)
	for i, off := 0, int64(0); i < b.N; i, off = i+1, next(off) {
		if err := m.Do(func(data []byte) error {
			copy(p, data[off:])
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBytesErr16(b *testing.B) {
	m, p := benchmark(b, 16)
	for i, off := 0, int64(0); i < b.N; i, off = i+1, next(off) {
		copy(p, m.Bytes()[off:])
		if err := m.Err(); err != nil {
			b.Fatal(err)
		}
	}
}
