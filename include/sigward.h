#ifndef SIGWARD_H
#define SIGWARD_H

// Made by cbindgen from src/ffi. Do not edit: change the Rust side and run `make header`.

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct mmsghdr; // sys/socket.h has it with _GNU_SOURCE

// Echoes of failed writes end in our handler, every other SIGPIPE goes to whoever had it. The default.
#define SIGWARD_SIGPIPE_FILTER 0

// SIG_IGN where SIG_DFL stands, else as SIGWARD_SIGPIPE_FILTER. Children inherit SIG_IGN.
#define SIGWARD_SIGPIPE_IGNORE 1

// SIGPIPE is not touched by sigward_init.
#define SIGWARD_SIGPIPE_LEAVE 2

// Flag: one line on stderr for each swallowed SIGPIPE, as SIGWARD_LOG=stderr in the environment does.
#define SIGWARD_LOG_STDERR 1

// What the last policy call found and did.
typedef enum sigward_outcome {
    // Nobody has asked for anything, or it was taken back.
    SIGWARD_OUTCOME_UNTOUCHED = 0,
    // SIGPIPE was ignored when we came: left as it is.
    SIGWARD_OUTCOME_ALREADY_IGNORED = 1,
    // SIG_IGN now stands where SIG_DFL stood.
    SIGWARD_OUTCOME_IGNORED = 2,
    // Echoes end in our handler; `previous` gets the rest.
    SIGWARD_OUTCOME_FILTERED = 3,
} sigward_outcome;

// Where our seat for SIGPIPE is.
typedef enum sigward_seat {
    // Nowhere.
    SIGWARD_SEAT_NONE = 0,
    // First in line.
    SIGWARD_SEAT_ON_TOP = 1,
    // Beneath Go, which forwards what is not its own.
    SIGWARD_SEAT_BENEATH = 2,
    // Beneath a handler that may or may not pass signals on: sigward_ensure_on_top takes the top again.
    SIGWARD_SEAT_COVERED = 3,
} sigward_seat;

// Options of sigward_init. Set all to zero, then size.
typedef struct sigward_options {
    // sizeof(sigward_options): a library that does not know the size says so (-EINVAL).
    size_t size;
    // One of SIGWARD_SIGPIPE_*.
    uint32_t sigpipe;
    // Zero or SIGWARD_LOG_STDERR.
    uint32_t flags;
} sigward_options;

// How SIGPIPE stands now.
typedef struct sigward_sigpipe_report {
    // What the last policy call did.
    enum sigward_outcome outcome;
    // Where our seat is at this moment.
    enum sigward_seat seat;
    // With FILTERED: SIG_DFL (0), SIG_IGN (1) or the address of the handler behind us. Else 0.
    size_t previous;
} sigward_sigpipe_report;

// All counters at about one moment: each is exact, their sum may be one delivery apart.
//
// Field for field `sigward_counters` in C.
typedef struct sigward_counters {
    // Signals that came to one of our entry points; twice when a runtime above forwards to ours beneath.
    uint64_t deliveries;
    // SIGPIPEs that ended here: the write returned EPIPE and nothing else happened.
    uint64_t swallowed;
    // Signals that were given to a predecessor, SIG_DFL and SIG_IGN included.
    uint64_t chained;
    // Swallowed ones whose file descriptor could not be told for certain.
    uint64_t unattributed;
    // How often a handler was found standing where ours had been on top.
    uint64_t overwritten;
    // Races with other writers of the kernel's table, lost and put right.
    uint64_t races_repaired;
    // Circles of handlers that were cut.
    uint64_t cycles_cut;
    // Events that found their slot in the ring still being written by another thread.
    uint64_t events_dropped;
    // Zero; room for later counters.
    uint64_t reserved[8];
} sigward_counters;

