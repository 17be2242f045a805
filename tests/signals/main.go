// Command signals is a Go program whose Rust half listens to signals too: signals KIND SIGNAL WARDED GOROUTINES. It sends itself
// signals while goroutines run, and says how many each side heard.
package main

/*
#cgo LDFLAGS: ${SRCDIR}/lib/liblistener.a -lm
int listener_hook(int signal, int warded);
int listener_tokio(int signal, int warded);
int listener_swallow(int signal, int warded);
unsigned listener_heard(void);
*/
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/sigward/sigward/go"
)

const rounds = 50

// busy keeps goroutines on small stacks running, where a handler without a stack of its own does harm.
func busy(depth int) int {
	if depth == 0 {
		return 1
	}
	return busy(depth-1) + 1
}

func main() {
	number, _ := strconv.Atoi(os.Args[2])
	warded, _ := strconv.Atoi(os.Args[3])
	heard := make(chan os.Signal, rounds)
	signal.Notify(heard, syscall.Signal(number))

	register := map[string]func(C.int, C.int) C.int{
		"hook":    func(s, w C.int) C.int { return C.listener_hook(s, w) },
		"tokio":   func(s, w C.int) C.int { return C.listener_tokio(s, w) },
		"swallow": func(s, w C.int) C.int { return C.listener_swallow(s, w) },
	}[os.Args[1]]
	if status := register(C.int(number), C.int(warded)); status != 0 {
		fmt.Println("not registered")
		os.Exit(3)
	}
	var stop atomic.Bool
	goroutines, _ := strconv.Atoi(os.Args[4])
	for i := 0; i < goroutines; i++ {
		go func() {
			for !stop.Load() {
				go busy(50)
				runtime.Gosched()
			}
		}()
	}
	var byGo int
	for i := 0; i < rounds; i++ {
		before := C.listener_heard()
		syscall.Kill(os.Getpid(), syscall.Signal(number))
		deadline := time.Now().Add(5 * time.Second)
		for C.listener_heard() == before && time.Now().Before(deadline) {
			time.Sleep(100 * time.Microsecond)
		}
		if os.Args[1] == "swallow" {
			continue
		}
		select {
		case <-heard:
			byGo++
		case <-time.After(5 * time.Second):
		}
	}
	stop.Store(true)
	fmt.Printf("rust %d go %d of %d\n", C.listener_heard(), byGo, rounds)
}
