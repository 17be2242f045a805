// Command late loads libsigward.so, given as its argument, into a Go process that is long running,
// and calls sigward_init: no constructor before Go, no Go package. Without an argument it stays
// bare.
package main

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *write_once(void *failed) {
	int ends[2];
	if (pipe(ends) == 0) close(ends[0]);
	*(int *)failed = write(ends[1], "x", 1) == 1 ? 0 : errno;
	return NULL;
}

static int write_here(void) {
	int failed;
	write_once(&failed);
	return failed;
}

static int write_on_thread(void) {
	int failed = -1;
	pthread_t thread;
	if (pthread_create(&thread, NULL, write_once, &failed) == 0) pthread_join(thread, NULL);
	return failed;
}

static int load(const char *path) {
	void *library = dlopen(path, RTLD_NOW);
	int (*init)(const void *) = library ? dlsym(library, "sigward_init") : NULL;
	return init ? init(NULL) : -1;
}
*/
import "C"

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if status := C.load(C.CString(os.Args[1])); status != 0 {
			fmt.Println("not loaded:", status)
			os.Exit(3)
		}
	}
	// Ignored by Go, as it documents.
	syscall.Kill(os.Getpid(), syscall.SIGPIPE)
	time.Sleep(20 * time.Millisecond)
	heard := make(chan os.Signal, 4)
	signal.Notify(heard, syscall.SIGPIPE)
	syscall.Kill(os.Getpid(), syscall.SIGPIPE)
	select {
	case <-heard:
	case <-time.After(30 * time.Second):
		fmt.Println("not notified")
		os.Exit(4)
	}
	signal.Reset(syscall.SIGPIPE)
	fmt.Printf("here: %v; ", syscall.Errno(C.write_here()))
	fmt.Printf("on a thread: %v\n", syscall.Errno(C.write_on_thread()))
}
