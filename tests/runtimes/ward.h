/* What the runtimes' C halves share: the library or its absence, and writes on threads of no
 * runtime. */
#ifndef WARD_H
#define WARD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (errno %s)\n", __FILE__, __LINE__, #condition,              \
                    strerror(errno));                                                              \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

#ifdef BARE
static inline int ward(void) { return 0; }
static inline int replace(void) { return 0; }
static inline int mend(void) { return 0; }
static inline int unward(void) { return 0; }
static inline uint64_t overwritten(void) { return 0; }
static inline uint64_t swallowed(void) { return 0; }
static inline void tell(char *text, size_t room) { snprintf(text, room, "bare"); }
#else
#include "sigward.h"
static inline int ward(void) { return sigward_init(NULL); }
static inline int replace(void) {
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_REPLACE_IGNORE};
    return sigward_init(&options);
}
static inline int mend(void) { return sigward_ensure_on_top(); }
static inline int unward(void) { return sigward_sigpipe_restore(); }

static inline sigward_counters counters(void) {
    sigward_counters now;
    CHECK(sigward_read_counters(&now) == 0);
    return now;
}

static inline uint64_t overwritten(void) { return counters().overwritten; }
static inline uint64_t swallowed(void) { return counters().swallowed; }

/* `previous` is 0 for SIG_DFL, 1 for SIG_IGN, 2 for a handler. */
static inline void tell(char *text, size_t room) {
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0);
    sigward_counters now = counters();
    snprintf(text, room, "outcome %d seat %d previous %d swallowed %d overwritten %d",
             (int)report.outcome, (int)report.seat, report.previous > 2 ? 2 : (int)report.previous,
             (int)now.swallowed, (int)now.overwritten);
}
#endif

/* The write end of a pipe that nobody reads. */
static inline int broken_pipe(void) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    close(ends[0]);
    return ends[1];
}

static inline void *write_to_broken_pipe(void *vectored) {
    int fd = broken_pipe();
    char byte = 'x';
    struct iovec parts[2] = {{&byte, 1}, {&byte, 1}};
    ssize_t written = vectored ? writev(fd, parts, 2) : write(fd, &byte, 1);
    int error = written < 0 ? errno : 0;
    close(fd);
    return (void *)(intptr_t)error;
}

/* A bare write(2) or writev(2) on a new thread, with every signal open: its errno. */
static inline int foreign_write(int vectored) {
    pthread_attr_t attributes;
    sigset_t none;
    pthread_t thread;
    void *error;
    sigemptyset(&none);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setsigmask_np(&attributes, &none) == 0);
    CHECK(pthread_create(&thread, &attributes, write_to_broken_pipe, vectored ? &thread : NULL) ==
          0);
    CHECK(pthread_join(thread, &error) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return (int)(intptr_t)error;
}

#endif
