// Dies of a mapped file that is cut, or of a closed stdout.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "cut":
		file, err := os.OpenFile(os.Args[2], os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		if err := file.Truncate(1 << 20); err != nil {
			panic(err)
		}
		data, err := syscall.Mmap(int(file.Fd()), 0, 1<<20, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			panic(err)
		}
		if err := file.Truncate(0); err != nil {
			panic(err)
		}
		fmt.Println(data[81925])
	case "deaf":
		signal.Ignore(syscall.SIGURG)
		fallthrough
	case "sleep":
		fmt.Println("ready")
		time.Sleep(10 * time.Minute)
	case "stdout":
		// The reader of stdout is gone: Go lets SIGPIPE end the program there.
		for {
			if _, err := os.Stdout.WriteString("x"); err != nil {
				os.Exit(9)
			}
		}
	case "other":
		// And on any other descriptor it is an error.
		ends := make([]int, 2)
		if err := syscall.Pipe(ends); err != nil {
			panic(err)
		}
		syscall.Close(ends[0])
		_, err := syscall.Write(ends[1], []byte("x"))
		fmt.Println(err)
	}
}
