/* Ways to die. victim HOW [PATH] */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static char large[1 << 20];

static void is(const char *what) {
    puts(what);
    fflush(stdout);
}

/* Waits until a thread of this process is inside a system call. */
static void until_inside(int tid, long call) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/task/%d/syscall", tid);
    for (long number = -1; number != call; usleep(1000)) {
        FILE *file = fopen(name, "r");
        if (!file || fscanf(file, "%ld", &number) != 1) number = -1;
        if (file) fclose(file);
    }
}

/* Maps a MiB of the file and cuts it. */
static void *cut(void *unused) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (ftruncate(fd, 1 << 20)) abort();
    volatile char *map = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[0] = 1;
    /* The other waits for this thread. */
    until_inside(getpid(), SYS_futex);
    if (ftruncate(fd, 0)) abort();
    map[81925];
    return unused;
}

/* Goes on when the first thread has ended, with a cut map and a broken pipe. */
static void *alone(void *unused) {
    int ends[2], fd = open(path, O_RDWR | O_CREAT, 0600);
    if (pipe(ends) || close(ends[0]) || ftruncate(fd, 1 << 20)) abort();
    if (mmap(0, 1 << 20, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED || ftruncate(fd, 0)) abort();
    is("ready");
    getchar();
    if (write(ends[1], "x", 1) != 1) abort();
    return unused;
}

static _Atomic int opener;

static void *open_fifo(void *name) {
    opener = syscall(SYS_gettid);
    open(name, O_WRONLY);
    return 0;
}

static void *break_pipe(void *result) {
    int ends[2];
    if (pipe(ends)) abort();
    int fd = dup2(ends[1], 17);
    close(ends[0]);
    close(ends[1]);
    *(ssize_t *)result = write(fd, "x", 1);
    return 0;
}

/* Writes to a connection whose peer has gone away and said so. */
static void *ship(void *unused) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof at;
    char byte;
    prctl(PR_SET_NAME, "shipper");
    int listener = socket(AF_INET, SOCK_STREAM, 0), out = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&at, length) || listen(listener, 1)) abort();
    if (getsockname(listener, (void *)&at, &length)) abort();
    if (connect(out, (void *)&at, length)) abort();
    int peer = accept(listener, 0, 0), fd = dup2(out, 17);
    struct linger at_once = {1, 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(peer);
    /* The first tells of the reset. */
    if (read(fd, &byte, 1) != -1) abort();
    write(fd, "x", 1);
    return unused;
}

/* Becomes another program while the first thread and a third are there. */
static void *become(void *unused) {
    execl("/proc/self/exe", "victim", "pipe", (char *)0);
    abort();
}

static void *sleeps(void *unused) {
    for (;;) pause();
}

static void handler(int signal) { (void)signal; }

static volatile sig_atomic_t suspended;

/* As an editor does, which puts the terminal in order before it stops. */
static void suspend(int signal) {
    is("suspending");
    suspended = 1;
    sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, 0);
    raise(signal); /* when this returns */
}

static char stack[1 << 16];

static int outlive(void *unused) {
    return getchar();
}

