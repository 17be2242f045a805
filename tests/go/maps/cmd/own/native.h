// The C half of the program: what a C library inside a Go process does. Each returns 0 or an errno
// value.

#ifndef OWN_NATIVE_H
#define OWN_NATIVE_H

#include <stdint.h>

// Reads the byte at the address, on the calling thread or on a pthread that Go does not know.
int native_touch(const void *address, int on_thread);

// Raises SIGBUS on the calling thread, or on a pthread.
int native_raise(int on_thread);

// Puts SIG_DFL over whatever stands there for SIGBUS, as a crash reporter does when it leaves.
int native_default(void);

// The address of the handler for SIGBUS.
uintptr_t native_handler(void);

#endif
