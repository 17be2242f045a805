/* Threads that are cancelled around and inside the functions that no map, file or log is behind:
 * they are no cancellation points, and nobody waits for what an ended thread held. Warded only:
 * bare there is nothing to ask. */
#include "host.h"

static sigward_rows rows;
static sigward_event event;
static char text[512];

static void init(void) { CHECK(sigward_init(NULL) == 0); }
static void ensure(void) { CHECK(sigward_ensure_on_top() == 0); }
static void filter(void) { CHECK(sigward_sigpipe_filter() == 0); }
static void ignore(void) { CHECK(sigward_sigpipe_ignore() == 0); }
static void restore(void) { CHECK(sigward_sigpipe_restore() == 0); }
static void guard(void) { CHECK(sigward_sigbus_guard() == 0); }
static void unguard(void) { CHECK(sigward_sigbus_restore() == 0); }
static void segv(void) { CHECK(sigward_try_copy_segv() == 0); }
static void repair(void) { CHECK(sigward_repair(SIGUSR1) >= 0); }
static void repair_all(void) { CHECK(sigward_repair_all() >= 0); }
static void keep(void) { CHECK(sigward_rows_save(&rows) == 0 && sigward_rows_restore(&rows) == 0); }
static void status(void) {
    sigward_sigpipe_report report;
    sigward_status_report both;
    CHECK(sigward_sigpipe_status(&report) == 0 && sigward_status(&both) == 0);
}
static void counters(void) {
    sigward_counters numbers;
    uint64_t cursor = 0;
    CHECK(sigward_read_counters(&numbers) == 0 && sigward_read_events(&cursor, &event, 1) >= 0);
}
static void format(void) {
    CHECK(sigward_event_format(&event, text, sizeof text) > 0);
    CHECK(sigward_event_library(&event, text, sizeof text) >= 0);
}
static void words(void) { CHECK(sigward_last_words(2) == 0); }
static void quiet(void) {
    CHECK(sigward_quiet_thread_enter() == 0 && sigward_quiet_thread_leave() == 0);
}
static void mask(void) {
    sigward_thread_guard guard;
    CHECK(sigward_thread_guard_enter(&guard) == 0 && sigward_thread_guard_leave(&guard) == 0);
}
static void nosigpipe(void) {
    int answer = sigward_set_nosigpipe(1);
    CHECK(answer == 0 || answer == -ENOTSUP);
}
static void check(void) { CHECK(sigward_thread_check() >= 0); }

static const struct call {
    const char *name;
    void (*function)(void);
} calls_[] = {
    {"init", init}, {"ensure", ensure}, {"filter", filter}, {"restore", restore},
    {"ignore", ignore}, {"guard", guard}, {"repair", repair}, {"repair_all", repair_all},
    {"rows", keep}, {"status", status}, {"format", format}, {"counters", counters},
    {"words", words}, {"quiet", quiet}, {"mask", mask}, {"nosigpipe", nosigpipe}, {"check", check},
    {"segv", segv}, {"unguard", unguard},
};
#define CALLS (sizeof calls_ / sizeof *calls_)

/* ---- a request that is pending already, while others hold the lock of the seats now and then */

static volatile int over, done;

static void *toggle(void *unused) {
    (void)unused;
    while (!over) {
        filter();
        restore();
    }
    return NULL;
}

static void *pending(void *call) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    for (int i = 0; i < 300; i++) ((const struct call *)call)->function();
    done = 1;
    pthread_testcancel();
    return NULL;
}

static void deferred(void) {
    pthread_t others[3], thread;
    void *end;
    alarm(40);
    /* What the descriptor becomes quiet with stays: the seat is taken. */
    init();
    for (int i = 0; i < 3; i++) CHECK(pthread_create(&others[i], NULL, toggle, NULL) == 0);
    for (size_t i = 0; i < CALLS; i++) {
        done = 0;
        CHECK(pthread_create(&thread, NULL, pending, (void *)&calls_[i]) == 0);
        CHECK(pthread_join(thread, &end) == 0);
        SAY("%s: %s\n", calls_[i].name, done && end == PTHREAD_CANCELED ? "whole" : "ended inside");
    }
    over = 1;
    for (int i = 0; i < 3; i++) CHECK(pthread_join(others[i], NULL) == 0);
}

/* ---- a request that takes effect at any instruction ---- */

static volatile int started;

static void *asynchronous(void *call) {
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &(int){0}) == 0);
    for (;;) {
        started = 1;
        ((const struct call *)call)->function();
    }
}

static void any_moment(void) {
    alarm(40);
    init();
    for (size_t call = 0; call < CALLS; call++) {
        for (int i = 0; i < 60; i++) {
            pthread_t thread;
            started = 0;
            CHECK(pthread_create(&thread, NULL, asynchronous, (void *)&calls_[call]) == 0);
            while (!started) sched_yield();
            for (volatile int wait = 0; wait < i * 7919 % 20000; wait++) {}
            CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
        }
        /* Whatever it held, all go on. */
        for (size_t i = 0; i < CALLS; i++) calls_[i].function();
        SAY("%s: whole\n", calls_[call].name);
    }
}

SCENARIOS({"deferred", deferred}, {"any_moment", any_moment})
