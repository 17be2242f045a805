/* Bad input and bad circumstances: a clear negative errno or a documented no-op. Only built
 * warded. */
#include "host.h"
#include "refuse.h"
#include "sigward_go.h"

static int survives(void) { return write(broken_pipe(), "x", 1) == -1 && errno == EPIPE; }

static void options(void) {
    sigward_options options = {.size = sizeof options};
    for (size_t size = 0; size < sizeof options; size++) {
        options.size = size;
        CHECK(sigward_init(&options) == -EINVAL);
    }
    options.size = SIZE_MAX;
    CHECK(sigward_init(&options) == -EINVAL);
    options = (sigward_options){.size = sizeof options, .sigpipe = 77};
    CHECK(sigward_init(&options) == -EINVAL);
    const uint32_t known = SIGWARD_LOG_STDERR | SIGWARD_REPLACE_IGNORE | SIGWARD_SWALLOW_STDIO |
                           SIGWARD_NO_EVENTS | SIGWARD_EXPLAIN;
    for (int bit = 0; bit < 32; bit++) {
        options = (sigward_options){.size = sizeof options, .flags = (uint32_t)1 << bit};
        if (!(known & options.flags)) CHECK(sigward_init(&options) == -EINVAL);
    }
    options = (sigward_options){.size = sizeof options, .sigpipe = SIGWARD_SIGPIPE_LEAVE};
    CHECK(sigward_init(&options) == 0);
    options.sigpipe = SIGWARD_SIGPIPE_IGNORE;
    CHECK(sigward_init(&options) == 0 && current_handler(SIGPIPE) == (void *)SIG_IGN);
    CHECK(sigward_init(NULL) == 0 && current_handler(SIGPIPE) != (void *)SIG_IGN && survives());
}

static void null_pointers(void) {
    uint64_t cursor = 0;
    sigward_event event;
    char line[8];
    CHECK(sigward_sigpipe_status(NULL) == -EINVAL);
    CHECK(sigward_read_counters(NULL) == -EINVAL);
    CHECK(sigward_read_events(NULL, &event, 1) == -EINVAL);
    CHECK(sigward_read_events(&cursor, NULL, 1) == -EINVAL);
    CHECK(sigward_read_events(&cursor, &event, SIZE_MAX) == -EINVAL);
    CHECK(sigward_read_events(&cursor, &event, 0) == 0);
    CHECK(sigward_event_format(NULL, line, sizeof line) == -EINVAL);
    CHECK(sigward_event_format(&event, NULL, 8) == -EINVAL);
    CHECK(sigward_init(NULL) == 0 && survives());
    CHECK(sigward_read_events(&cursor, &event, 1) == 1);
    CHECK(sigward_event_format(&event, line, 0) == -EINVAL);
    CHECK(sigward_event_format(&event, line, sizeof line) == 7 && strcmp(line, "SIGPIPE") == 0);
    CHECK(sigward_runtime_text(0, 0) == -EINVAL && sigward_runtime_text(2, 1) == -EINVAL);
    for (int code = -200; code < 200; code++) CHECK(strlen(sigward_strerror(code)) > 5);
    CHECK(sigward_strerror(-2147483647 - 1) != NULL);
}

/* ---- many threads at once ---- */

static pthread_barrier_t barrier;
static int rounds;

static void *initialise(void *unused) {
    (void)unused;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < rounds; i++) CHECK(sigward_init(NULL) == 0);
    CHECK(survives());
    return NULL;
}

static void many_threads(void) {
    pthread_t threads[32];
    rounds = 100;
    CHECK(sigward_sigpipe_restore() == 0);
    pthread_barrier_init(&barrier, NULL, 32);
    for (int i = 0; i < 32; i++) CHECK(pthread_create(&threads[i], NULL, initialise, NULL) == 0);
    for (int i = 0; i < 32; i++) pthread_join(threads[i], NULL);
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0);
    CHECK(report.outcome == SIGWARD_OUTCOME_FILTERED && report.seat == SIGWARD_SEAT_ON_TOP);
    CHECK(report.previous == 0);
    CHECK(sigward_sigpipe_restore() == 0 && current_handler(SIGPIPE) == (void *)SIG_DFL);
}

