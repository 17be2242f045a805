/* Alternate stacks that are hardly larger than the kernel's own frame: not a byte below them is
 * anybody's to write. */
#include "maps.h"
#include <alloca.h>

enum { BELOW = 16384, ABOVE = 65536, CANARY = 0x5a };

/* What sigaltstack(2) takes at least. The C library's MINSIGSTKSZ asks for far more. */
#ifdef __aarch64__
enum { LEAST = 5120, ALWAYS_TELLS = 0 };
#else
enum { LEAST = 2048, ALWAYS_TELLS = 1 };
#endif

static unsigned char *memory; /* BELOW bytes that belong to others, then the stack */

static void new_stack(size_t size) {
    /* Shared: children die on it. */
    if (!memory)
        memory =
            mmap(NULL, BELOW + ABOVE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    memset(memory, CANARY, BELOW + ABOVE);
    stack_t stack = {.ss_sp = memory + BELOW, .ss_size = size};
    CHECK(sigaltstack(&stack, NULL) == 0);
}

/* How deep the stack of this size was used. */
static size_t used(size_t size) {
    size_t lowest = 0;
    while (lowest < BELOW + size && memory[lowest] == CANARY) lowest++;
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
    CHECK(getsockname(listener, (void *)&address, &length) == 0 &&
          connect(ours, (void *)&address, length) == 0);
    struct linger reset = {1, 0};
    int theirs = accept(listener, NULL, NULL);
    CHECK(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0 &&
          close(theirs) == 0 && close(listener) == 0);
    await_reset(ours);
    CHECK(write(ours, "x", 1) == -1 && errno == ECONNRESET);
    return ours;
}

static void untouched_below(const char *what, size_t size) {
    if (used(size) <= size) return;
    SAY("%s, stack of %zu: %zu bytes below it were written\n", what, size, used(size) - size);
    _exit(1);
}

/* From the smallest stack that the kernel takes, or that its frame fits on, to one with room for
 * everything. */
static void on_every_stack(const char *what, int signal, void (*run)(void)) {
    size_t least = kernel_frame(signal) + 16;
    if (least < LEAST) least = LEAST;
    least = (least + 15) / 16 * 16;
    for (size_t size = least; size <= ABOVE; size += size < least + 1024   ? 16
                                                     : size < least + 8192 ? 128
                                                                           : 2048) {
        new_stack(size);
        run();
        untouched_below(what, size);
    }
}

static int broken;

static void write_to_it(void) { CHECK(write(broken, "x", 1) == -1 && errno == EPIPE); }

static void swallowed(void) {
    CHECK(ward() == 0);
    int fds[] = {broken_pipe(), unix_socket(), tcp_socket()};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        broken = fds[i];
        struct sigaction ours;
        CHECK(sigaction(SIGPIPE, NULL, &ours) == 0);
        on_every_stack("swallowed", SIGPIPE, write_to_it);
#ifndef BARE
        /* However small the stack was, it was told which it was. */
        sigward_event event = {0};
        uint64_t last = 0;
        while (sigward_read_events(&last, &event, 1) == 1)
            CHECK(event.fd == broken || event.fd == -1 || i > 0);
        CHECK(event.fd == broken || !ALWAYS_TELLS);
#endif
    }
#ifndef BARE
    sigward_counters all;
    CHECK(sigward_read_counters(&all) == 0 && all.chained == 0 &&
          (all.unattributed == 0 || !ALWAYS_TELLS) && all.swallowed > 400);
#endif
}

static volatile int calls;
static volatile uint64_t mask_seen;

static uint64_t mask_now(void) {
    uint64_t now = 0;
    CHECK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, sizeof now) == 0);
    return now;
}

static void counts(int signal) { (void)signal, calls++, mask_seen = mask_now(); }

/* A host's own handler behind us: with its mask, and with all of the stack. */
static void chained(void) {
    struct sigaction action = {.sa_handler = counts, .sa_flags = SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    broken = broken_pipe();
    write_to_it();
    uint64_t bare = mask_seen, before = mask_now();
    CHECK(ward() == 0);
#ifndef BARE
    CHECK(sigward_sigbus_guard() == 0);
#endif
    size_t frame = kernel_frame(SIGPIPE);
    int begun = calls, rounds = 0;
    for (size_t size = frame + 1024; size < 40000; size += size < 12000 ? 64 : 1024) {
        new_stack(size);
        mask_seen = 0, errno = 77;
        write_to_it();
        CHECK(mask_seen == bare && mask_now() == before);
        errno = 77;
        kill(getpid(), SIGBUS);
        CHECK(errno == 77 && mask_now() == before &&
              mask_seen == ((bare & ~(1UL << (SIGPIPE - 1))) | 1UL << (SIGBUS - 1)));
        rounds++;
        untouched_below("chained", size);
    }
    CHECK(calls - begun == 2 * rounds);
}

/* ---- faults ---- */

enum { LOST = 3 * PAGE };

static void lost_page(void) {
    const char *path = new_file("lost", LOST);
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, 0) == 0 && bytes(map)[PAGE] == 0);
    sigward_fault fault = status_of(map);
    WARD_CHECK(fault.cause == SIGWARD_CAUSE_TRUNCATED && fault.tid == (int)syscall(SYS_gettid));
    sigward_map_close(map);
}

