package main

/*
#cgo LDFLAGS: -pthread
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct copying {
	void *to;
	const void *from;
	size_t length;
};

static void *copy(void *argument) {
	struct copying *c = argument;
	memcpy(c->to, c->from, c->length);
	return NULL;
}

// Two threads that Go does not know read the same bytes at once.
static int copy_on_threads(void *one, void *other, const void *from, size_t length) {
	struct copying both[2] = {{one, from, length}, {other, from, length}};
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, copy, &both[i]) != 0) return -1;
	for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
	return 0;
}

// As if nobody guarded: the kernel's default.
static void unguard(void) { signal(SIGBUS, SIG_DFL); }
*/
import "C"

import (
	"errors"
	"unsafe"
)

func unguard() { C.unguard() }

// readOnThreads copies part to out, and to the slice that it returns, on threads of C.
func readOnThreads(part, out []byte) []byte {
	second := make([]byte, len(out))
	if C.copy_on_threads(
		unsafe.Pointer(&out[0]),
		unsafe.Pointer(&second[0]),
		unsafe.Pointer(&part[0]),
		C.size_t(len(part)),
	) != 0 {
		must(errors.New("pthread_create failed"))
	}
	counts.native.Add(1)
	return second
}
