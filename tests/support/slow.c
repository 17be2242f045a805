/* A shared library to be preloaded: calls into the C library give way or nap now and then, before
 * and after, also in handlers. Whatever counts on two of them following each other at once is found
 * so. `scripts/soak` builds it; SIGWARD_SLOW names it to the tests, which hand it to their
 * hosts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ONE_IN = 24, LONGEST_NS = 2000000 };

static void pause_now_and_then(void) {
    static _Atomic uint64_t calls;
    uint64_t random =
        atomic_fetch_add(&calls, 1) * 0x9E3779B97F4A7C15 ^ (uint64_t)syscall(SYS_gettid);
    random = (random ^ random >> 31) * 0xBF58476D1CE4E5B9;
    random ^= random >> 29;
    int before = errno;
    if (random % ONE_IN == 0) {
        struct timespec nap = {0, (long)(random >> 32) % LONGEST_NS};
        syscall(SYS_nanosleep, &nap, NULL);
    } else if (random % 4 == 1) {
        sched_yield();
    }
    errno = before;
}

#define SLOW(result_type, name, parameters, ...)                       \
    static result_type(*real_##name) parameters;                       \
    __attribute__((constructor)) static void find_##name(void) {       \
        real_##name = (result_type(*) parameters)dlsym(RTLD_NEXT, #name); \
    }                                                                  \
    result_type name parameters {                                      \
        if (real_##name == NULL) find_##name();                        \
        pause_now_and_then();                                          \
        result_type result = real_##name(__VA_ARGS__);                 \
        pause_now_and_then();                                          \
        return result;                                                 \
    }

SLOW(int, close, (int fd), fd)
SLOW(int, fstat, (int fd, struct stat *out), fd, out)
SLOW(int, fstat64, (int fd, struct stat64 *out), fd, out)
SLOW(void *, mmap, (void *at, size_t length, int access, int kind, int fd, off_t offset), at,
     length, access, kind, fd, offset)
SLOW(void *, mmap64, (void *at, size_t length, int access, int kind, int fd, off64_t offset), at,
     length, access, kind, fd, offset)
SLOW(int, munmap, (void *at, size_t length), at, length)
SLOW(int, madvise, (void *at, size_t length, int advice), at, length, advice)
SLOW(int, msync, (void *at, size_t length, int flags), at, length, flags)
SLOW(int, ftruncate, (int fd, off_t length), fd, length)
SLOW(int, ftruncate64, (int fd, off64_t length), fd, length)
SLOW(int, fallocate, (int fd, int mode, off_t offset, off_t length), fd, mode, offset, length)
SLOW(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), fd, mode, offset, length)
SLOW(int, fsync, (int fd), fd)
SLOW(int, fdatasync, (int fd), fd)
SLOW(ssize_t, read, (int fd, void *to, size_t length), fd, to, length)
SLOW(ssize_t, write, (int fd, const void *from, size_t length), fd, from, length)
SLOW(ssize_t, pread64, (int fd, void *to, size_t length, off64_t offset), fd, to, length, offset)
SLOW(ssize_t, pwrite64, (int fd, const void *from, size_t length, off64_t offset), fd, from, length,
     offset)
SLOW(int, poll, (struct pollfd *all, nfds_t count, int timeout), all, count, timeout)
SLOW(int, sigaction, (int signal, const struct sigaction *new, struct sigaction *old), signal, new,
     old)
SLOW(int, pthread_sigmask, (int how, const sigset_t *new, sigset_t *old), how, new, old)
SLOW(int, sigtimedwait, (const sigset_t *set, siginfo_t *out, const struct timespec *timeout), set,
     out, timeout)
SLOW(int, rename, (const char *from, const char *to), from, to)
SLOW(int, unlink, (const char *path), path)

/* The last argument as a word of its full width, whatever it is and whether it is there. */
#define SLOW_WITH_MORE(name, parameters, last, ...) \
    int name parameters {                           \
        va_list all;                                \
        va_start(all, last);                        \
        long more = va_arg(all, long);              \
        va_end(all);                                \
        pause_now_and_then();                       \
        int result = (int)syscall(__VA_ARGS__);     \
        pause_now_and_then();                       \
        return result;                              \
    }

SLOW_WITH_MORE(open, (const char *path, int flags, ...), flags, SYS_openat, AT_FDCWD, path, flags,
               more)
SLOW_WITH_MORE(open64, (const char *path, int flags, ...), flags, SYS_openat, AT_FDCWD, path, flags,
               more)
SLOW_WITH_MORE(fcntl, (int fd, int call, ...), call, SYS_fcntl, fd, call, more)
SLOW_WITH_MORE(fcntl64, (int fd, int call, ...), call, SYS_fcntl, fd, call, more)