// One swallowed SIGPIPE. Field for field `sigward_event` in C.
typedef struct sigward_event {
    // 1 for the first of this process, then one more each. A gap is an event that was overwritten or dropped.
    uint64_t number;
    // Nanoseconds since 1970 (`CLOCK_REALTIME`).
    uint64_t time_ns;
    // The signal: SIGPIPE.
    int signal;
    // Kernel thread id of the writer, as in /proc/PID/task.
    int32_t tid;
    // The writer's thread name, NUL-terminated (prctl(2), `PR_GET_NAME`).
    char thread[16];
    // The file descriptor that was written to, or -1 if it could not be told for certain.
    int fd;
    // 0 unknown, 1 pipe or FIFO, 2 socket, 3 other.
    int fd_kind;
    // What the write returned: `-EPIPE`, or the bytes of a partial write.
    int64_t result;
    // Inode of the pipe or socket, as in /proc/PID/fd (`socket:[…]`); 0 if unknown.
    uint64_t inode;
    // Address of the instruction after the system call.
    uint64_t pc;
    // Bytes of `peer` that count; 0 if there is no address.
    uint32_t peer_len;
    // The number of the system call (`SYS_writev`, …), or 0 if it could not be told.
    uint32_t operation;
    // The peer's `struct sockaddr`, also of a connection that is gone.
    uint8_t peer[112];
    // The link register, where there is one, and the top of the writer's stack: for finding the library that called.
    uint64_t stack[16];
    // Zero; room for later fields.
    uint64_t reserved[4];
} sigward_event;

// A guard of one thread. Its fields are the library's; it needs no initial value.
typedef struct sigward_thread_guard {
    // Not yours.
    uint64_t opaque[4];
} sigward_thread_guard;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Sets the process's policy. NULL options mean: filter SIGPIPE.
//
// Idempotent; from any thread, also many at once; works in a forked child. Call it before or after any
// other runtime starts: it looks at what stands there and chains it. In a signal handler it works or, where
// the handler interrupted this very call, returns -EDEADLK. A SIGPIPE that a thread has blocked stays
// pending there, as without us.
//
// Returns 0. -EINVAL: options of an unknown size or policy. -ENOSPC: no entry point left. -EDEADLK: see
// above. -ENOTSUP: this system shows no system call's result (filter works on Linux x86-64 and aarch64).
// Else the kernel's errno, for example -EPERM from a seccomp filter. On failure nothing has changed.
int sigward_init(const struct sigward_options *options);

// Takes the seats on top again after another runtime or library installed its handlers; what stands there
// now is chained. Does nothing without a policy, on top already, or where SIGPIPE is ignored.
//
// Thread-safe; works in a forked child. Returns 0 or as sigward_init.
int sigward_ensure_on_top(void);

// SIG_IGN where SIG_DFL stands; an existing handler is chained as by sigward_sigpipe_filter, never
// overwritten. Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init; sigward_sigpipe_status tells which it was.
int sigward_sigpipe_ignore(void);

// Lets SIGPIPEs that are the echo of a failed write end in our handler; all others pass to what stood
// there before, SIG_DFL included. Children start with SIG_DFL. Idempotent; sigward_sigpipe_restore takes it
// back. Thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init; sigward_sigpipe_status tells what was found.
int sigward_sigpipe_filter(void);

// Takes back what sigward_sigpipe_filter, sigward_sigpipe_ignore and the constructor did. What somebody
// else has installed since stays. Idempotent. Thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init.
int sigward_sigpipe_restore(void);

// Fills *out with how SIGPIPE stands now. Signal-safe, thread-safe, changes nothing.
//
// Returns 0; -EINVAL if out is NULL.
int sigward_sigpipe_status(struct sigward_sigpipe_report *out);

// Gives the handler of this signal SA_ONSTACK if it lacks it; nothing else about it changes. For handlers that
// libraries install without it (signal-hook, tokio::signal, ctrlc), which end a Go process: call it right after
// they have registered.
//
// Thread-safe; works in a forked child. Returns 1 if the handler was repaired, 0 if there was nothing to do;
// -EINVAL for a number that is no signal; else as sigward_init.
int sigward_repair(int signal);

// Fills *out with all counters. Signal-safe, thread-safe; a forked child goes on from its parent's numbers.
//
// Returns 0; -EINVAL if out is NULL.
int sigward_read_counters(struct sigward_counters *out);

// Copies events after number *cursor into out, oldest first, at most capacity of them, and moves *cursor to
// the last one looked at. Start with a cursor of 0; each reader keeps its own. The library keeps the last
// 512; a gap in the numbers is an event that was overwritten before it was read.
//
// Signal-safe, thread-safe, waits for nobody; a forked child sees its parent's events up to the fork.
//
// Returns the number of events copied, 0 if there are none; -EINVAL if a pointer is NULL.
ssize_t sigward_read_events(uint64_t *cursor, struct sigward_event *out, size_t capacity);

// Writes an event as one line of text, without a newline, NUL-terminated and cut to fit, into buf of cap
// bytes: system call, calling library, thread, descriptor, peer, result.
//
// Thread-safe; not for signal handlers. Returns the length of the text without the NUL; -EINVAL if a pointer is NULL
// or cap is 0.
ssize_t sigward_event_format(const struct sigward_event *event,
                             char *buf,
                             size_t cap);

