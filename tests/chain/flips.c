/* A library that flips SIGPIPE with signal(3), exactly between two of our looks at the kernel's
 * row. */
#include "host.h"

/* A bit for each of the next calls: before it the flip begins, or ends. */
static unsigned turns;
static int begun;
static void (*saved)(int);

extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static void turn(void) {
    struct sigaction row = {.sa_handler = begun ? saved : SIG_IGN, .sa_flags = SA_RESTART}, before;
    CHECK(__sigaction(SIGPIPE, &row, &before) == 0);
    if (!begun) saved = before.sa_handler;
    begun = !begun;
}

/* Stands before the C library's. */
int sigaction(int signal, const struct sigaction *action, struct sigaction *old) {
    if (signal == SIGPIPE) {
        int now = turns & 1;
        turns >>= 1;
        if (now) turn();
    }
    return __sigaction(signal, action, old);
}

static void a_write_fails(void) {
    int fd = broken_pipe();
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    close(fd);
}

/* In every order of the first eight calls; at last a signal that is no echo. */
static void between_looks(void) {
    CHECK(ward() == 0);
    a_write_fails();
    for (unsigned order = 1; order < 2 * 256; order++) {
        turns = order / 2;
        int status = order % 2 ? ward() : sigward_ensure_on_top();
        turns = 0;
        if (begun) turn();
        CHECK(status == 0);
        a_write_fails();
        CHECK(sigward_ensure_on_top() == 0);
        a_write_fails();
    }
    SAY("flipped\n");
    kill(getpid(), SIGPIPE);
}

SCENARIOS({"between_looks", between_looks})
