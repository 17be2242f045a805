// Command signals is a Go program whose Rust half listens to signals too: signals KIND SIGNAL
// WARDED GOROUTINES. It sends itself signals while goroutines run, and says how many each side
// heard.
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

// neighbours is how many goroutines wait, on the smallest stacks there are, one stack beside the
// other.
const neighbours = 1000

// neighbour has a goroutine wait in the middle of its work, and send the signal if it is told to.
// What it finds when it goes on is what it left there, if nobody has written over its stack.
func neighbour(number int, round <-chan int) {
	var canary [32]int
	for {
		for i := range canary {
			canary[i] = number ^ i
		}
		signal, more := <-round
		if !more {
			return
		}
		if signal != 0 {
			raise(signal)
		}
		for i := range canary {
			if canary[i] != number^i {
				panic("a stack was written over")
			}
		}
	}
}

// raise sends the signal to the thread that runs this goroutine. It comes as the system call
// returns: on the goroutine's own stack, of some kilobytes, if the handler asks for no other. Where
// a signal for the process comes is luck: mostly on a thread that sleeps, on a large stack.
func raise(number int) {
	thread, _, _ := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), thread, uintptr(number))
}

// busy keeps goroutines on small stacks running, where a handler without a stack of its own does
// harm.
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
	round := make(chan int)
	send := func() { syscall.Kill(os.Getpid(), syscall.Signal(number)) }
	if os.Args[1] == "swallow" {
		for i := 0; i < neighbours; i++ {
			go neighbour(i, round)
		}
		send = func() { round <- number }
	}
	var byGo int
	for i := 0; i < rounds; i++ {
		before := C.listener_heard()
		send()
		deadline := time.Now().Add(5 * time.Second)
		for C.listener_heard() == before && time.Now().Before(deadline) {
			time.Sleep(100 * time.Microsecond)
		}
		if os.Args[1] == "swallow" {
			for n := 0; n < neighbours; n++ {
				round <- 0
			}
			continue
		}
		select {
		case <-heard:
			byGo++
		case <-time.After(5 * time.Second):
		}
	}
	stop.Store(true)
	close(round)
	fmt.Printf("rust %d go %d of %d\n", C.listener_heard(), byGo, rounds)
}
