/* Alternate stacks that are hardly larger than the kernel's own frame: not a byte below them is anybody's to write. */
#include "host.h"
#include <stdint.h>

enum { BELOW = 16384, ABOVE = 65536, CANARY = 0x5a };

static unsigned char *memory; /* BELOW bytes that belong to others, then the stack */

static void new_stack(size_t size) {
    if (!memory) memory = mmap(NULL, BELOW + ABOVE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, CANARY, BELOW + ABOVE);
    stack_t stack = {.ss_sp = memory + BELOW, .ss_size = size};
    CHECK(sigaltstack(&stack, NULL) == 0);
}

/* How deep the stack of this size was used. */
static size_t used(size_t size) {
    size_t lowest = 0;
    while (memory[lowest] == CANARY) lowest++;
    return BELOW + size - lowest;
}

static volatile uintptr_t deepest;

static void empty(int signal) {
    char here;
    (void)signal;
    deepest = (uintptr_t)&here;
}

/* What the kernel's frame takes, down to where a handler begins. */
static size_t kernel_frame(int signal) {
    struct sigaction action = {.sa_handler = empty, .sa_flags = SA_ONSTACK}, before;
    CHECK(sigaction(signal, &action, &before) == 0);
    new_stack(ABOVE);
    raise(signal);
    CHECK(sigaction(signal, &before, NULL) == 0);
    return (size_t)((uintptr_t)memory + BELOW + ABOVE - deepest);
}

static int unix_socket(void) {
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && close(pair[1]) == 0);
    return pair[0];
}

static int tcp_socket(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), ours = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0 && connect(ours, (void *)&address, length) == 0);
    struct linger reset = {1, 0};
    int theirs = accept(listener, NULL, NULL);
    CHECK(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 && close(theirs) == 0 && close(listener) == 0);
    CHECK(write(ours, "x", 1) == -1 && errno == ECONNRESET);
    return ours;
}

/* A write to this on stacks that leave a handler from little to enough. */
static void on_every_stack(int fd, size_t from, size_t to) {
    for (size_t size = from; size <= to; size += 16) {
        new_stack(size);
        CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
        if (used(size) > size) {
            SAY("stack of %zu, %zu beyond the least: %zu bytes below it were written\n", size, size - from, used(size) - size);
            _exit(1);
        }
    }
}

/* The least that a handler is promised here: on a stack of 2,048 bytes processors with AVX2 leave about as many. */
enum { LEAST = 848 };

static void swallowed(void) {
    size_t frame = kernel_frame(SIGPIPE);
    CHECK(ward() == 0);
    int fds[] = {broken_pipe(), unix_socket(), tcp_socket()};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) on_every_stack(fds[i], frame + LEAST, frame + 4096);
#ifndef BARE
    sigward_counters counters;
    sigward_event event;
    CHECK(sigward_read_counters(&counters) == 0 && counters.chained == 0);
    /* On the last one it was told which it was. */
    uint64_t last = 0, seen = 0;
    while (sigward_read_events(&last, &event, 1) == 1) seen = last;
    CHECK(seen > 0 && seen < counters.swallowed && event.fd == fds[2]);
#endif
}

static volatile int calls;

static void counts(int signal) { (void)signal, calls++; }

/* A host's own handler behind us. */
static void chained(void) {
    size_t frame = kernel_frame(SIGPIPE);
    struct sigaction action = {.sa_handler = counts, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0 && ward() == 0);
    on_every_stack(broken_pipe(), frame + LEAST, frame + 4096);
    CHECK(calls > 200);
}

SCENARIOS({"swallowed", swallowed}, {"chained", chained})