static void adopted_page(void) {
    int fd = nameless(LOST);
    volatile unsigned char *data = mmap(NULL, LOST, PROT_READ, MAP_SHARED, fd, 0);
    sigward_adopted *adopted;
    CHECK(sigward_adopt_range((void *)data, LOST, fd, 0, &adopted) == 0);
    CHECK(ftruncate(fd, 0) == 0 && data[PAGE] == 0);
    sigward_adopted_close(adopted);
    munmap((void *)data, LOST), close(fd);
}

#ifndef BARE
static void copy_of_lost(void) {
    int fd = nameless(LOST);
    unsigned char *data = mmap(NULL, LOST, PROT_READ, MAP_SHARED, fd, 0), copy[64];
    CHECK(ftruncate(fd, PAGE) == 0 && sigward_try_copy(copy, data + PAGE - 32, sizeof copy) == 32);
    munmap(data, LOST), close(fd);
}
#endif

static void faults(void) {
    CHECK(ward() == 0);
#ifndef BARE
    CHECK(sigward_sigbus_guard() == 0);
    on_every_stack("checked copy", SIGBUS, copy_of_lost);
#endif
    on_every_stack("lost page", SIGBUS, lost_page);
    on_every_stack("adopted page", SIGBUS, adopted_page);
}

/* ---- the default action ---- */

static int fatal;

static void dies(void) {
    int status;
    pid_t child = fork();
    if (child == 0) kill(getpid(), fatal), _exit(0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == fatal);
}

static void by_default(void) {
    CHECK(setrlimit(RLIMIT_CORE, &(struct rlimit){0}) == 0 && ward() == 0);
    for (int i = 0; i < 2; i++) on_every_stack("default", fatal = i ? SIGBUS : SIGPIPE, dies);
}

/* ---- handlers of others, on the same stack ---- */

#ifdef __aarch64__
enum { OTHERS = 3 }; /* its frames are twice as large */
#else
enum { OTHERS = 7 };
#endif

static volatile int depth;
static void (*volatile innermost)(void);
static const int others[] = {SIGALRM, SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2, SIGURG, SIGIO};

static void other(int signal) {
    char here;
    (void)signal;
    deepest = (uintptr_t)&here;
    if (innermost && ++depth < OTHERS) raise(others[depth]);
    else if (innermost) innermost();
}

static void each_in_the_one_before(void (*run)(void)) {
    depth = 0, innermost = run;
    raise(others[0]);
    innermost = NULL;

    CHECK(depth == OTHERS);
}

static void no_more(void) {}
static void nested_write(void) { each_in_the_one_before(write_to_it); }

static sigward_map *lost_map;
static void touch_lost(void) { CHECK(bytes(lost_map)[PAGE] == 0); }
static void nested_touch(void) { each_in_the_one_before(touch_lost); }

/* The other way round: a host's own handler of SIGPIPE, behind ours, is interrupted by all others.
 */
static void interrupted(int signal) {
    (void)signal;
    each_in_the_one_before(no_more);
}

static size_t taken_by(void (*run)(void)) {
    new_stack(ABOVE);
    run();
    return (used(ABOVE) + 63) / 64 * 64;
}

static void nested(void) {
    /* With SA_SIGINFO, or the kernel leaves a part of its frame as it was. */
    struct sigaction action = {.sa_handler = other, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    for (int i = 0; i < OTHERS; i++) CHECK(sigaction(others[i], &action, NULL) == 0);
    broken = broken_pipe();
    action.sa_handler = interrupted;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    size_t above = taken_by(write_to_it);
    CHECK(ward() == 0);
    new_stack(above);
    write_to_it();
    untouched_below("interrupted", above);
#ifndef BARE
    CHECK(sigward_sigpipe_restore() == 0);
#endif
    /* What they take with an empty handler for SIGPIPE. */
    action.sa_handler = empty;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    size_t beneath = taken_by(nested_write);
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR && ward() == 0);
    int fds[] = {broken, unix_socket(), tcp_socket()};
    for (int i = 0; i < 3; i++) {
        broken = fds[i];
        new_stack(beneath);
        nested_write();
        untouched_below("nested", beneath);
    }
    const char *path = new_file("lost", LOST);
    lost_map = open_map(path, NULL);
    CHECK(truncate(path, 0) == 0);
    new_stack(beneath);
    nested_touch();
    untouched_below("nested fault", beneath);
#ifndef BARE
    sigward_event event = {0};
    uint64_t last = 0, seen = 0;
    while (sigward_read_events(&last, &event, 1) == 1) seen += seen < 3 && event.fd == fds[seen];
    CHECK(seen == 3 || !ALWAYS_TELLS);
#endif
}

/* ---- a handler above ours ---- */

static struct sigaction beneath_it;
static volatile int number_alone, masks_differ;

