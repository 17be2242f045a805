// Says on stdout what sigward.Audit finds, once for each letter on stdin. With an argument, a
// folder, it has much to say. h: C takes SIGUSR1 without SA_ONSTACK before; p: and SIGPIPE.
package main

// #include <pthread.h>
// #include <signal.h>
// #include <unistd.h>
// static void nothing(int number) { (void)number; }
// static void take(int number) { signal(number, nothing); }
// static void *waits(void *unused) {
//     sigset_t set;
//     sigemptyset(&set);
//     sigaddset(&set, SIGBUS);
//     sigaddset(&set, SIGPIPE);
//     pthread_sigmask(SIG_BLOCK, &set, 0);
//     for (;;) pause();
//     return unused;
// }
// static void block(void) { pthread_t thread; pthread_create(&thread, 0, waits, 0); }
import "C"

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	sigward "github.com/sigward/sigward/go"
)

func main() {
	if len(os.Args) > 1 {
		ill(os.Args[1])
	}
	fmt.Println("ready")
	for in := bufio.NewReader(os.Stdin); ; {
		letter, err := in.ReadByte()
		if err != nil {
			return
		}
		switch letter {
		case 'h':
			C.take(C.SIGUSR1)
		case 'p':
			C.take(C.SIGPIPE)
		}
		report, err := sigward.Audit()
		check(err)
		check(json.NewEncoder(os.Stdout).Encode(report))
	}
}

// ill has a bit of everything.
func ill(folder string) {
	C.block()
	signal.Ignore(syscall.SIGURG)
	child := exec.Command("sh", "-c", "trap '' PIPE; exec sleep 600")
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	check(child.Start())
	for _, name := range []string{"cut", "gone"} {
		path := filepath.Join(folder, name)
		check(os.WriteFile(path, make([]byte, 1<<20), 0o600))
		file, err := os.Open(path)
		check(err)
		_, err = syscall.Mmap(int(file.Fd()), 0, 1<<20, syscall.PROT_READ, syscall.MAP_SHARED)
		check(err)
	}
	check(os.Truncate(filepath.Join(folder, "cut"), 5))
	check(os.Remove(filepath.Join(folder, "gone")))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
