/* Called back for events, from a thread (sigward_watch_start). Warded only: bare there are none. */
#include "host.h"
#include <dlfcn.h>

/* What a callback was told. Its fields are looked at when the watch has ended, or atomically. */
struct told {
    pthread_t thread;
    int events, ends, wrong;
    uint64_t missed, suppressed, last;
    sigward_watch *own;
    int fd; /* to be written to, above 0 */
};

static int count(struct told *told) { return __atomic_load_n(&told->events, __ATOMIC_SEQ_CST); }

static void keep(const sigward_event *event, uint64_t missed, uint64_t suppressed, void *context) {
    struct told *told = context;
    told->missed += missed;
    told->suppressed += suppressed;
    if (event == NULL) {
        told->ends++;
        told->wrong += missed == 0 && suppressed == 0;
        return;
    }
    told->wrong += event->size != sizeof *event || event->signal != SIGPIPE ||
                   event->number <= told->last || strcmp(event->thread, "host") != 0;
    told->last = event->number;
    told->thread = pthread_self();
    if (told->fd > 0) CHECK(write(told->fd, "x", 1) == -1 && errno == EPIPE);
    __atomic_add_fetch(&told->events, 1, __ATOMIC_SEQ_CST);
}

static sigward_watch *started(unsigned interval, struct told *told) {
    sigward_watch *watch;
    CHECK(sigward_watch_start(interval, keep, told, &watch) == 0);
    return watch;
}

static int broken;

static void happen(int times) {
    for (int i = 0; i < times; i++) CHECK(write(broken, "x", 1) == -1 && errno == EPIPE);
}

static void prepare(void) {
    CHECK(ward() == 0 && pthread_setname_np(pthread_self(), "host") == 0);
    broken = broken_pipe();
}

static void until(struct told *told, int events) {
    for (unsigned turn = 0; count(told) < events; turn++, usleep(1000))
        CHECK(turn < patience(60000));
}

enum { HOUR = 3600 * 1000 };

/* Nothing of before, all of before the end, and then nothing; two at once. */
static void reports(void) {
    struct told one = {0}, two = {0};
    prepare();
    happen(3);
    sigward_watch *first = started(HOUR, &one), *second = started(HOUR, &two);
    happen(40);
    CHECK(count(&one) == 0);
    CHECK(sigward_watch_stop(first) == 0);
    happen(1);
    CHECK(sigward_watch_stop(second) == 0);
    happen(1);
    CHECK(one.events == 40 && two.events == 41 && one.last == 43 && two.last == 44);
    CHECK(one.wrong == 0 && two.wrong == 0 && one.ends == 0 && two.ends == 0);
    CHECK(!pthread_equal(one.thread, pthread_self()) && !pthread_equal(one.thread, two.thread));
}

static void missed(void) {
    struct told told = {0};
    prepare();
    sigward_watch *watch = started(HOUR, &told);
    happen(700);
    CHECK(sigward_watch_stop(watch) == 0);
    CHECK(told.missed >= 700 - 512 && told.events + told.missed + told.suppressed == 700);
    CHECK(told.wrong == 0);
}

/* The callback writes to a peer that has gone. Bare, of this: a loop that looks and writes. */
static void itself(void) {
    struct told told = {.fd = -1};
    prepare();
    uint64_t cursor = 0;
    happen(1);
    for (int i = 0; i < 100; i++) {
        sigward_event event;
        CHECK(sigward_read_events(&cursor, &event, 1) == 1);
        happen(1);
    }
    told.fd = broken;
    sigward_watch *watch = started(1, &told);
    for (int i = 1; i <= 3; i++) {
        happen(1);
        until(&told, i);
    }
    CHECK(sigward_watch_stop(watch) == 0);
    CHECK(told.events == 3 && told.suppressed == 0 && told.missed == 0 && told.wrong == 0);
}

static int calls;
static pthread_mutex_t given = PTHREAD_MUTEX_INITIALIZER;

static void stop_own(const sigward_event *event, uint64_t lost, uint64_t cut, void *context) {
    (void)event, (void)lost, (void)cut;
    struct told *told = context;
    pthread_mutex_lock(&given);
    CHECK(sigward_watch_stop(told->own) == 0);
    pthread_mutex_unlock(&given);
    memset(told, 0xff, sizeof *told);
    free(told);
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
}

static int threads(void) {
    char line[256];
    int found = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        sscanf(line, "Threads: %d", &found);
    CHECK(status != NULL && fclose(status) == 0);
    return found;
}

/* Three events are there, the first one's call ends the watch. */
static void stop_inside(void) {
    struct told *told = calloc(1, sizeof *told);
    prepare();
    CHECK(threads() == 1);
    pthread_mutex_lock(&given);
    CHECK(sigward_watch_start(300, stop_own, told, &told->own) == 0);
    happen(3);
    pthread_mutex_unlock(&given);
    for (unsigned turn = 0; threads() > 1; turn++, usleep(1000)) CHECK(turn < patience(60000));
    CHECK(calls == 1);
}

static void forked(void) {
    struct told told = {0}, of_child = {0};
    prepare();
    sigward_watch *watch = started(HOUR, &told);
    happen(1);
    pid_t child = fork();
    if (child == 0) {
        CHECK(sigward_watch_stop(watch) == 0);
        sigward_watch *own = started(HOUR, &of_child);
        happen(1);
        CHECK(sigward_watch_stop(own) == 0);
        CHECK(told.events == 0 && of_child.events == 1 && of_child.wrong == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    happen(1);
    CHECK(sigward_watch_stop(watch) == 0 && told.events == 2);
}

/* The callback is in a library that goes as soon as stop has returned. */
static void unloaded(void) {
    prepare();
    for (int i = 0; i < 50; i++) {
        void *plugin = dlopen(arguments[0], RTLD_NOW | RTLD_LOCAL);
        CHECK(plugin != NULL);
        void (*report)(const sigward_event *, uint64_t, uint64_t, void *);
        *(void **)&report = dlsym(plugin, "report");
        int *reported = dlsym(plugin, "reported");
        sigward_watch *watch;
        CHECK(report != NULL && sigward_watch_start(1, report, NULL, &watch) == 0);
        happen(5);
        CHECK(sigward_watch_stop(watch) == 0 && *reported == 5);
        CHECK(dlclose(plugin) == 0 && dlopen(arguments[0], RTLD_NOW | RTLD_NOLOAD) == NULL);
        happen(5);
    }
}

static void arguments_wrong(void) {
    sigward_watch *watch = (sigward_watch *)8;
    CHECK(sigward_watch_start(1, NULL, NULL, &watch) == -EINVAL && watch == NULL);
    watch = (sigward_watch *)8;
    CHECK(sigward_watch_start(0, keep, NULL, &watch) == -EINVAL && watch == NULL);
    CHECK(sigward_watch_start(1, keep, NULL, NULL) == -EINVAL && threads() == 1);
    CHECK(sigward_watch_stop(NULL) == 0);
}

SCENARIOS({"reports", reports}, {"missed", missed}, {"itself", itself},
          {"stop_inside", stop_inside}, {"forked", forked}, {"unloaded", unloaded},
          {"arguments_wrong", arguments_wrong})
