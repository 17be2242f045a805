//go:build cgo && linux && (amd64 || arm64)

package sigward_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

// Blocks first: a full disk is an error here, and not the death of whoever writes through a map.
func ExampleReserve() {
	path, remove := scratch('a')
	defer remove()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	err = sigward.Reserve(f, 0, 1<<20)
	if errors.Is(err, sigward.ErrNoPromise) { // ext2, some network file systems
		err = sigward.ReserveSlowly(f, 0, 1<<20)
	}
	if errors.Is(err, sigward.ErrNoSpace) {
		log.Fatal("make room: the file is as it was: ", err)
	}
	info, _ := f.Stat()
	fmt.Println(info.Size(), err)
	// Output: 1048576 <nil>
}

// What cp would do to a file that others have open, but with the old file or the new one at every
// moment.
func ExampleReplaceFile() {
	fresh, removeFresh := scratch('n')
	defer removeFresh()
	live, removeLive := scratch('o')
	defer removeLive()
	reader, err := os.Open(live)
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()

	if err := sigward.ReplaceFile(fresh, live); err != nil {
		log.Fatal(err)
	}

	old := make([]byte, 3)
	reader.Read(old) // whoever has the old file keeps it, whole
	now, _ := os.ReadFile(live)
	fmt.Println(string(old), string(now[:3]))
	// Output: ooo nnn
}

// A file written anew, which nobody sees before it is whole.
func ExampleCreateReplacement() {
	path, remove := scratch('o')
	defer remove()
	fresh, err := sigward.CreateReplacement(path)
	if err != nil {
		log.Fatal(err)
	}
	defer fresh.Abort() // nothing to do after Commit
	fmt.Fprintln(fresh, "the new contents")
	before, _ := os.ReadFile(path)
	if err := fresh.Commit(); err != nil {
		log.Fatal(err)
	}
	after, _ := os.ReadFile(path)
	fmt.Printf("%s, %s", before[:3], after)
	// Output: ooo, the new contents
}

// The bytes of a file that somebody may cut at any moment.
func ExampleSnapshot() {
	path, remove := scratch('a')
	defer remove()
	frozen, err := sigward.Snapshot(path)
	if err != nil {
		log.Fatal(err)
	}
	defer frozen.Close()

	os.Truncate(path, 0) // somebody else does

	data, err := frozen.Bytes()
	fmt.Println(len(data), err)
	// Output: 65536 <nil>
}

// Told before the file is written to.
func ExampleTakeLease() {
	path, remove := scratch('a')
	defer remove()
	lease, err := sigward.TakeLease(path)
	if err != nil {
		log.Fatal(err)
	}

	// Somebody wants to cut the file, and would wait; this one does not.
	_, err = os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NONBLOCK, 0)
	fmt.Println(errors.Is(err, syscall.EWOULDBLOCK))

	<-lease.Wanted()
	data := make([]byte, 3)
	lease.File().Read(data) // finish what was begun
	fmt.Println(string(data), lease.Release())
	// Output:
	// true
	// aaa <nil>
}

// A journal that loses no record whose Append has returned when the process is killed.
func ExampleOpenLog() {
	path, remove := scratch('a')
	defer remove()
	journal, err := sigward.OpenLog(path + ".log")
	if err != nil {
		log.Fatal(err)
	}
	defer journal.Close()
	for _, order := range []string{"order 1", "order 2"} {
		if _, err := journal.Append([]byte(order)); errors.Is(err, sigward.ErrNoSpace) {
			log.Print("disk full: what is there is safe, later ones may find room: ", err)
		} else if err != nil {
			log.Fatal(err)
		}
	}
	if _, err := journal.Flush(); err != nil { // from here on the machine may stop as well
		log.Fatal(err)
	}

	reader, err := sigward.OpenLogReader(path + ".log") // in this process or another one
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Close()
	for record, err := reader.Next(); err == nil; record, err = reader.Next() {
		fmt.Println(string(record))
	}
	// Output:
	// order 1
	// order 2
}

// A table that somebody updates while it is used.
func ExampleOpenReloading() {
	path, remove := scratch('a')
	defer remove()
	write := func(text string) {
		fresh, err := sigward.CreateReplacement(path)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(fresh, text)
		if err := fresh.Commit(); err != nil {
			log.Fatal(err)
		}
	}
	write("Oslo Lima")
	cities, err := sigward.OpenReloading(path, func(data []byte) ([]string, error) {
		return strings.Fields(string(data)), nil // an error keeps the version before
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cities.Close()

	changed := cities.Changed()
	first := cities.Get() // stays as it is for as long as it is held
	write("Kyiv")
	<-changed
	fmt.Println(first.Value, cities.Get().Value, cities.Err())
	// Output: [Oslo Lima] [Kyiv] <nil>
}
