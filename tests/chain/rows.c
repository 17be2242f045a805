/* The dispositions of all signals, saved and put back around a library that changes them; repairs
 * of all handlers. */
#include "host.h"

#ifdef BARE
typedef int sigward_rows;
static int sigward_rows_save(sigward_rows *rows) { return *rows = 0; }
static int sigward_rows_restore(const sigward_rows *rows) { return *rows; }
#endif

static volatile sig_atomic_t calls;
static sigward_rows rows;

static void mine(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context, calls++;
}
static void others(int signal) { (void)signal; }

static void profile(int flags, int masked) {
    struct sigaction action = {.sa_sigaction = mine, .sa_flags = flags};
    sigaddset(&action.sa_mask, masked);
    CHECK(sigaction(SIGPROF, &action, NULL) == 0);
}

/* A profiler that is started and stopped: it ends with SIG_DFL for its signal, as many do. */
static void library(void) {
    signal(SIGPROF, others);
    signal(SIGPROF, SIG_DFL);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGRTMAX, others);
}

static void put_back(void) {
    profile(SA_SIGINFO | SA_ONSTACK | SA_RESTART, SIGALRM);
    struct sigaction before, after;
    CHECK(sigaction(SIGPROF, NULL, &before) == 0);
    CHECK(sigward_rows_save(&rows) == 0);
    library();
    CHECK(sigward_rows_restore(&rows) == 0);
    raise(SIGPROF); /* Bare it ends the process. */
    CHECK(calls == 1);
    CHECK(sigaction(SIGPROF, NULL, &after) == 0);
    CHECK(after.sa_flags == before.sa_flags);
    for (int one = 1; one <= 64; one++)
        CHECK(sigismember(&after.sa_mask, one) == sigismember(&before.sa_mask, one));
    CHECK(current_handler(SIGCHLD) == SIG_DFL && current_handler(SIGRTMAX) == SIG_DFL);
    CHECK(sigward_rows_restore(&rows) == 0);
}

/* The mask and the flags alone were changed. */
static void same_handler(void) {
    profile(SA_SIGINFO | SA_ONSTACK, SIGALRM);
    CHECK(sigward_rows_save(&rows) == 0);
    profile(SA_SIGINFO | SA_RESETHAND, SIGUSR2);
    CHECK(sigward_rows_restore(&rows) == 0);
    raise(SIGPROF);
    raise(SIGPROF); /* Bare SIG_DFL stands there by now. */
    CHECK(calls == 2);
}

/* A library that puts SIG_DFL over our seat: the seat is one of the rows. */
static void seat_put_back(void) {
    CHECK(ward() == 0);
    CHECK(sigward_rows_save(&rows) == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(sigward_rows_restore(&rows) == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
}

#ifndef BARE
/* A seat that was taken since is no library's leftover. */
static void seat_kept(void) {
    CHECK(sigward_rows_save(&rows) == 0);
    CHECK(ward() == 0);
    library();
    CHECK(sigward_rows_restore(&rows) == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    CHECK(current_handler(SIGCHLD) == SIG_DFL);
}

static void bad(void) {
    CHECK(sigward_rows_save(NULL) == -EINVAL && sigward_rows_restore(NULL) == -EINVAL);
    static sigward_rows never;
    CHECK(sigward_rows_restore(&never) == -EINVAL);
    memset(&never, 0xff, sizeof never);
    CHECK(sigward_rows_restore(&never) == -EINVAL);
}

static void repair_all(void) {
    const int restorer = 0x04000000; /* the C library's own */
    CHECK(sigward_repair_all() == 0);
    const int signals[] = {SIGUSR1, SIGPROF, SIGRTMAX};
    for (int i = 0; i < 3; i++) install(signals[i], mine, SA_RESTART);
    install(SIGUSR2, mine, SA_ONSTACK);
    CHECK(sigward_repair_all() == 3);
    CHECK(sigward_repair_all() == 0);
    for (int i = 0; i < 3; i++) {
        struct sigaction row;
        CHECK(sigaction(signals[i], NULL, &row) == 0);
        CHECK(row.sa_sigaction == mine);
        CHECK((row.sa_flags & ~restorer) == (SA_SIGINFO | SA_ONSTACK | SA_RESTART));
    }
}
#endif

SCENARIOS({"put_back", put_back}, {"same_handler", same_handler}, {"seat_put_back", seat_put_back},
#ifndef BARE
          {"seat_kept", seat_kept}, {"bad", bad}, {"repair_all", repair_all},
#endif
)
