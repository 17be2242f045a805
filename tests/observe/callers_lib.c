/* A library that writes in the ways that compilers know. Built with many flags, also into the
 * program itself. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

typedef ssize_t writes(int, const void *, size_t);
#define APART __attribute__((noinline, noclone, visibility("default")))
/* Not a tail call: the return address lies here. */
#define HERE(call)                                                                               \
    do {                                                                                         \
        long result = (call);                                                                    \
        __asm__ volatile("" ::: "memory");                                                       \
        return result;                                                                           \
    } while (0)

static writes *volatile changing = write;
static writes *found;
static struct {
    const char *name;
    writes *write;
} table[] = {{"none", NULL}, {"write", write}};

/* Sqlite's and many others' habit: a table whose entries can be replaced. */
APART void replace(writes *other) { table[1].write = other, found = other; }

APART long direct(int fd) { HERE(write(fd, "x", 1)); }
APART long vector(int fd) {
    struct iovec two[] = {{"one", 3}, {"two", 3}};
    HERE(writev(fd, two, 2));
}
APART long message(int fd) {
    struct iovec one = {"one", 3};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    HERE(sendmsg(fd, &message, 0));
}
APART long pointer(int fd) { HERE(changing(fd, "x", 1)); }
APART long of_table(int fd) { HERE(table[1].write(fd, "x", 1)); }
APART long of_dlsym(int fd) {
#ifdef ONE
    found = write;
#else
    if (!found) *(void **)&found = dlsym(RTLD_DEFAULT, "write");
#endif
    HERE(found(fd, "x", 1));
}
/* What a caller has passed may be anybody's. */
APART long passed(int fd, writes *function) { HERE(function(fd, "x", 1)); }
APART long of_argument(int fd) { HERE(passed(fd, write)); }

/* Where there is optimisation these jump. */
__attribute__((noinline, noclone)) static long helper(int fd, size_t length) {
    return write(fd, "x", length);
}
APART long by_helper(int fd) { HERE(helper(fd, 1)); }
APART long jumps(int fd) { return write(fd, "x", 1); }
APART long by_jump(int fd) { HERE(jumps(fd)); }

APART long buffered(int fd) {
    FILE *file = fdopen(dup(fd), "w");
    setvbuf(file, NULL, _IONBF, 0);
    long result = fputs("x", file);
    int saved = errno;
    fclose(file);
    errno = saved;
    return result;
}
APART long printed(int fd) { HERE(dprintf(fd, "%d", 1)); }
