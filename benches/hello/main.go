// Command hello is a small Go program that uses cgo and, as every service does, fmt, os/signal and
// time. With the tag sigward it imports the package besides: benches/run compares the sizes.
package main

// static int answer(void) { return 42; }
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	fmt.Println("hello", C.answer(), time.Now().Year() > 2000)
}
