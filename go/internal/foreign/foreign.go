//go:build cgo && linux

// Package foreign writes where Go does not: for the tests of package sigward.
package foreign

/*
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

struct job { int fd, error; };

static void *write_one(void *argument) {
	struct job *job = argument;
	pthread_setname_np(pthread_self(), "foreign");
	job->error = write(job->fd, "x", 1) == 1 ? 0 : errno;
	return NULL;
}

static int write_on_thread(int fd) {
	struct job job = {.fd = fd};
	pthread_t thread;
	if (pthread_create(&thread, NULL, write_one, &job) != 0) return -1;
	pthread_join(thread, NULL);
	return job.error;
}

static int write_here(int fd) { return write(fd, "x", 1) == 1 ? 0 : errno; }

static unsigned long write_on_thread_address(void) { return (unsigned long)write_on_thread; }
#cgo CFLAGS: -D_GNU_SOURCE
*/
import "C"

import "syscall"

// Write writes one byte to fd on a thread that Go did not create, named "foreign".
func Write(fd int) error {
	if status := C.write_on_thread(C.int(fd)); status != 0 {
		return syscall.Errno(status)
	}
	return nil
}

// WriteHere writes one byte to fd in C, on the thread that calls it.
func WriteHere(fd int) error {
	if status := C.write_here(C.int(fd)); status != 0 {
		return syscall.Errno(status)
	}
	return nil
}

// Code is the address of C code in this program.
func Code() uintptr { return uintptr(C.write_on_thread_address()) }
