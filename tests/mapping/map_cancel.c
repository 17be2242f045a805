/* Threads that are cancelled around and inside our functions: whatever was asked for is done, and
 * nobody waits for a thread that is gone. Warded only: bare there is nothing to ask. */
#include "maps.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/prctl.h>

static const char *path;
static sigward_map *map;
static int done;

/* ---- a request that is pending already: each system call inside that is a cancellation point
 * would end the thread ---- */

static void open_path(void) { CHECK(sigward_map_open(path, NULL, &map) == 0); }
static void open_descriptor(void) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && syscall(SYS_close, fd) == 0);
}
static void make_map(void) { map = open_map(path, OPTIONS(.writable = 1, .capacity = 1 << 20)); }
static void make_lost(void) {
    make_map();
    CHECK(truncate(path, PAGE) == 0);
}
static void verify(void) { CHECK(sigward_map_verify(map) == 0); }
static void verify_lost(void) { CHECK(sigward_map_verify(map) == -EFAULT); }
static void status(void) { CHECK(sigward_map_status(map, NULL) == 0); }
static void refresh(void) { CHECK(sigward_map_refresh(map) == 0); }
static void populate(void) { CHECK(sigward_map_populate(map, 0, 0) == 0); }
static void flush(void) { CHECK(sigward_map_flush(map) == 0); }
static void grow(void) { CHECK(sigward_map_grow(map, 32 * PAGE) == 0); }
static void move(void) { CHECK(sigward_map_grow(map, 2 << 20) == 0); }
static void follow(void) { CHECK(sigward_map_follow(map) == 0); }
static void close_it(void) {
    CHECK(sigward_map_close(map) == 0);
    map = NULL;
}
static void retire(void) {
    CHECK(sigward_map_retire(map) == 0);
    map = NULL;
}
static void snapshot(void) { CHECK(sigward_snapshot(path, &map) == 0); }
static void fault(void) { survives(map); }

static const struct call {
    const char *name;
    void (*before)(void), (*function)(void);
} calls_[] = {
    {"open", NULL, open_path},
    {"fd", NULL, open_descriptor},
    {"verify", make_map, verify},
    {"status", make_map, status},
    {"verify lost", make_lost, verify_lost},
    {"refresh", make_map, refresh},
    {"refresh lost", make_lost, refresh},
    {"populate", make_map, populate},
    {"flush", make_map, flush},
    {"grow", make_map, grow},
    {"move", make_map, move},
    {"follow", make_map, follow},
    {"close", make_map, close_it},
    {"retire", make_map, retire},
    {"snapshot", NULL, snapshot},
    {"fault", make_lost, fault},
};

static void (*function)(void);

static void *cancelled(void *unused) {
    (void)unused;
    CHECK(pthread_cancel(pthread_self()) == 0);
    function();
    done = 1;
    pthread_testcancel();
    return NULL;
}

static void others_go_on(void) {
    sigward_map *other = lose();
    survives(other);
    CHECK(sigward_map_verify(other) == -EFAULT && sigward_map_close(other) == 0);
    if (map != NULL) CHECK(sigward_map_close(map) == 0);
}

static void pending(long number) {
    pthread_t thread;
    void *end;
    path = new_file("pending", LOST_LENGTH);
    CHECK(sigward_sigbus_guard() == 0);
    if (calls_[number].before != NULL) calls_[number].before();
    function = calls_[number].function;
    CHECK(pthread_create(&thread, NULL, cancelled, NULL) == 0 && pthread_join(thread, &end) == 0);
    CHECK(done && end == PTHREAD_CANCELED);
    others_go_on();
}

/* ---- a request that takes effect at any instruction ---- */

static volatile int started;

static void *asynchronous(void *unused) {
    (void)unused;
    CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &(int){0}) == 0);
    for (;;) {
        sigward_map *own;
        started = 1;
        if (sigward_map_open(path, NULL, &own) != 0) continue;
        if (sigward_map_len(own) > 5 * PAGE) (void)*(bytes(own) + 5 * PAGE);
        sigward_map_verify(own);
        sigward_map_refresh(own);
        sigward_map_close(own);
    }
}

static void at_any_moment(long rounds) {
    path = new_file("asynchronous", LOST_LENGTH);
    CHECK(sigward_sigbus_guard() == 0);
    for (long i = 0; i < rounds; i++) {
        pthread_t thread;
        void *end;
        started = 0;
        CHECK(pthread_create(&thread, NULL, asynchronous, NULL) == 0);
        while (!started) sched_yield();
        /* Now a byte of the file is lost, now it is there: faults as well are cancelled in the
         * middle. */
        CHECK(truncate(path, i % 2 ? PAGE : LOST_LENGTH) == 0);
        for (volatile int wait = 0; wait < (int)(i * 7919 % 100000); wait++) {}
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &end) == 0);
        CHECK(end == PTHREAD_CANCELED);
    }
    others_go_on();
}

static void deferred(void) {
    struct row rows[sizeof calls_ / sizeof *calls_];
    for (size_t i = 0; i < sizeof calls_ / sizeof *calls_; i++)
        rows[i] = (struct row){calls_[i].name, pending, (long)i};
    ROWS(rows);
}

static void any_moment(void) {
    static const struct row rows[] = {{"asynchronous", at_any_moment, 400}};
    ROWS(rows);
}

/* ---- a handler that jumps out of refresh, which is giving the old bytes back ---- */

static sigjmp_buf outside;

static void jump_out(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    siglongjmp(outside, 1);
}

static void jumped(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    int fd = nameless(4 * PAGE);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && ftruncate(fd, PAGE) == 0);
    CHECK(touch(map, 2 * PAGE) == 0);
    fill(fd, 0, 4 * PAGE);
    install(SIGSYS, jump_out, 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    if (sigsetjmp(outside, 1) == 0) {
        sigward_map_refresh(map);
        CHECK(!"refresh unmaps nothing");
    }
    CHECK(touch(map, 2 * PAGE) == content(2 * PAGE) && ftruncate(fd, PAGE) == 0);
    CHECK(touch(map, 2 * PAGE) == 0 && sigward_map_status(map, NULL) == 1);
}

SCENARIOS({"deferred", deferred}, {"any_moment", any_moment}, {"jumped", jumped})
