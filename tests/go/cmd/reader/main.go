// Command reader is tests/runtimes/reader.c in Go:
//
//	reader FILE STOP LEAST [blind]
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// mapped is a map of a file: the package's, or a bare one.
type mapped interface {
	// read copies all of it, and says how much that is, and where the lost bytes begin: at the end
	// if nothing is lost.
	read(into []byte) (length, lost int)
	refresh()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func judge(seen, content []byte) {
	if bytes.Equal(seen, content) {
		return
	}
	for at, b := range seen {
		if b == content[at] {
			continue
		}
		kind := "wrong"
		if b == 0 {
			kind = "zero"
		}
		fmt.Fprintln(os.Stderr, kind, "at", at)
		os.Exit(1)
	}
}

func main() {
	path, stop, blind := os.Args[1], os.Args[2], len(os.Args) > 4
	least, err := strconv.Atoi(os.Args[3])
	must(err)
	info, err := os.Stat(path)
	must(err)
	m, seen, content := open(path), make([]byte, info.Size()), make([]byte, info.Size())
	for at := range content {
		content[at] = byte(at%251 + 1)
	}
	reads, losses := 0, 0
	fmt.Println("ready")
	for ; !exists(stop); reads++ {
		length, lost := m.read(seen)
		isLost := lost < length
		if isLost && !blind {
			judge(seen[:lost], content[:lost])
		} else {
			judge(seen[:length], content[:length])
		}
		if isLost {
			losses++
			if losses == least {
				fmt.Println("enough")
			}
		}
		if isLost || length < len(seen) {
			m.refresh()
		}
	}
	fmt.Println("reads", reads, "losses", losses)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
