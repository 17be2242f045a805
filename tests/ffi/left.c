/* Who leaves in the middle of a change of seats holds nobody up: a handler jumps out or ends its
 * thread, a child that shares memory is killed. Bare, sigaction(2) waits for nobody. */
#include "host.h"
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>

static void change(void) {
    CHECK(sigward_sigpipe_restore() == 0 && sigward_ensure_on_top() == 0);
#ifndef BARE
    sigward_sigpipe_filter();
#endif
}

static atomic_int over, inside;

static void *some_changes(void *unused) {
    for (int i = 0; i < 20; i++) change();
    over = 1;
    return unused;
}

/* Whether other threads can change seats still. */
static void others_go_on(void) {
    pthread_t thread;
    over = 0;
    CHECK(pthread_create(&thread, NULL, some_changes, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void wait_for_start(int round) {
    while (!inside) sched_yield();
    for (volatile int wait = 0; wait < round * 7919 % 5000; wait++) {}
}

/* ---- a handler that jumps ---- */

static sigjmp_buf back;
static atomic_int came;

static void jump(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    came++;
    if (!inside) return;
    inside = 0;
    siglongjmp(back, 1);
}

static void *changes_until_over(void *unused) {
    sigsetjmp(back, 1);
    while (!over) {
        inside = 1;
        change();
        inside = 0;
    }
    return unused;
}

static void jumped_out(void) {
    pthread_t thread;
    alarm(patience(120));
    CHECK(ward() == 0);
    install(SIGUSR1, jump, 0);
    CHECK(pthread_create(&thread, NULL, changes_until_over, NULL) == 0);
    for (int round = 0; round < 100; round++) {
        int before = came;
        wait_for_start(round);
        CHECK(pthread_kill(thread, SIGUSR1) == 0);
        while (came == before) sched_yield();
    }
    over = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    others_go_on();
    SAY("jumped\n");
}

/* ---- a handler that ends its thread ---- */

static void leave(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    pthread_exit(NULL);
}

static void *changes_for_ever(void *unused) {
    for (;;) {
        inside = 1;
        change();
    }
    return unused;
}

static void ended(void) {
    alarm(patience(120));
    CHECK(ward() == 0);
    install(SIGUSR1, leave, 0);
    for (int round = 0; round < 30; round++) {
        pthread_t thread;
        inside = 0;
        CHECK(pthread_create(&thread, NULL, changes_for_ever, NULL) == 0);
        wait_for_start(round);
        CHECK(pthread_kill(thread, SIGUSR1) == 0 && pthread_join(thread, NULL) == 0);
    }
    others_go_on();
    SAY("ended\n");
}

/* ---- a child that shares memory and is killed ---- */

static int child(void *unused) {
    for (;;) {
        inside = 1;
        change();
    }
    return unused == NULL;
}

static void killed(void) {
    static char stack[1 << 16] __attribute__((aligned(16)));
    alarm(patience(120));
    CHECK(ward() == 0);
    for (int round = 0; round < 30; round++) {
        inside = 0;
        pid_t other = clone(child, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
        CHECK(other > 0);
        wait_for_start(round);
        CHECK(kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other);
        others_go_on();
    }
    SAY("killed\n");
}

SCENARIOS({"jumped", jumped_out}, {"ended", ended}, {"killed", killed})
