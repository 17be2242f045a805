// What a quiet write costs against the plain call, and against the way that libpq and OpenSSL's
// users go about it.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

static void nothing(void) {}

// Made on first use, in the worker. Read empty after each batch.
static int ends[2] = {-1, -1};

static void need_pipe(void) {
    if (ends[0] < 0) check(pipe(ends) == 0, "pipe");
}

static void need_socket(void) {
    if (ends[0] >= 0) return;
    int room = 4 << 20;
    check(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
    check(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0 ||
              setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0, "SO_SNDBUF");
}

static void drain(unsigned bytes) {
    static char sink[1 << 16];
    while (bytes > 0) {
        ssize_t count = read(ends[0], sink, sizeof sink);
        check(count > 0, "read");
        bytes -= (unsigned)count;
    }
}

// LOOP(what is needed, the call, bytes each) makes the body of a batch.
#define LOOP(need, call, bytes)                                                                    \
    need();                                                                                        \
    uint64_t start = now_ns();                                                                     \
    for (unsigned i = 0; i < count; i++) check((call) == (bytes), "a short write");                \
    uint64_t took = now_ns() - start;                                                              \
    drain(count * (bytes));                                                                        \
    return took

static uint64_t quiet_send(unsigned count) {
    LOOP(need_socket, sigward_send(ends[1], "x", 1, 0), 1);
}
static uint64_t plain_send(unsigned count) {
    LOOP(need_socket, send(ends[1], "x", 1, MSG_NOSIGNAL), 1);
}
static uint64_t quiet_write(unsigned count) { LOOP(need_pipe, sigward_write(ends[1], "x", 1), 1); }
static uint64_t plain_write(unsigned count) { LOOP(need_pipe, write(ends[1], "x", 1), 1); }

// The call by which the kernel is quiet, as its manual has it: what a vector of one costs more than
// write(2) is the kernel's.
static uint64_t flagged_write(unsigned count) {
    const struct iovec part = {"x", 1};
    LOOP(need_pipe, pwritev2(ends[1], &part, 1, -1, 0x100 /* RWF_NOSIGNAL */), 1);
}

static struct iovec parts[] = {
    {"0123456789abcdef", 16}, {"0123456789abcdef", 16}, {"0123456789abcdef", 16}};
static uint64_t quiet_writev(unsigned count) {
    LOOP(need_socket, sigward_writev(ends[1], parts, 3), 48);
}
static uint64_t plain_writev(unsigned count) { LOOP(need_socket, writev(ends[1], parts, 3), 48); }

// pq_block_sigpipe, the write, pq_reset_sigpipe: libpq's fe-secure.c in its own words.
static ssize_t masked_write(int fd, const void *data, size_t length) {
    sigset_t only, before, pending;
    sigemptyset(&only);
    sigaddset(&only, SIGPIPE);
    if (pthread_sigmask(SIG_BLOCK, &only, &before) != 0) return -1;
    if (sigismember(&before, SIGPIPE) || sigpending(&pending) != 0) return -1;
    ssize_t written = write(fd, data, length);
    int saved = errno;
    if (written < 0 && saved == EPIPE && sigpending(&pending) == 0 &&
        sigismember(&pending, SIGPIPE)) {
        int signal;
        sigwait(&only, &signal);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return written;
}
static uint64_t libpq_write(unsigned count) {
    LOOP(need_pipe, masked_write(ends[1], "x", 1), 1);
}

int main(int argc, char **argv) {
    (void)argc;
    prepare(argv);
    const struct side quiet = {nothing, quiet_write};
    const struct row rows[] = {
        {"send / send(MSG_NOSIGNAL)",
         {nothing, quiet_send},
         {nothing, plain_send},
         2000,
         20,
         40,
         "1.02"},
        {"pipe write, quiet / pwritev2", quiet, {nothing, flagged_write}, 4000, 20, 40, "1.05"},
        {"pipe write, quiet / write", quiet, {nothing, plain_write}, 4000, 20, 40, "-"},
        {"pipe write, quiet / libpq's way", quiet, {nothing, libpq_write}, 4000, 20, 20, "0.75"},
        {"vectored write, quiet / writev",
         {nothing, quiet_writev},
         {nothing, plain_writev},
         2000,
         20,
         40,
         "1.05"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
