/* What the hosts share: the library or its absence, checks, broken pipes, a table of scenarios. */
#ifndef HOST_H
#define HOST_H

#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <netinet/in.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of the kernel that runs it: -DPAGE_BYTES=16384 or 65536 for some of arm64. */
#ifndef PAGE_BYTES
#define PAGE_BYTES 4096
#endif

#ifdef BARE
static inline int ward(void) { return 0; }
static inline int sigward_ensure_on_top(void) { return 0; }
static inline int sigward_sigpipe_restore(void) { return 0; }
static inline int sigward_sigpipe_filter(void) { return 0; }
static inline int sigward_sigpipe_ignore(void) { return 0; }
#else
#include "sigward.h"
static inline int ward(void) { return sigward_init(NULL); }
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (errno %s)\n", __FILE__, __LINE__, #condition,              \
                    strerror(errno));                                                              \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* How long something may take; an emulator multiplies it. */
static inline unsigned patience(unsigned seconds) {
    const char *factor = getenv("SIGWARD_TEST_PATIENCE");
    return seconds * (factor == NULL ? 1 : (unsigned)atoi(factor));
}

/* The write end of a pipe that nobody reads. */
static inline int broken_pipe(void) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    return ends[1];
}

/* Until the peer's reset is here: a kernel that has much to do may bring it a moment after the
 * close, also on the loopback. */
static inline void await_reset(int fd) {
    struct pollfd ours = {.fd = fd};
    CHECK(poll(&ours, 1, (int)patience(60) * 1000) == 1);
}

/* Until this process, if it has one thread, waits in a system call; who has just sent it a signal
 * sees it wait again only after the handler. */
static inline void until_it_waits(pid_t process) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    for (unsigned turn = 0;; turn++, usleep(1000)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0 && turn < patience(60000));
        ssize_t length = read(fd, line, sizeof line - 1);
        CHECK(length > 0 && close(fd) == 0);
        line[length] = 0;
        const char *name_ends = strrchr(line, ')');
        if (name_ends != NULL && name_ends[1] != 0 && name_ends[2] == 'S') return;
    }
}

/* Says in one write what stdio would say in several. */
#define SAY(...)                                                                                   \
    do {                                                                                           \
        char said[512];                                                                            \
        int length = snprintf(said, sizeof said, __VA_ARGS__);                                     \
        if (write(1, said, (size_t)length) != length) _exit(98);                                   \
    } while (0)

typedef void handler(int, siginfo_t *, void *);

static inline void install(int signal, handler *function, int flags) {
    struct sigaction action = {.sa_sigaction = function, .sa_flags = SA_SIGINFO | flags};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

static inline void *current_handler(int signal) {
    struct sigaction action;
    CHECK(sigaction(signal, NULL, &action) == 0);
    return (void *)action.sa_sigaction;
}

/* What follows the scenario's name on the command line; NULL ends it. */
static char **arguments __attribute__((unused));

struct scenario {
    const char *name;
    void (*run)(void);
};

/* Defines main: runs the scenario that the first argument names. */
#define SCENARIOS(...)                                                                             \
    int main(int argc, char **argv) {                                                              \
        static const struct scenario all[] = {__VA_ARGS__};                                        \
        for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++)                          \
            if (strcmp(all[i].name, argv[1]) == 0) {                                               \
                arguments = argv + 2;                                                              \
                all[i].run();                                                                      \
                return 0;                                                                          \
            }                                                                                      \
        fprintf(stderr, "no such scenario\n");                                                     \
        return 97;                                                                                 \
    }

#endif
