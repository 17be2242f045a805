/* What is measured by sight.rs. sight HOW [NUMBER [SIGNAL]] */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void nothing(int number) {
    (void)number;
}

static void *waits(void *unused) {
    for (;;) pause();
    return unused;
}

static void threads(int count) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (int made = 0; made < count; made++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, waits, 0)) abort();
    }
}

/* So many mappings that the kernel does not merge, a page of each used. */
static void maps(int count, size_t length) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *area = mmap(0, 2 * count * length, PROT_NONE, flags, -1, 0);
    for (int made = 0; made < count; made++) {
        char *one = area + 2 * made * length;
        if (mprotect(one, length, PROT_READ | PROT_WRITE)) abort();
        *one = 1;
    }
}

static int64_t nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int compare(const void *one, const void *other) {
    int64_t first = *(const int64_t *)one, second = *(const int64_t *)other;
    return (first > second) - (first < second);
}

/* Nanoseconds of a signal to itself, with a handler: the median, in which no turn of another
   program on a busy core counts. */
static void signals(int count, int number) {
    int64_t *times = calloc(count, sizeof *times);
    if (!times) abort();
    signal(number, nothing);
    for (int sent = 0; sent < count; sent++) {
        int64_t before = nanoseconds();
        syscall(SYS_tgkill, getpid(), gettid(), number);
        times[sent] = nanoseconds() - before;
    }
    qsort(times, count, sizeof *times, compare);
    printf("%lld\n", (long long)times[count / 2]);
}

/* The least that a tracer can do: it follows a child, in two system calls for each stop. */
static void follow(pid_t child) {
    siginfo_t stop;
    int any = WEXITED | WSTOPPED | WNOWAIT | __WALL;
    while (!waitid(P_ALL, 0, &stop, any) && stop.si_code == CLD_TRAPPED)
        if (ptrace(PTRACE_CONT, child, 0, (long)stop.si_status)) abort();
}

int main(int count, char **words) {
    const char *how = count > 1 ? words[1] : "";
    int number = count > 2 ? atoi(words[2]) : 0;
    if (!strcmp(how, "signals")) {
        signals(number, atoi(words[3]));
        return 0;
    }
    if (!strcmp(how, "followed")) {
        int ends[2];
        char seized = 0;
        if (pipe(ends)) abort();
        pid_t child = fork();
        if (child == 0) {
            if (read(ends[0], &seized, 1) == 1) signals(number, atoi(words[3]));
            return 0;
        }
        if (ptrace(PTRACE_SEIZE, child, 0, 0) || write(ends[1], &seized, 1) != 1) abort();
        follow(child);
        return 0;
    }
    if (!strcmp(how, "pipe")) {
        int ends[2];
        signal(SIGPIPE, SIG_DFL);
        if (pipe(ends) || close(ends[0])) abort();
        return write(ends[1], "x", 1) == 1;
    }
    if (!strcmp(how, "large")) {
        threads(1000);
        maps(number / 2, 4096);
    }
    if (!strcmp(how, "core")) {
        struct rlimit most = {RLIM_INFINITY, RLIM_INFINITY};
        threads(500);
        maps(2048, 1 << 20);
        maps(2048, 1 << 20);
        if (setrlimit(RLIMIT_CORE, &most)) abort();
        raise(SIGBUS);
    }
    puts("ready");
    fflush(stdout);
    pause();
}
