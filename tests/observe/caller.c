/* A library that writes: the one that attribution has to name. Built as a shared object. */
#include "host.h"

static struct iovec two[] = {{"one", 3}, {"two", 3}};

static int filled_pipe(void) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "1234", 4) == 4 && close(ends[1]) == 0);
    return ends[0];
}

/* Makes the call with this name on a broken descriptor; what it returned. */
__attribute__((noinline)) long caller(const char *name, int fd) {
    struct mmsghdr message = {.msg_hdr = {.msg_iov = two, .msg_iovlen = 2}};
    long result = -2;
    if (strcmp(name, "write") == 0) result = write(fd, "x", 1);
    if (strcmp(name, "writev") == 0) result = writev(fd, two, 2);
    if (strcmp(name, "pwritev2") == 0) result = pwritev2(fd, two, 2, -1, 0);
    if (strcmp(name, "sendto") == 0) result = send(fd, "x", 1, 0);
    if (strcmp(name, "sendmsg") == 0) result = sendmsg(fd, &message.msg_hdr, 0);
    if (strcmp(name, "sendmmsg") == 0) result = sendmmsg(fd, &message, 1, 0);
    if (strcmp(name, "sendfile") == 0) {
        int file = memfd_create("file", 0);
        CHECK(write(file, "1234", 4) == 4);
        result = sendfile(fd, file, &(off_t){0}, 4);
        close(file);
    }
    if (strcmp(name, "splice") == 0) {
        int filled = filled_pipe();
        result = splice(filled, NULL, fd, NULL, 4, 0);
        close(filled);
    }
    if (strcmp(name, "tee") == 0) {
        int filled = filled_pipe();
        result = tee(filled, fd, 4, 0);
        close(filled);
    }
    if (strcmp(name, "vmsplice") == 0) result = vmsplice(fd, two, 2, 0);
    if (strcmp(name, "own system call") == 0) {
        /* A library that does without the C library's wrappers. */
#ifdef __x86_64__
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "0"(SYS_write), "D"(fd), "S"("x"), "d"(1)
                         : "rcx", "r11", "memory");
        if (result < 0) errno = (int)-result, result = -1;
#else
        result = write(fd, "x", 1);
#endif
    }
    int saved = errno; /* Not a tail call: the return address must lie in here. */
    errno = saved;
    return result;
}

/* Passes on what it was given. */
__attribute__((noinline)) long relay(int fd, const void *bytes, size_t length) {
    long result = write(fd, bytes, length);
    int saved = errno; /* as above */
    errno = saved;
    return result;
}
