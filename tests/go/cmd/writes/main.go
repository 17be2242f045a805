// Writes is a Go library for a C host that makes every kind of write of package sigward meet its
// end: beyond RLIMIT_FSIZE, and in a pipe without readers. chost/writes.c is its host.
package main

import "C"

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

func main() {}

const (
	limit = 8192
	large = 64 << 10
)

// actions return the error of the write. Those of "bare" are what Go does alone.
var actions = map[string]func(folder string) error{
	"bare file": func(folder string) error { return writeTo(create(folder), false) },
	"bare pipe": func(string) error {
		return broken(func(f *os.File) error { return writeTo(f, false) })
	},
	"writer file": func(folder string) error { return writeTo(create(folder), true) },
	"writer pipe": func(string) error {
		return broken(func(f *os.File) error { return writeTo(f, true) })
	},
	"replace":        func(folder string) error { return replace(folder, make([]byte, large)) },
	"replace sparse": func(folder string) error { return replace(folder, nil) },
	"replacement": func(folder string) error {
		r, err := sigward.CreateReplacement(folder + "/destination")
		if err != nil {
			return err
		}
		defer r.Abort()
		return limited(func() error {
			_, err := r.Write(make([]byte, large))
			return err
		})
	},
	"reserve": func(folder string) error {
		f := create(folder)
		return limited(func() error { return sigward.Reserve(f, 0, large) })
	},
	"reserve behind": func(folder string) error {
		f := create(folder)
		f.Truncate(large)
		return limited(func() error { return sigward.ReserveSlowly(f, 0, large+1) })
	},
	"grow": func(folder string) error {
		create(folder)
		m, err := sigward.OpenWith(folder+"/file", sigward.Options{Writable: true, Capacity: large})
		if err != nil {
			return err
		}
		return limited(func() error { return m.Grow(large) })
	},
	"log": func(folder string) error {
		l, err := sigward.OpenLogWith(folder+"/log", sigward.LogOptions{Step: 4096})
		if err != nil {
			return err
		}
		return limited(func() error {
			_, err := l.Append(make([]byte, large))
			return err
		})
	},
	// The watermark finds no room; the records are durable without it.
	"log watermark": func(folder string) error {
		l, err := sigward.OpenLog(folder + "/log")
		if err != nil {
			return err
		}
		if _, err = l.Append([]byte("record")); err != nil {
			return err
		}
		setLimit(0)
		_, err = l.Flush()
		return err
	},
	"log begins":          func(folder string) error { return begin(folder, 4096) },
	"log begins in zeros": func(folder string) error { return begin(folder, 8192) },
}

// writes_do returns the errno of an action, 0 for none, -1 for an error without one.
//
//export writes_do
func writes_do(action, folder *C.char) C.int {
	do := actions[C.GoString(action)]
	if do == nil {
		return -2
	}
	err := do(filepath.Clean(C.GoString(folder)))
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return C.int(errno)
	}
	return -1
}

// begin makes a log of a file of zeros.
func begin(folder string, zeros int) error {
	if err := os.WriteFile(folder+"/log", make([]byte, zeros), 0o600); err != nil {
		return err
	}
	setLimit(0)
	_, err := sigward.OpenLog(folder + "/log")
	return err
}

func limited(write func() error) error {
	setLimit(limit)
	return write()
}

func setLimit(bytes uint64) {
	const fileSize = 1
	err := syscall.Setrlimit(fileSize, &syscall.Rlimit{Cur: bytes, Max: syscallInfinity})
	if err != nil {
		panic(err)
	}
}

const syscallInfinity = ^uint64(0)

func create(folder string) *os.File {
	f, err := os.Create(folder + "/file")
	if err != nil {
		panic(err)
	}
	return f
}

func writeTo(f *os.File, quietly bool) error {
	return limited(func() (err error) {
		if quietly {
			_, err = sigward.Writer(f).Write(make([]byte, large))
		} else {
			_, err = f.Write(make([]byte, large))
		}
		return err
	})
}

func broken(write func(*os.File) error) error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	reader.Close()
	return write(writer)
}

func replace(folder string, contents []byte) error {
	source := folder + "/source"
	if err := os.WriteFile(source, contents, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(source, large); err != nil {
		return err
	}
	return limited(func() error { return sigward.ReplaceFile(source, folder+"/destination") })
}
