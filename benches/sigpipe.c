// What sigward costs: once at start, at every write that succeeds, at every write that fails.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

// ---- dispositions -------------------------------------------------------------------------------

static void empty(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
}

static void nothing(void) {}

static void filter(void) { check(sigward_init(NULL) == 0, "sigward_init"); }

static void filter_without_events(void) {
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_NO_EVENTS};
    check(sigward_init(&options) == 0, "sigward_init");
}

static void ignore(void) { check(signal(SIGPIPE, SIG_IGN) != SIG_ERR, "signal"); }

static void handle(void) {
    struct sigaction action = {.sa_sigaction = empty,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    check(sigaction(SIGPIPE, &action, NULL) == 0, "sigaction");
}

// ---- init ---------------------------------------------------------------------------------------

static uint64_t init(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) check(sigward_init(NULL) == 0, "sigward_init");
    return now_ns() - start;
}

// The least that anybody must do who installs a handler: look, then write.
static uint64_t sigaction_pair(unsigned count) {
    struct sigaction old,
        action = {.sa_sigaction = empty, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        check(sigaction(SIGPIPE, NULL, &old) == 0, "sigaction");
        check(sigaction(SIGPIPE, &action, NULL) == 0, "sigaction");
    }
    return now_ns() - start;
}

// ---- writes -------------------------------------------------------------------------------------

// The pipes are made on first use, in the worker, so that nobody else holds an end.
static int sound[2] = {-1, -1}, broken[2] = {-1, -1};

static uint64_t good_writes(unsigned count) {
    char sink[4096];
    check(count <= sizeof sink, "the pipe would fill");
    if (sound[0] < 0) check(pipe(sound) == 0, "pipe");
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) check(write(sound[1], "x", 1) == 1, "write");
    uint64_t took = now_ns() - start;
    check(read(sound[0], sink, sizeof sink) == (ssize_t)count, "read");
    return took;
}

struct job {
    unsigned count;
    uint64_t took;
};

static void *fail_writes(void *argument) {
    struct job *job = argument;
    uint64_t start = now_ns();
    for (unsigned i = 0; i < job->count; i++)
        check(write(broken[1], "x", 1) == -1 && errno == EPIPE, "no EPIPE");
    job->took = now_ns() - start;
    return NULL;
}

// On a thread of its own, as a library's worker thread would.
static uint64_t bad_writes(unsigned count) {
    if (broken[1] < 0) {
        check(pipe(broken) == 0, "pipe");
        close(broken[0]);
    }
    struct job job = {count, 0};
    pthread_t thread;
    check(pthread_create(&thread, NULL, fail_writes, &job) == 0, "pthread_create");
    check(pthread_join(thread, NULL) == 0, "pthread_join");
    return job.took;
}

// The same, and every one must have been swallowed with its descriptor known: a handler that does
// less is cheaper, but is not ours.
static uint64_t bad_writes_told(unsigned count) {
    sigward_counters before, after;
    sigward_event event = {0};
    check(sigward_read_counters(&before) == 0, "counters");
    uint64_t took = bad_writes(count);
    check(sigward_read_counters(&after) == 0, "counters");
    check(after.swallowed - before.swallowed == count, "not every SIGPIPE was swallowed");
    check(after.unattributed == before.unattributed, "a SIGPIPE was not attributed");
    // Numbers start at 1 with each process's parent: the last one is the count of all.
    uint64_t cursor = after.swallowed - 1;
    check(sigward_read_events(&cursor, &event, 1) == 1 && event.fd == broken[1],
          "the event names another fd");
    return took;
}

// Without events: counted, and that is all.
static uint64_t bad_writes_counted(unsigned count) {
    sigward_counters before, after;
    check(sigward_read_counters(&before) == 0, "counters");
    uint64_t took = bad_writes(count);
    check(sigward_read_counters(&after) == 0, "counters");
    check(after.swallowed - before.swallowed == count, "not every SIGPIPE was swallowed");
    return took;
}

int main(int argc, char **argv) {
    (void)argc;
    prepare(argv);
    const struct side filtered_write = {filter, good_writes}, bare_write = {nothing, good_writes};
    const struct side told = {filter, bad_writes_told};
    const struct row rows[] = {
        // After the constructor, as everywhere; each sample is a new process, cold.
        {"first init / sigaction pair", {nothing, init}, {nothing, sigaction_pair}, 1, 1, 400, "-"},
        {"repeated init / sigaction pair",
         {filter, init},
         {nothing, sigaction_pair},
         1000,
         10,
         20,
         "5"},
        {"good write: filter / no handler", filtered_write, bare_write, 4000, 20, 40, "1.01"},
        {"the same, bare / bare: the noise", bare_write, bare_write, 4000, 20, 40, "-"},
        {"failed write: filter / SIG_IGN", told, {ignore, bad_writes}, 500, 10, 20, "-"},
        {"failed write: filter / empty handler", told, {handle, bad_writes}, 500, 10, 40, "1.5"},
        {"the same, without events",
         {filter_without_events, bad_writes_counted},
         {handle, bad_writes},
         500,
         10,
         40,
         "1.1"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