/* ---- from a signal handler, also one that interrupts init itself ---- */

static volatile int answered;

static void init_in_handler(int signal) {
    (void)signal;
    CHECK(sigward_init(NULL) == 0);
    answered++;
}

static void *pester(void *victim) {
    for (int i = 0; i < 20000 || answered < 1000; i++) {
        pthread_kill(*(pthread_t *)victim, SIGUSR1);
        for (volatile int pause = 0; pause < i % 500; pause++) {}
    }
    rounds = 0;
    return NULL;
}

static void in_handler(void) {
    pthread_t self = pthread_self(), thread;
    signal(SIGUSR1, init_in_handler);
    rounds = 1;
    CHECK(pthread_create(&thread, NULL, pester, &self) == 0);
    while (*(volatile int *)&rounds) {
        CHECK(sigward_sigpipe_restore() == 0);
        CHECK(sigward_init(NULL) == 0);
    }
    pthread_join(thread, NULL);
    CHECK(survives());
    SAY("answered\n");
}

/* ---- no entry point left ---- */

static void other(int signal) { (void)signal; }

static void limit(void) {
    int status = 0, taken = 0;
    CHECK(sigward_init(NULL) == 0);
    /* Each is another predecessor, by its mask. */
    for (int i = 1; i < 60 && status == 0; i++, taken++) {
        struct sigaction action = {.sa_handler = other};
        if (i == SIGKILL || i == SIGSTOP || i == SIGPIPE || i == 32 || i == 33) continue;
        sigaddset(&action.sa_mask, i);
        CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
        status = sigward_ensure_on_top();
    }
    SAY("%s\n", sigward_strerror(status));
    CHECK(status == -ENOSPC && current_handler(SIGPIPE) == (void *)other);
    /* Nothing is half-installed, and what is there can still be used. */
    signal(SIGPIPE, SIG_DFL);
    CHECK(sigward_init(NULL) == 0 && survives());
    CHECK(sigward_sigpipe_restore() == 0 && current_handler(SIGPIPE) == (void *)SIG_DFL);
}

/* ---- SIGPIPE blocked ---- */

static void blocked(void) {
    sigset_t pipe_set, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe_set, NULL);
    CHECK(sigward_init(NULL) == 0);
    CHECK(survives());
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1);
    CHECK(sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) == SIGPIPE);
    sigprocmask(SIG_UNBLOCK, &pipe_set, NULL);
    CHECK(survives());
}

/* ---- seccomp ---- */

static void seccomp_before(void) {
    CHECK(sigward_sigpipe_restore() == 0);
    refuse(SYS_rt_sigaction, EPERM);
    CHECK(sigward_init(NULL) == -EPERM);
    CHECK(sigward_sigpipe_ignore() == -EPERM);
    CHECK(sigward_ensure_on_top() == 0); /* no policy, nothing to do */
    SAY("%s\n", sigward_strerror(-EPERM));
    write(broken_pipe(), "x", 1);
}

static void seccomp_after(void) {
    CHECK(sigward_init(NULL) == 0);
    refuse(SYS_rt_sigaction, EPERM);
    CHECK(survives());
    raise(SIGPIPE); /* the default action cannot be put back: ends with its status all the same */
}

static void seccomp_queue(void) {
    CHECK(sigward_init(NULL) == 0);
    refuse(SYS_rt_tgsigqueueinfo, EPERM);
    raise(SIGPIPE);
}

/* ---- the library is never unmapped ---- */

static void nothing(void) { CHECK(sigward_init(NULL) == 0 && survives()); }

SCENARIOS({"options", options}, {"null_pointers", null_pointers}, {"many_threads", many_threads},
          {"in_handler", in_handler}, {"limit", limit}, {"blocked", blocked},
          {"seccomp_before", seccomp_before}, {"seccomp_after", seccomp_after},
          {"seccomp_queue", seccomp_queue}, {"nothing", nothing})
