#ifndef SIGWARD_GO_H
#define SIGWARD_GO_H

// Made by cbindgen from src/ffi. Do not edit: change the Rust side and run `make header`.

#include <stddef.h>

// What the Go package needs beside sigward.h. Not for applications: it may change at any time.

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Go's code lies from address low to before high, so a write from there is Go's own. Idempotent,
// thread-safe.
//
// Returns 0; -EINVAL for an empty range; -ENOSPC after 16 runtimes.
int sigward_runtime_text(size_t low, size_t high);

// 1 if Go has recorded the constructor's handler where it would have recorded SIG_DFL
// without us, 0 if not.
int sigward_runtime_default_beneath(void);

// Between signal.Ignore and signal.Notify: puts SIG_DFL where Go has just put SIG_IGN,
// for Go to record.
//
// Returns 0 or as sigward_init.
int sigward_runtime_give_default(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIGWARD_GO_H */