// The name of the event's system call ("writev"), "" if it could not be told. Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_event_operation(const struct sigward_event *event);

// Writes the file name of the library (or executable) that made the event's system call, NUL-terminated and cut
// to fit, into buf of cap bytes: the C library's own wrappers left out, empty if it could not be told.
//
// Thread-safe; not for signal handlers. Returns the length of the name; -EINVAL if a pointer is NULL or cap is 0.
ssize_t sigward_event_library(const struct sigward_event *event,
                              char *buf,
                              size_t cap);

// write(2) that cannot raise SIGPIPE, whatever the process's disposition. In all else the plain call.
//
// This and the writers below need no sigward_init and change no disposition. They use RWF_NOSIGNAL (Linux
// 6.18), MSG_NOSIGNAL or, where there is neither, a guard of this thread's signal mask. Signal-safe,
// thread-safe; they work in a forked child.
//
// Returns the bytes written, or the negative errno of the plain call: -EPIPE for a broken pipe or socket.
ssize_t sigward_write(int fd, const void *buf, size_t len);

// writev(2) that cannot raise SIGPIPE. Returns the bytes written or a negative errno.
ssize_t sigward_writev(int fd, const struct iovec *iov, int iovcnt);

// send(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
ssize_t sigward_send(int fd, const void *buf, size_t len, int flags);

// sendto(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
ssize_t sigward_sendto(int fd,
                       const void *buf,
                       size_t len,
                       int flags,
                       const struct sockaddr *addr,
                       socklen_t addrlen);

// sendmsg(2) that cannot raise SIGPIPE, ancillary data and passed descriptors included. Returns the bytes
// sent or a negative errno.
ssize_t sigward_sendmsg(int fd, const struct msghdr *msg, int flags);

// sendmmsg(2) that cannot raise SIGPIPE. Returns the number of messages sent or a negative errno. Linux.
int sigward_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);

// sendfile(2) that cannot raise SIGPIPE. offset may be NULL: the file's own position. Returns the bytes
// sent or a negative errno. Linux.
ssize_t sigward_sendfile(int out_fd, int in_fd, off_t *offset, size_t count);

// splice(2) that cannot raise SIGPIPE. Returns the bytes moved or a negative errno. Linux.
ssize_t sigward_splice(int in_fd,
                       int64_t *in_off,
                       int out_fd,
                       int64_t *out_off,
                       size_t len,
                       unsigned int flags);

// Makes every write to this descriptor quiet, by any code: SO_NOSIGPIPE or F_SETNOSIGPIPE. Returns 0;
// -ENOTSUP where the system has neither, as Linux.
int sigward_set_nosigpipe(int fd);

// Keeps SIGPIPE from this thread until sigward_thread_guard_leave: for libraries that write by themselves.
//
// Guards nest. A SIGPIPE that was pending before stays pending. Enter and leave on the same thread, and
// create no thread in between: it would inherit the mask. Not across separate calls from Go, which may
// change threads in between. Signal-safe; works in a forked child.
//
// Returns 0; -EINVAL if guard is NULL; the kernel's errno if the mask cannot be changed.
int sigward_thread_guard_enter(struct sigward_thread_guard *guard);

// Ends a guard: consumes the SIGPIPE that was raised inside, if any, and restores the mask.
//
// Returns 0. -EINVAL: guard is NULL, was never entered, was left already, or was copied. -EPERM: it was
// entered by another thread. On an error nothing has changed.
int sigward_thread_guard_leave(struct sigward_thread_guard *guard);

// The library's version, for example "0.1.0". Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_version(void);

// What a code that a function of this header returned means, and what to do next. Takes the code as it
// was returned (negative) or its errno (positive). Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_strerror(int code);

// For the Go package: Go's code lies from address low to before high, so a write from there is Go's own. Idempotent,
// thread-safe.
//
// Returns 0; -EINVAL for an empty range; -ENOSPC after 16 runtimes.
int sigward_runtime_text(size_t low,
                         size_t high);

// For the Go package: 1 if Go has recorded the constructor's handler where it would have recorded SIG_DFL
// without us, 0 if not.
int sigward_runtime_default_beneath(void);

// For the Go package, between signal.Ignore and signal.Notify: puts SIG_DFL where Go has just put SIG_IGN,
// for Go to record.
//
// Returns 0 or as sigward_init.
int sigward_runtime_give_default(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIGWARD_H */
