#ifndef SIGWARD_GO_H
#define SIGWARD_GO_H

// Made by cbindgen from src/ffi. Do not edit: change the Rust side and run `make header`.

#include <stddef.h>
#include <stdint.h>

// What the Go package needs beside sigward.h. Not for applications: it may change at any time.

typedef struct sigward_map sigward_map;

// Who is called for a signal.
typedef struct sigward_runtime_handler {
    // SIG_DFL (0), SIG_IGN (1) or the address of a function.
    uint64_t address;
    // The SA_ flags.
    int32_t flags;
    // 1 if it is an entry point of the library.
    int32_t is_ours;
    // The file name of the executable or library that holds it, NUL-terminated; empty if unknown.
    char library[64];
} sigward_runtime_handler;

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

// What sigward_map_refresh does about a sigward_map_flush that has failed, for a map that was
// opened beside those that were there before and nobody has touched yet. older: count of them, the
// last first, whose flush it was; they stay, and others may be using them.
//
// Returns 0, also if no flush of the first has failed; the flush's errno if the kernel goes on
// keeping pages of the file: somebody has it mapped, or uses an older map; else as fsync(2).
int sigward_runtime_map_succeed(const sigward_map *map,
                                const sigward_map *const *older,
                                size_t count);

// Fills out with who is called for a signal: what the kernel calls, and who comes after it as far
// as that goes by seats of the library. At most capacity of them.
//
// Returns how many; -EINVAL for what is no signal that may be asked for, or a NULL.
int sigward_runtime_handlers(int signal, struct sigward_runtime_handler *out, size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIGWARD_GO_H */
