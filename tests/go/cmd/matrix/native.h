// The C half of the matrix program: what a C library inside a Go process does.

#ifndef MATRIX_NATIVE_H
#define MATRIX_NATIVE_H

// Runs the named deed on the calling thread, or on a new pthread that is joined.
// Returns 0 for success, an errno value, or -1 for an unknown name.
int native_do(const char *name, int on_foreign_thread);

// Changes SIGPIPE's disposition after Go has started. Returns 0 or an errno value.
int native_late(const char *name);

// What the constructor did before Go started: "" for nothing, else the value of MATRIX_EARLY.
const char *native_early(void);

// Stays in C until native_release is called from another thread.
void native_wait(void);
void native_release(void);

// Starts a program that prints its own signal state to fd, and waits for it. Returns its wait
// status.
int native_spawn(const char *how, int fd);

#endif
