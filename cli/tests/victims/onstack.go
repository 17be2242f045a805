// onstack HOW: a Go program whose C library has a handler, "with" SA_ONSTACK or "without".
package main

// #include <signal.h>
// static void handler(int signal) { (void)signal; }
// static int install(int flags) {
//     struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
//     return sigaction(SIGRTMIN + 3, &action, NULL);
// }
import "C"

import (
	"fmt"
	"os"
)

func main() {
	flags := C.int(C.SA_RESTART)
	if os.Args[1] == "with" {
		flags |= C.SA_ONSTACK
	}
	if C.install(flags) != 0 {
		os.Exit(2)
	}
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}
