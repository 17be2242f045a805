/* Threads that are cancelled around and inside the C functions but those of maps: they are no
 * cancellation points, and nobody waits for what an ended thread held. Warded only: bare there is
 * nothing to ask. */
#include "host.h"
#include <sys/syscall.h>

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
static void explain(void) { CHECK(sigward_explain() == 0); }
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
static void ignored(const sigward_event *event, uint64_t missed, uint64_t cut, void *context) {
    (void)event, (void)missed, (void)cut, (void)context;
}
static void watched(void) {
    sigward_watch *watch;
    CHECK(sigward_watch_start(1000, ignored, NULL, &watch) == 0 && sigward_watch_stop(watch) == 0);
}
static void check(void) { CHECK(sigward_thread_check() >= 0); }

/* ---- files: each function makes what it needs and leaves nothing open ---- */

static char folder[4096];

static const char *path_of(const char *name) {
    static __thread char path[4200];
    snprintf(path, sizeof path, "%s/%s-%d", folder, name, gettid());
    return path;
}

/* Not cancelled itself: what is tested comes behind it. */
static int made(const char *name) {
    int before, fd;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    CHECK((fd = open(path_of(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
    CHECK(ftruncate(fd, 8192) == 0);
    return fd;
}

static void gone(int fd, const char *name) {
    if (fd >= 0) CHECK(close(fd) == 0);
    CHECK(unlink(path_of(name)) == 0 || errno == ENOENT);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &(int){0});
}

/* Makes a request pending that `made` has kept away. */
#define TESTED(call, condition)                                                                   \
    do {                                                                                           \
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &(int){0});                                  \
        long answer = (long)(call);                                                                \
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &(int){0});                                 \
        if (!(condition)) fprintf(stderr, "%s: %ld\n", #call, answer);                             \
        CHECK(condition);                                                                          \
    } while (0)

static void reserves(void) {
    int fd = made("reserved");
    TESTED(sigward_reserve(fd, 0, 65536), answer >= 0 || answer == -EOPNOTSUPP);
    TESTED(sigward_reserve_slowly(fd, 0, 65536), answer >= 0);
    gone(fd, "reserved");
}

static void replaces(void) {
    char source[4200];
    sigward_replacement *new;
    int fd = made("source");
    snprintf(source, sizeof source, "%s", path_of("source"));
    TESTED(sigward_replace_file(source, path_of("copy")), answer == 0);
    TESTED(sigward_replacement_open(path_of("copy"), NULL, &new), answer == 0);
    TESTED(sigward_replacement_write(new, "x", 1), answer == 1);
    TESTED(sigward_replacement_commit(new), answer == 0);
    TESTED(sigward_replacement_open(path_of("copy"), NULL, &new), answer == 0);
    TESTED(sigward_replacement_abort(new), answer == 0);
    CHECK(unlink(path_of("copy")) == 0);
    gone(fd, "source");
}

static void leases(void) {
    sigward_lease *lease;
    int fd = made("leased");
    CHECK(close(fd) == 0);
    TESTED(sigward_lease_take(path_of("leased"), &lease), answer == 0 || answer == -EOPNOTSUPP);
    if (lease != NULL) {
        TESTED(sigward_lease_wait(lease, 1), answer == 0);
        TESTED(sigward_lease_check(lease), answer == 0);
        TESTED(sigward_lease_release(lease), answer == 0);
    }
    gone(-1, "leased");
}

static void logs(void) {
    const sigward_log_options options = {.size = sizeof options, .slow_zeros = 1};
    sigward_log *log;
    sigward_log_reader *reader;
    char buf[8];
    gone(made("log"), "log");
    TESTED(sigward_log_open(path_of("log"), &options, NULL, &log), answer == 0);
    TESTED(sigward_log_append(log, "record", 6, NULL), answer == 0);
    TESTED(sigward_log_flush(log, NULL), answer == 0);
    TESTED(sigward_log_reader_open(path_of("log"), &reader), answer == 0);
    TESTED(sigward_log_reader_next(reader, buf, sizeof buf, NULL), answer == 6);
    TESTED(sigward_log_reader_close(reader), answer == 0);
    TESTED(sigward_log_close(log), answer == 0);
    gone(-1, "log");
}

static void adopts(void) {
    sigward_adopted *adopted;
    int fd = made("adopted");
    void *bytes = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(bytes != MAP_FAILED);
    TESTED(sigward_adopt_file(path_of("adopted"), &adopted), answer == 0);
    TESTED(sigward_adopted_verify(adopted), answer == 0);
    TESTED(sigward_adopted_count(adopted), answer == 1);
    TESTED(sigward_adopted_take(adopted, NULL), answer == 0);
    TESTED(sigward_adopted_heal(adopted), answer == 0);
    TESTED(sigward_adopted_close(adopted), answer == 0);
    TESTED(sigward_adopt_range(bytes, 8192, fd, 0, &adopted), answer == 0);
    TESTED(sigward_adopted_close(adopted), answer == 0);
    CHECK(munmap(bytes, 8192) == 0);
    gone(fd, "adopted");
}

static const struct call {
    const char *name;
    void (*function)(void);
} calls_[] = {
    {"init", init}, {"ensure", ensure}, {"filter", filter}, {"restore", restore},
    {"ignore", ignore}, {"guard", guard}, {"repair", repair}, {"repair_all", repair_all},
    {"rows", keep}, {"status", status}, {"format", format}, {"counters", counters},
    {"words", words}, {"quiet", quiet}, {"mask", mask}, {"nosigpipe", nosigpipe}, {"check", check},
    {"segv", segv}, {"unguard", unguard}, {"explain", explain}, {"watch", watched},
};
#define CALLS (sizeof calls_ / sizeof *calls_)
static const struct call of_files[] = {
    {"reserve", reserves}, {"replace", replaces}, {"lease", leases},
    {"log", logs}, {"adopt", adopts},
};
#define OF_FILES (sizeof of_files / sizeof *of_files)

/* ---- a request that is pending already, while others hold the lock of the seats now and then */

static volatile int over, done;
static int repeats = 300;

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
    for (int i = 0; i < repeats; i++) ((const struct call *)call)->function();
    done = 1;
    pthread_testcancel();
    return NULL;
}

static void deferred(void) {
    pthread_t others[3], thread;
    void *end;
    alarm(patience(200));
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

static void deferred_files(void) {
    pthread_t thread;
    void *end;
    alarm(patience(200));
    snprintf(folder, sizeof folder, "%s", arguments[0]);
    repeats = 3;
    for (size_t i = 0; i < OF_FILES; i++) {
        done = 0;
        CHECK(pthread_create(&thread, NULL, pending, (void *)&of_files[i]) == 0);
        CHECK(pthread_join(thread, &end) == 0);
        int whole = done && end == PTHREAD_CANCELED;
        SAY("%s: %s\n", of_files[i].name, whole ? "whole" : "ended inside");
    }
}

/* ---- a request that is pending when the handler runs ---- */

static int target;

/* By a number that the handler does not know, so that it asks more. */
static void write_there(void) {
    CHECK(syscall(SYS_write, target, "x", 1) == -1 && errno == EPIPE);
}

static void swallowed(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && shutdown(ends[0], SHUT_WR) == 0);
    const int targets[] = {broken_pipe(), ends[0]};
    const struct call call = {"write", write_there};
    init();
    repeats = 3;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        pthread_t thread;
        void *end;
        target = targets[i];
        done = 0;
        CHECK(pthread_create(&thread, NULL, pending, (void *)&call) == 0);
        CHECK(pthread_join(thread, &end) == 0);
        int whole = done && end == PTHREAD_CANCELED;
        SAY("%s: %s\n", i == 0 ? "pipe" : "socket", whole ? "whole" : "ended inside");
    }
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
    alarm(patience(200));
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

SCENARIOS({"deferred", deferred}, {"deferred_files", deferred_files},
          {"swallowed", swallowed}, {"any_moment", any_moment})