int main(int count, char **argv) {
    /* Yama lets descendants only, else. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    const char *how = count > 1 ? argv[1] : "ship";
    pthread_t thread;
    path = count > 2 ? argv[2] : 0;
    setvbuf(stdout, 0, _IOLBF, 0);
    if (getenv("IGNORE")) signal(SIGPIPE, SIG_IGN);
    if (getenv("CATCH")) signal(SIGPIPE, handler);
    if (getenv("WAIT")) getchar();
    /* What was inherited may be broken, too. */
    if (!strcmp(how, "doomed") || !strcmp(how, "sleep")) syscall(SYS_close_range, 3, ~0U, 0);
    if (!strcmp(how, "cut")) {
        /* Another thread is inside open(2) for as long as nobody reads the FIFO. */
        char fifo[4096];
        snprintf(fifo, sizeof fifo, "%s.fifo", path);
        if (mkfifo(fifo, 0600)) abort();
        pthread_create(&thread, 0, open_fifo, fifo);
        while (!opener) usleep(1000);
        until_inside(opener, SYS_openat);
        pthread_create(&thread, 0, cut, 0);
        pthread_join(thread, 0);
    } else if (!strcmp(how, "full")) {
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (ftruncate(fd, 64 << 20)) abort();
        char *map = mmap(0, 64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        for (int at = 0; at < 64 << 20; at += 4096) map[at + 7] = 1;
    } else if (!strcmp(how, "pipe")) {
        ssize_t result = 0;
        pthread_create(&thread, 0, break_pipe, &result);
        pthread_join(thread, 0);
        is(result < 0 ? "EPIPE" : "written");
    } else if (!strcmp(how, "blocked")) {
        /* Raised where nobody can see the write any more. */
        sigset_t set;
        ssize_t result;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        sigprocmask(SIG_BLOCK, &set, 0);
        break_pipe(&result);
        sigprocmask(SIG_UNBLOCK, &set, 0);
    } else if (!strcmp(how, "suspends")) {
        sigaction(SIGTSTP, &(struct sigaction){.sa_handler = suspend}, 0);
        is("ready");
        for (;; usleep(1000))
            if (suspended) {
                suspended = 0;
                is("resumed");
            }
    } else if (!strcmp(how, "clone")) {
        /* A process, that sends nothing when it ends. */
        if (clone(outlive, stack + sizeof stack, 0, 0) < 0) abort();
    } else if (!strcmp(how, "partial")) {
        int ends[2];
        if (pipe(ends)) abort();
        if (!fork()) {
            close(ends[1]);
            /* Until it is full. */
            for (int held = 0; held < 65536; usleep(1000)) ioctl(ends[0], FIONREAD, &held);
            _exit(0);
        }
        close(ends[0]);
        write(ends[1], large, sizeof large);
    } else if (!strcmp(how, "kill")) {
        kill(getpid(), SIGPIPE);
        pause();
    } else if (!strcmp(how, "child")) {
        pid_t child = fork();
        int status = 0;
        if (!child) {
            ssize_t result;
            break_pipe(&result);
            _exit(0);
        }
        waitpid(child, &status, 0);
        printf("child %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    } else if (!strcmp(how, "exec")) {
        execl("/proc/self/exe", argv[0], "pipe", (char *)0);
    } else if (!strcmp(how, "ship")) {
        pthread_create(&thread, 0, ship, 0);
        pthread_join(thread, 0);
    } else if (!strcmp(how, "thread-exec")) {
        pthread_create(&thread, 0, sleeps, 0);
        pthread_create(&thread, 0, become, 0);
        pthread_join(thread, 0);
    } else if (!strcmp(how, "abort")) {
        abort();
    } else if (!strcmp(how, "xfsz")) {
        struct rlimit limit = {1000, 1000};
        setrlimit(RLIMIT_FSIZE, &limit);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        while (write(fd, large, 600) > 0) {}
    } else if (!strcmp(how, "exit")) {
        return atoi(argv[2]);
    } else if (!strcmp(how, "killed")) {
        kill(getpid(), SIGKILL);
    } else if (!strcmp(how, "audited")) {
        /* A map of a file that is cut, a blocked signal, a socket. */
        sigset_t bus;
        sigemptyset(&bus);
        sigaddset(&bus, SIGBUS);
        sigprocmask(SIG_BLOCK, &bus, 0);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (ftruncate(fd, 1 << 20)) abort();
        mmap(0, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
        if (ftruncate(fd, 4096) || socket(AF_UNIX, SOCK_STREAM, 0) < 0) abort();
        is("ready");
        for (;;) pause();
    } else if (!strcmp(how, "lost")) {
        /* A byte of a file that is cut after it was mapped. */
        int fd = open(path, O_RDWR), kind = argv[3] ? MAP_PRIVATE : MAP_SHARED;
        volatile char *map = mmap(0, 1 << 20, PROT_READ, kind, fd, 0);
        char first = map[81925];
        if (ftruncate(fd, 0)) abort();
        if (getenv("MUTE")) close(2);
        printf("%d %d %d\n", first, map[81925], map[100000]);
    } else if (!strcmp(how, "threads")) {
        /* So many besides the first, as far as there may be. */
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        for (int left = atoi(argv[2]); left && !pthread_create(&thread, &small, sleeps, 0);) left--;
        is("ready");
        for (;;) pause();
    } else if (!strcmp(how, "maps")) {
        /* A map of a file that is cut, and so many more, as far as there may be. */
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        if (ftruncate(fd, 1 << 20)) abort();
        volatile char *map = mmap(0, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
        if (ftruncate(fd, 4096)) abort();
        size_t left = atoi(argv[3]);
        char *one = mmap(0, 2 * left * 4096, PROT_NONE, flags, -1, 0);
        for (; left && !mprotect(one, 4096, PROT_READ); one += 2 * 4096) left--;
        is("ready");
        getchar();
        map[81925];
    } else if (!strcmp(how, "reads")) {
        mmap(0, 5000, PROT_READ, MAP_PRIVATE, open(path, O_RDONLY), 0);
        is("ready");
        for (;;) pause();
    } else if (!strcmp(how, "stores")) {
        /* A shared map of so many bytes, and no block for them. */
        int fd = open(path, O_RDWR | O_CREAT, 0600), length = atoi(argv[3]);
        if (ftruncate(fd, length)) abort();
        mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        is("ready");
        for (;;) pause();
    } else if (!strcmp(how, "doomed")) {
        /* A pipe without a reader and one with, a peer that is gone, one that is there, a listener,
         * a cut map, a signal that waits. */
        int broken[2], sound[2], peers[2], friends[2];
        sigset_t term;
        sigemptyset(&term);
        sigaddset(&term, SIGTERM);
        sigprocmask(SIG_BLOCK, &term, 0);
        kill(getpid(), SIGTERM);
        if (pipe(broken) || pipe(sound)) abort();
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, peers)) abort();
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, friends)) abort();
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        if (listener < 0 || listen(listener, 1) || socket(AF_UNIX, SOCK_STREAM, 0) < 0) abort();
        close(broken[0]);
        close(peers[0]);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        if (ftruncate(fd, 1 << 20)) abort();
        mmap(0, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
        if (ftruncate(fd, 4096)) abort();
        printf("%d %d\n", broken[1], peers[1]);
        for (;;) pause();
    } else if (!strcmp(how, "parent")) {
        /* Ends with its child, which ends when stdin does: a worker, or another program. */
        if (fork()) {
            wait(0);
            return 0;
        }
        if (strstr(argv[2], "ignore")) signal(SIGPIPE, SIG_IGN);
        if (strstr(argv[2], "other"))
            execl("/bin/sh", "sh", "-c", "echo ready; read line", (char *)0);
        is("ready");
        getchar();
    } else if (!strcmp(how, "leaderless")) {
        pthread_t other;
        if (pthread_create(&other, 0, alone, 0)) abort();
        pthread_exit(0);
    } else if (!strcmp(how, "sleep")) {
        is("ready");
        for (;;) pause();
    }
    return 0;
}
