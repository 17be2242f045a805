//go:build cgo && linux && (amd64 || arm64)

package sigward_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

// scratch makes a file of 64 KiB for an example and returns its path and what removes it.
func scratch(content byte) (path string, remove func()) {
	folder, err := os.MkdirTemp("", "sigward")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(folder, "data")
	if err := os.WriteFile(path, bytes.Repeat([]byte{content}, 1<<16), 0o600); err != nil {
		log.Fatal(err)
	}
	return path, func() { os.RemoveAll(folder) }
}

// A file that is truncated while it is mapped.
func ExampleMap_ReadAt() {
	path, remove := scratch('a')
	defer remove()
	m, err := sigward.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()

	os.Truncate(path, 0) // somebody else does

	buffer := make([]byte, 16)
	n, err := m.ReadAt(buffer, 40_000)
	var lost *sigward.MapError
	if errors.As(err, &lost) {
		fmt.Println(n, lost.Cause, lost.Offset, lost.LenNow, errors.Is(err, sigward.ErrTruncated))
	}

	os.WriteFile(path, bytes.Repeat([]byte{'b'}, 1<<16), 0o600) // and writes it anew
	if err := m.Refresh(); err != nil {
		log.Fatal(err)
	}
	n, err = m.ReadAt(buffer, 40_000)
	fmt.Println(n, err, string(buffer))
	// Output:
	// 0 truncated 0 0 true
	// 16 <nil> bbbbbbbbbbbbbbbb
}

// A function that wants a slice, and its result thrown away when the bytes were not the file's.
func ExampleMap_Do() {
	path, remove := scratch('a')
	defer remove()
	m, err := sigward.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	count := func() (number int, err error) {
		err = m.Do(func(data []byte) error {
			number = bytes.Count(data, []byte("a"))
			return nil
		})
		return number, err
	}

	fmt.Println(count())
	os.Truncate(path, 1<<15)
	_, err = count()
	fmt.Println(errors.Is(err, sigward.ErrLost))
	// Output:
	// 65536 <nil>
	// true
}

// A slice for code that keeps it: hold the Map as long, and ask Err before a result is believed.
func ExampleMap_Bytes() {
	path, remove := scratch('a')
	defer remove()
	type index struct {
		file *sigward.Map // holds what words is part of
		data []byte
	}
	m, err := sigward.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	words := index{file: m, data: m.Bytes()}

	at := bytes.IndexByte(words.data, 'b')
	if err := words.file.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(at)
	// Output: -1
}

// Writing to a file that may turn out to have no room.
func ExampleMap_WriteAt() {
	path, remove := scratch('a')
	defer remove()
	m, err := sigward.OpenWith(path, sigward.Options{Writable: true})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	switch n, err := m.WriteAt([]byte("hello"), 4096); {
	case errors.Is(err, sigward.ErrNoSpace):
		fmt.Println("disk full after", n, "bytes")
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println(m.Flush())
	// Output: <nil>
}

// mapped is what a library does that maps a file by itself.
func mapped(path string) (f *os.File, data []byte, unmap func()) {
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	data, err = syscall.Mmap(int(f.Fd()), 0, 1<<16, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		log.Fatal(err)
	}
	return f, data, func() {
		syscall.Munmap(data)
		f.Close()
	}
}

// A library that maps a file by itself.
func ExampleAdoptFile() {
	path, remove := scratch('a')
	defer remove()
	_, data, unmap := mapped(path)
	defer unmap()

	guarded, err := sigward.AdoptFile(path)
	if err != nil {
		log.Fatal(err)
	}
	defer guarded.Close()
	os.Truncate(path, 0)
	found := bytes.Count(data, []byte("a")) // what the library makes of it
	if err := guarded.Err(); errors.Is(err, sigward.ErrTruncated) {
		fmt.Println("thrown away:", found)
	}
	// Output: thrown away: 0
}

// A file that is written through a map and becomes longer, without a moment in which a store could
// meet a hole.
func ExampleMap_Grow() {
	path, remove := scratch('a')
	defer remove()
	m, err := sigward.OpenWith(path, sigward.Options{Writable: true, Capacity: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Grow(1 << 20); errors.Is(err, sigward.ErrNoSpace) {
		log.Fatal("the map and the file are as they were: ", err)
	} else if err != nil {
		log.Fatal(err)
	}
	n, err := m.WriteAt([]byte("at the new end"), 1<<20-14)
	fmt.Println(m.Len(), n, err)
	// Output: 1048576 14 <nil>
}

// One mapping that somebody else made.
func ExampleAdopt() {
	path, remove := scratch('a')
	defer remove()
	f, data, unmap := mapped(path)
	defer unmap()
	guarded, err := sigward.Adopt(data, f, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer guarded.Close() // before the mapping goes

	os.Truncate(path, 1<<15)
	fmt.Println(bytes.Count(data, []byte("a")))
	loss, lost := guarded.Take() // and forgets it
	fmt.Println(lost, loss.Offset, loss.Cause, guarded.Err())
	// Output:
	// 32768
	// true 32768 truncated <nil>
}
