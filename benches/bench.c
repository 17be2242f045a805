#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sigward.h"

void fail(const char *what) {
    fprintf(stderr, "bench: %s (%s)\n", what, strerror(errno));
    _exit(1);
}

void check(int ok, const char *what) {
    if (!ok) fail(what);
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void prepare(char **argv) {
    struct sigaction action;
    check(sigaction(SIGPIPE, NULL, &action) == 0, "sigaction");
    if (action.sa_handler == SIG_IGN) {
        signal(SIGPIPE, SIG_DFL);
        execv("/proc/self/exe", argv);
        fail("exec");
    }
    // The last core that we may use: the first ones serve most interrupts.
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        int core = CPU_SETSIZE - 1;
        while (core >= 0 && !CPU_ISSET(core, &allowed)) core--;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0) return;
    }
    fprintf(stderr, "bench: not pinned to a core, figures will scatter\n");
}

struct worker {
    pid_t pid;
    int order, answer;
};

static struct worker start(const struct side *side, unsigned count) {
    int order[2], answer[2];
    check(pipe(order) == 0 && pipe(answer) == 0, "pipe");
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid == 0) {
        close(order[1]);
        close(answer[0]);
        // The constructor has taken its seat, as in every program that links us. A worker starts
        // without.
        struct sigaction action;
        check(sigward_sigpipe_restore() == 0, "sigward_sigpipe_restore");
        check(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL,
              "SIGPIPE is not SIG_DFL");
        side->setup();
        char go;
        while (read(order[0], &go, 1) == 1 && go == 'g') {
            uint64_t took = side->batch(count);
            check(write(answer[1], &took, sizeof took) == sizeof took, "answer");
        }
        _exit(0);
    }
    close(order[0]);
    close(answer[1]);
    return (struct worker){pid, order[1], answer[0]};
}

static double run(struct worker *worker, unsigned count) {
    uint64_t took;
    check(write(worker->order, "g", 1) == 1, "order");
    check(read(worker->answer, &took, sizeof took) == sizeof took, "a worker is gone");
    return (double)took / count;
}

static void stop(struct worker *worker) {
    int status;
    // Said, not left to the end of file: the other worker has inherited our end of the pipe.
    check(write(worker->order, "s", 1) == 1, "order");
    close(worker->order);
    close(worker->answer);
    check(waitpid(worker->pid, &status, 0) == worker->pid && status == 0, "a worker failed");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void measure(const struct row *row) {
    unsigned total = row->batches * row->pairs, n = 0;
    double *ours = calloc(3 * total, sizeof *ours), *peer = ours + total, *ratio = peer + total;
    check(ours != NULL, "calloc");
    for (unsigned pair = 0; pair < row->pairs; pair++) {
        struct worker a = start(&row->ours, row->count), b = start(&row->peer, row->count);
        for (unsigned batch = 0; batch < row->batches; batch++, n++) {
            // Who goes first changes too: the second finds warmer caches.
            if (n % 2) peer[n] = run(&b, row->count);
            ours[n] = run(&a, row->count);
            if (n % 2 == 0) peer[n] = run(&b, row->count);
            ratio[n] = ours[n] / peer[n];
        }
        stop(&a);
        stop(&b);
    }
    // The 95 % interval of a median lies 0.98 sqrt(n) ranks to both sides.
    unsigned reach = (unsigned)(0.98 * sqrt(total)) + 1, low = total / 2 - reach,
             high = total / 2 + reach;
    qsort(ours, total, sizeof *ours, ascending);
    qsort(peer, total, sizeof *peer, ascending);
    qsort(ratio, total, sizeof *ratio, ascending);
    printf("%s\tns\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%s\n", row->name, ours[total / 2],
           peer[total / 2], ratio[total / 2], ratio[low], ratio[high], row->target);
    fflush(stdout);
    free(ours);
}
