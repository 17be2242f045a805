/* storm: counts signals until somebody writes a byte to stdin, then says whether one was lost or
   came twice. Two threads send themselves SIGUSR1 and break pipes; the first sends the process
   numbered real-time signals; a fourth makes threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 1 << 22 };
static __thread volatile long handled;
static atomic_long lost, twice, pipes, writes, signals, arrived;
static atomic_int stop;
static unsigned char seen[MOST];

static void on_user(int signal) {
    (void)signal;
    handled++;
}

static void on_pipe(int signal) {
    (void)signal;
    pipes++;
}

static void on_number(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    if (__atomic_fetch_add(&seen[info->si_value.sival_int], 1, __ATOMIC_RELAXED)) twice++;
    arrived++;
}

static void *work(void *unused) {
    int ends[2], own = syscall(SYS_gettid);
    if (pipe(ends)) abort();
    close(ends[0]);
    for (long turn = 0; !stop; turn++) {
        long before = handled;
        syscall(SYS_tgkill, getpid(), own, SIGUSR1);
        if (handled != before + 1) lost++;
        signals++;
        if (turn % 8 == 0) {
            writes++;
            if (write(ends[1], "x", 1) != -1 || errno != EPIPE) lost++;
        }
    }
    return unused;
}

static void *nothing(void *unused) { return unused; }

static void *churn(void *unused) {
    while (!stop) {
        pthread_t thread;
        if (!pthread_create(&thread, 0, nothing, 0)) pthread_join(thread, 0);
        usleep(500);
    }
    return unused;
}

int main(void) {
    /* Yama lets descendants only, else. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    struct sigaction action = {.sa_handler = on_user, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, 0);
    action.sa_handler = on_pipe;
    sigaction(SIGPIPE, &action, 0);
    action.sa_sigaction = on_number;
    action.sa_flags = SA_RESTART | SA_SIGINFO;
    sigaction(SIGRTMIN + 1, &action, 0);
    pthread_t threads[3];
    for (int at = 0; at < 2; at++) pthread_create(&threads[at], 0, work, 0);
    pthread_create(&threads[2], 0, churn, 0);
    puts("ready");
    fflush(stdout);
    int sent = 0;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    while (poll(&input, 1, 0) <= 0 && sent < MOST) {
        union sigval value = {.sival_int = sent};
        if (!sigqueue(getpid(), SIGRTMIN + 1, value)) sent++;
        usleep(200);
    }
    stop = 1;
    for (int at = 0; at < 3; at++) pthread_join(threads[at], 0);
    for (int wait = 0; wait < 100 && arrived != sent; wait++) usleep(10000);
    printf("signals %ld numbered %d lost %ld twice %ld\n", signals + writes, sent,
        lost + (writes - pipes) + (sent - arrived), twice);
    return lost || twice || writes != pipes || arrived != sent;
}
