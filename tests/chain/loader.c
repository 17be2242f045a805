/* sigward_init while somebody holds the dynamic loader's lock: it takes none of the loader's. Each
 * scenario ends with a broken pipe, so that bare it dies. */
#include "host.h"
#include <dlfcn.h>
#include <link.h>
#include <semaphore.h>

static sem_t inside, done;

static int wait_inside(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)info, (void)size, (void)unused;
    sem_post(&inside);
    sem_wait(&done);
    return 1;
}

static void *holder(void *unused) {
    dl_iterate_phdr(wait_inside, unused);
    return NULL;
}

/* A thread is inside dl_iterate_phdr from now on. */
static pthread_t hold(void) {
    pthread_t thread;
    CHECK(sem_init(&inside, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
    CHECK(pthread_create(&thread, NULL, holder, NULL) == 0 && sem_wait(&inside) == 0);
    return thread;
}

/* All that asks which objects there are. */
static void init_and_ask(void) {
    CHECK(ward() == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
#ifndef BARE
    uint64_t cursor = 0;
    sigward_event event;
    char name[64];
    sigward_status_report report = {.size = sizeof report};
    CHECK(sigward_read_events(&cursor, &event, 1) == 1);
    CHECK(sigward_event_library(&event, name, sizeof name) > 0);
    CHECK(sigward_status(&report) == 0 && sigward_ensure_on_top() == 0);
    CHECK(sigward_repair(SIGUSR2) >= 0);
#endif
}

/* Another thread has the lock, and waits for us. */
static void held(void) {
    pthread_t thread = hold();
    init_and_ask();
    sem_post(&done);
    pthread_join(thread, NULL);
}

/* In the child nobody will ever let it go. */
static void forked(void) {
    pthread_t thread = hold();
    pid_t child = fork();
    if (child == 0) {
        init_and_ask();
        _exit(0);
    }
    sem_post(&done);
    pthread_join(thread, NULL);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
    CHECK(status == 0);
}

SCENARIOS({"held", held}, {"forked", forked})