static void above_ours(int signal, siginfo_t *info, void *context) {
    uint64_t before = mask_now();
    if (number_alone) ((void (*)(int))beneath_it.sa_handler)(signal);
    else beneath_it.sa_sigaction(signal, info, context);
    masks_differ += mask_now() != before;
}

/* It passes signals on, with all that it got or without: to ours, and to a host's handler behind
 * that. */
static void passed_on(void) {
    struct sigaction action = {.sa_handler = counts, .sa_flags = SA_ONSTACK};
    broken = broken_pipe();
    for (int behind = 0; behind < 2; behind++) {
        if (behind) CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
        CHECK(ward() == 0 && sigaction(SIGPIPE, NULL, &beneath_it) == 0);
        install(SIGPIPE, above_ours, SA_ONSTACK);
        size_t frame = kernel_frame(SIGPIPE);
        int begun = calls, rounds = 0;
        for (number_alone = 0; number_alone < 1 + ALWAYS_TELLS; number_alone++)
            for (size_t size = frame + 512; size < ABOVE;
                 size += size < frame + 6000 ? 64 : 1024, rounds++) {
                new_stack(size);
                errno = 77;
                write_to_it();
                untouched_below("passed on", size);
            }
        CHECK(masks_differ == 0 && calls - begun == (behind ? rounds : 0));
#ifndef BARE
        CHECK(sigward_sigpipe_restore() == 0);
#endif
    }
}

/* ---- an argument that leads behind the stack ---- */

static uintptr_t behind_it;

/* One whose second and third register hold whatever its code has left there. */
static void leads_behind(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    beneath_it.sa_sigaction(signal, (siginfo_t *)behind_it, (void *)(behind_it + 1024));
}

static void stray(void) {
    enum { STACK = 6 * PAGE };
    unsigned char *area =
        mmap(NULL, STACK + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED && mprotect(area + STACK, 2 * PAGE, PROT_NONE) == 0);
    behind_it = (uintptr_t)area + STACK + 64;
    broken = broken_pipe();
    struct sigaction action = {.sa_handler = counts, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0 && sigaction(SIGPIPE, NULL, &beneath_it) == 0);
    install(SIGPIPE, leads_behind, SA_ONSTACK | SA_SIGINFO);
    CHECK(sigaltstack(&(stack_t){.ss_sp = area, .ss_size = STACK}, NULL) == 0);
    write_to_it();
}

/* ---- a thread's own stack ---- */

enum { THREAD = 32 * PAGE };

static struct {
    unsigned char *low;
    size_t rest;
    void (*run)(void);
} nearly;

static void *on_the_rest(void *unused) {
    (void)unused;
    char here;
    volatile char *taken = alloca((size_t)((unsigned char *)&here - nearly.low) - nearly.rest);
    taken[0] = 1;
    nearly.run();
    return NULL;
}

/* On a stack with about this many bytes left, and nothing below: how a child ends. */
static int with_little_left(size_t rest, void (*run)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        unsigned char *area =
            mmap(NULL, PAGE + THREAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(area != MAP_FAILED && mprotect(area, PAGE, PROT_NONE) == 0);
        nearly.low = area + PAGE, nearly.rest = rest, nearly.run = run;
        pthread_attr_t attributes;
        pthread_t thread;
        CHECK(pthread_attr_init(&attributes) == 0 &&
              pthread_attr_setstack(&attributes, area + PAGE, THREAD) == 0);
        CHECK(pthread_create(&thread, &attributes, on_the_rest, NULL) == 0 &&
              pthread_join(thread, NULL) == 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static void told(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
}

static void nearly_full(void) {
    /* Without a siginfo the lowest part of the kernel's frame is not written (aarch64). */
    struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO};
    CHECK(setrlimit(RLIMIT_CORE, &(struct rlimit){0}) == 0 &&
          sigaction(SIGPIPE, &action, NULL) == 0);
    broken = broken_pipe();
    size_t least = 0;
    while (with_little_left(least, write_to_it) != 0) least += 64;
    CHECK(least > 1024 && signal(SIGPIPE, SIG_DFL) != SIG_ERR && ward() == 0);
    const char *path = new_file("lost", LOST);
    lost_map = open_map(path, NULL);
    CHECK(truncate(path, 0) == 0);
    void (*runs[])(void) = {write_to_it, touch_lost};
    for (int i = 0; i < 2; i++)
        for (size_t rest = least + 64; rest < least + 6 * PAGE; rest += 192) {
            int status = with_little_left(rest, runs[i]);
            if (status == 0) continue;
            SAY("run %d with %zu bytes left, %zu are enough: status %#x\n", i, rest, least, status);
            if (status == SIGPIPE) kill(getpid(), SIGPIPE);
            _exit(1);
        }
}

SCENARIOS({"swallowed", swallowed}, {"chained", chained}, {"faults", faults},
          {"by_default", by_default}, {"nested", nested}, {"passed_on", passed_on},
          {"stray", stray}, {"nearly_full", nearly_full})
