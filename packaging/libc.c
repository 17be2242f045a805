/* What the archive of Rust's code for glibc calls and musl does not have. scripts/isolate-archive
 * links it in, under a name that nobody else sees (ld --wrap). */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
    __attribute__((weak));
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

/* The C library's if it has one, because that is a cancellation point. A static program asks for it
 * with -u pwritev2 (sigward.pc does): a weak reference takes nothing out of an archive. */
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    if (__real_pwritev2) return __real_pwritev2(fd, iov, count, offset, flags);
    /* The offset takes two arguments; on 64-bit processors the second is of no meaning. */
    return syscall(SYS_pwritev2, (long)fd, iov, (long)count, (long)offset, 0L, (long)flags);
}
