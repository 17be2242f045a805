//go:build cgo && !host

package main

// #cgo LDFLAGS: -lpthread
// #include <errno.h>
// #include <pthread.h>
// #include <stdint.h>
// #include <unistd.h>
// static void *writes(void *fd) {
//     return (void *)(intptr_t)(write((int)(intptr_t)fd, "x", 1) == -1 ? errno : 0);
// }
// static int on_a_thread(int fd) {
//     pthread_t thread;
//     void *result;
//     if (pthread_create(&thread, NULL, writes, (void *)(intptr_t)fd) != 0) return -1;
//     return pthread_join(thread, &result) != 0 ? -1 : (int)(intptr_t)result;
// }
import "C"

// writeOnThread writes to fd on a thread that Go did not create, and returns errno.
func writeOnThread(fd int) int { return int(C.on_a_thread(C.int(fd))) }
