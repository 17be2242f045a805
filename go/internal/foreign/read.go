//go:build cgo && linux

package foreign

/*
#include <pthread.h>
#include <stddef.h>

struct reading { const volatile unsigned char *from; size_t count; unsigned long sum; };

static void *add_up(void *argument) {
	struct reading *reading = argument;
	pthread_setname_np(pthread_self(), "foreign");
	for (size_t at = 0; at < reading->count; at++) reading->sum += reading->from[at];
	return NULL;
}

static unsigned long add_up_on_thread(const void *from, size_t count) {
	struct reading reading = {.from = from, .count = count};
	pthread_t thread;
	if (pthread_create(&thread, NULL, add_up, &reading) != 0) return -1;
	pthread_join(thread, NULL);
	return reading.sum;
}
#cgo CFLAGS: -D_GNU_SOURCE
*/
import "C"

import "unsafe"

// Sum adds up the bytes of p on a thread that Go did not create, named "foreign".
func Sum(p []byte) uint64 {
	return uint64(C.add_up_on_thread(unsafe.Pointer(unsafe.SliceData(p)), C.size_t(len(p))))
}
