/* Right or unknown: who made the call, which one, on what. Under a storm of lower signals too.
 * Warded only. */
#include "host.h"
#include <alloca.h>
#include <dlfcn.h>

static long (*caller)(const char *, int);
static volatile int storm = 1, lower;
static uint64_t cursor;
#ifndef __x86_64__
/* Whether the kernel (an emulator's does not) copies memory that may not be there: with what lies
 * behind the end of a page. */
static int copies;
#endif

static void on_lower(int signal) { (void)signal, lower++; }

static void *stormy(void *victim) {
    while (storm) {
        pthread_kill(*(pthread_t *)victim, lower % 2 ? SIGUSR1 : SIGHUP);
        for (volatile int pause = 0; pause < 3000; pause++) {}
    }
    return NULL;
}

static int broken(const char *kind) {
    int ends[2];
    if (strcmp(kind, "pipe") == 0) return broken_pipe();
    if (strcmp(kind, "unix") == 0) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        close(ends[1]);
        return ends[0];
    }
    /* Shut down on our own side: nothing about it looks broken. */
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && shutdown(ends[0], SHUT_WR) == 0);
    return ends[0];
}

static void check(const char *call, const char *kind, int rounds) {
    int fd = broken(kind);
    for (int i = 0; i < rounds; i++) {
        CHECK(caller(call, fd) == -1 && errno == EPIPE);
        sigward_event event;
        char library[64];
        CHECK(sigward_read_events(&cursor, &event, 1) == 1);
        CHECK(sigward_event_library(&event, library, sizeof library) >= 0);
        int own = strcmp(call, "own system call") == 0;
        const char *operation = sigward_event_operation(&event);
        /* On x86-64 the number is in sight if the call was made right after loading it, as the C
           library's wrappers do in a process of one thread. */
        const char *wanted = own ? "write" : call;
        /* What the C library makes of it where the kernel (an emulator's) has no such call. */
        if (strcmp(call, "pwritev2") == 0 && strcmp(operation, "writev") == 0) wanted = "writev";
        if (*operation == '\0' && (own || rounds > 1)) wanted = "";
        /* Then the length, 1, may be a descriptor just as well: nothing looks broken, and it says
         * so. */
        if (own && strcmp(kind, "shut") == 0 && event.fd == -1 &&
            strcmp(library, "libcaller.so") == 0)
            continue;
        int known = event.fd == fd && event.fd_kind == (strcmp(kind, "pipe") == 0 ? 1 : 2);
#ifdef __x86_64__
        int right = known && strcmp(operation, wanted) == 0 && strcmp(library, "libcaller.so") == 0;
#else
        /* The result is in the descriptor's register. Most of the C library's wrappers have it in
           another one still; of the others it is unknown, never wrong. */
        int lost = strcmp(call, "sendfile") == 0 || own || !copies;
        int right = (known || (lost && event.fd == -1)) && strcmp(operation, wanted) == 0 &&
                    strcmp(library, "libcaller.so") == 0;
#endif
        if (!right) {
            SAY("%s on %s, round %d: fd %d (not %d), kind %d, by %s in %s\n", call, kind, i,
                event.fd, fd, event.fd_kind, operation, library);
            _exit(1);
        }
    }
    close(fd);
}

/* What lies below the stack pointer may make no difference either: a handler finds it in its
 * frame. */
static __attribute__((noinline)) void leave_something(void) {
    volatile char room[32768];
    memset((char *)room, 0x7f, sizeof room);
}

/* Where in its page the stack pointer is may make no difference. */
static __attribute__((noinline)) void at_depth(size_t depth, const char *call, const char *kind) {
    volatile char *room = alloca(depth + 1);
    room[depth] = 1;
    leave_something();
    check(call, kind, 1);
}

int main(int argc, char **argv) {
    static const char *const pipe_calls[] = {"write",  "writev", "pwritev2", "sendfile",
                                             "splice", "tee",    "vmsplice", "own system call"};
    static const char *const socket_calls[] = {"write",    "writev",  "pwritev2",
                                               "sendto",   "sendmsg", "sendmmsg",
                                               "sendfile", "splice",  "own system call"};
    CHECK(argc == 3);
    void *library = dlopen(argv[1], RTLD_NOW);
    CHECK(library);
    *(void **)&caller = dlsym(library, "caller");
    CHECK(caller && ward() == 0);
    int rounds = atoi(argv[2]);
#ifndef __x86_64__
    struct iovec here = {&rounds, sizeof rounds}, there = {&copies, sizeof copies};
    copies = process_vm_readv(getpid(), &there, 1, &here, 1, 0) > 0;
#endif
    pthread_t self = pthread_self(), thread;
    if (rounds > 1) {
        signal(SIGUSR1, on_lower);
        signal(SIGHUP, on_lower);
        CHECK(pthread_create(&thread, NULL, stormy, &self) == 0);
    }
    do { /* on a busy machine the storm may not have had a processor yet */
        for (size_t i = 0; i < sizeof pipe_calls / sizeof *pipe_calls; i++)
            check(pipe_calls[i], "pipe", rounds);
        for (size_t i = 0; i < sizeof socket_calls / sizeof *socket_calls; i++) {
            check(socket_calls[i], "unix", rounds);
            /* splice to it says so before it looks: an error without a signal. */
            if (strcmp(socket_calls[i], "splice") != 0) check(socket_calls[i], "shut", rounds);
        }
    } while (rounds > 1 && lower <= 100);
    for (size_t depth = 0; depth < 4096 && rounds == 1; depth += 16) {
        at_depth(depth, "sendfile", "pipe");
        at_depth(depth, "write", "unix");
    }
    if (rounds > 1) {
        storm = 0;
        pthread_join(thread, NULL);
        CHECK(lower > 100);
    }
    return 0;
}
