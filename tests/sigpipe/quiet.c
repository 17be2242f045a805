/* Threads and descriptors that are quiet in a host with a handler of its own, which ends the
 * process: bare and undeclared it does. */
#include "host.h"
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdint.h>
#include <sys/prctl.h>

#ifdef BARE
static int sigward_quiet_thread_enter(void) { return 0; }
static int sigward_quiet_thread_leave(void) { return 0; }
static int sigward_set_nosigpipe(int fd) { return (void)fd, 0; }
typedef sigset_t sigward_thread_guard;
static int sigward_thread_guard_enter(sigward_thread_guard *before) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE);
    return pthread_sigmask(SIG_BLOCK, &blocked, before);
}
static int sigward_thread_guard_leave(sigward_thread_guard *before) {
    return pthread_sigmask(SIG_SETMASK, before, NULL);
}
#endif

enum { ENDED = 74 };

static void ends(int signal) { (void)signal, _exit(ENDED); }

static void own_handler(void) {
    CHECK(signal(SIGPIPE, ends) != SIG_ERR);
    CHECK(ward() == 0);
}

static int status_of(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void writes(void) { CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE); }

/* What becomes of a child that does this. */
static int of(void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) run(), _exit(0);
    return status_of(child);
}

static void *run_it(void *run) { return ((void (*)(void))(uintptr_t)run)(), NULL; }

static void on_another_thread(void (*run)(void)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run_it, (void *)(uintptr_t)run) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void writes_on_another_thread(void) { on_another_thread(writes); }
static __attribute__((unused)) void kills(void) { kill(getpid(), SIGPIPE), pause(); }

/* ---- threads ---- */

static void thread(void) {
    own_handler();
    CHECK(sigward_quiet_thread_enter() == 0);
    writes();
    CHECK(sigward_quiet_thread_enter() == 0 && sigward_quiet_thread_leave() == 0);
    writes();
#ifndef BARE
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0 && counters.swallowed == 2);
    CHECK(counters.chained == 0);
    CHECK(of(kills) == ENDED);
    CHECK(of(writes_on_another_thread) == ENDED);
    CHECK(of(writes) == 0); /* the thread that forked */
    CHECK(sigward_quiet_thread_leave() == 0 && sigward_quiet_thread_leave() == -EINVAL);
    CHECK(of(writes) == ENDED);
#endif
}

static void enter_and_end(void) { CHECK(sigward_quiet_thread_enter() == 0); }

/* The next thread has the address of the one that ended quiet. */
static void after_the_end(void) {
    own_handler();
    on_another_thread(enter_and_end);
    CHECK(of(writes_on_another_thread) == ENDED);
    on_another_thread(writes);
}

static volatile int held = 1;
static volatile uintptr_t waiting;

static void enter_and_wait(void) {
    CHECK(sigward_quiet_thread_enter() == 0);
    waiting = (uintptr_t)pthread_self();
    while (held) usleep(1000);
}

/* In a child, where it never ended, as well. */
static void new_threads_of_a_child(void) {
    for (int i = 0; i < 50; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, run_it, (void *)(uintptr_t)writes) == 0);
        int again = (uintptr_t)thread == waiting;
        CHECK(pthread_join(thread, NULL) == 0);
        if (again) _exit(1);
    }
}

static void after_a_fork(void) {
    own_handler();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run_it, (void *)(uintptr_t)enter_and_wait) == 0);
    while (!waiting) usleep(1000);
    CHECK(of(new_threads_of_a_child) == ENDED);
    held = 0;
    CHECK(pthread_join(thread, NULL) == 0);
    writes();
}

/* What was installed above us is below again after that. */
static void brought_back(void) {
    CHECK(ward() == 0 && sigward_quiet_thread_enter() == 0);
    signal(SIGPIPE, ends);
#ifndef BARE
    CHECK(of(writes) == ENDED);
#endif
    CHECK(sigward_ensure_on_top() == 0);
    writes();
}

static void brought_back_over_default(void) {
    CHECK(ward() == 0 && sigward_quiet_thread_enter() == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(sigward_ensure_on_top() == 0);
    writes();
}

static void without_system_calls(void) {
    CHECK(sigward_quiet_thread_enter() == 0 && sigward_quiet_thread_leave() == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
    int right = 1;
    for (int i = 0; i < 100; i++) right &= sigward_quiet_thread_enter() == 0;
    for (int i = 0; i < 100; i++) right &= sigward_quiet_thread_leave() == 0;
    syscall(SYS_exit, !right);
}

static void strict(void) {
    own_handler();
    CHECK(of(without_system_calls) == 0);
    writes();
}

/* ---- descriptors ---- */

static int declared;

static void writes_to_it(void) { CHECK(write(declared, "x", 1) == -1 && errno == EPIPE); }

static __attribute__((unused)) void writes_to_a_duplicate(void) {
    declared = dup(declared);
    writes_to_it();
}

static __attribute__((unused)) void writes_to_its_successor(void) {
    CHECK(dup2(broken_pipe(), declared) == declared);
    writes_to_it();
}

static void descriptor(void) {
#if !defined BARE && !defined __x86_64__
    CHECK(sigward_set_nosigpipe(broken_pipe()) == -ENOTSUP);
    return;
#endif
#ifndef BARE
    CHECK(sigward_sigpipe_restore() == 0); /* what a constructor has done */
    CHECK(sigward_set_nosigpipe(broken_pipe()) == -ENOTSUP && sigward_set_nosigpipe(-1) == -EBADF);
#endif
    own_handler();
#ifndef BARE
    CHECK(sigward_set_nosigpipe(-1) == -EBADF && sigward_set_nosigpipe(999) == -EBADF);
#endif
    for (int high = 0; high < 2; high++) {
        declared = broken_pipe();
        if (high) CHECK((declared = fcntl(declared, F_DUPFD, 1023)) >= 1023);
        CHECK(sigward_set_nosigpipe(declared) == 0);
        writes_to_it();
        on_another_thread(writes_to_it);
#ifndef BARE
        CHECK(of(writes_to_it) == 0);
        CHECK(of(writes) == ENDED);
        CHECK(of(kills) == ENDED);
        CHECK(of(writes_to_a_duplicate) == ENDED);
        CHECK(of(writes_to_its_successor) == ENDED);
#endif
    }
}

/* ---- a SIGPIPE that waits behind the mask, and comes when that is opened ---- */

static void out_of_a_guard(int mask_as_well) {
    static sigjmp_buf outside;
    static sigward_thread_guard guard;
    CHECK(ward() == 0);
    if (sigsetjmp(outside, mask_as_well) == 0) {
        CHECK(sigward_thread_guard_enter(&guard) == 0);
        writes();
        siglongjmp(outside, 1);
    }
    CHECK(sigward_thread_guard_leave(&guard) == 0);
}

static void jumps_with_the_mask(void) { out_of_a_guard(1); }
static void jumps_without_the_mask(void) { out_of_a_guard(0); }

static void opens_its_own_mask(void) {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPIPE);
    CHECK(ward() == 0 && sigward_quiet_thread_enter() == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    writes();
    CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) == 0);
}

SCENARIOS({"jumps_with_the_mask", jumps_with_the_mask},
          {"jumps_without_the_mask", jumps_without_the_mask},
          {"opens_its_own_mask", opens_its_own_mask}, {"thread", thread},
          {"after_the_end", after_the_end}, {"after_a_fork", after_a_fork},
          {"brought_back", brought_back}, {"brought_back_over_default", brought_back_over_default},
          {"strict", strict}, {"descriptor", descriptor})
