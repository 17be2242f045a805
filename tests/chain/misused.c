/* Hosts whose libraries handle signals badly: rows put back in part, siginfos dropped, jumps,
 * handlers armed anew. */
#include "host.h"
#include <setjmp.h>
#include <stdatomic.h>
#include <ucontext.h>

static volatile int calls;

static void writes_fail(int how_many) {
    int fd = broken_pipe();
    for (int i = 0; i < how_many; i++) CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    close(fd);
}

/* ---- rows put back in part ---- */

#ifndef BARE
/* What a library leaves that ignores a signal around its own calls. */
static void flip(int number) {
    void (*old)(int) = signal(number, SIG_IGN);
    CHECK(old != SIG_ERR && signal(number, old) != SIG_ERR);
}

/* As much of the stack as handlers and their frames take. */
__attribute__((noinline)) static void fill_stack(int with) {
    volatile char room[30000];
    for (size_t i = 0; i < sizeof room; i++) room[i] = (char)with;
}

static int is_whole(int number) {
    struct sigaction row;
    CHECK(sigaction(number, NULL, &row) == 0);
    return (row.sa_flags & SA_SIGINFO) && (row.sa_flags & SA_ONSTACK);
}

static uint64_t overwritten(void) {
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0);
    return counters.overwritten;
}

/* Who looks sees it, who asks for it mends it, and it is counted once, whoever sees it first. */
static void mended(void) {
    sigward_sigpipe_report report;
    CHECK(ward() == 0);
    for (int how = 0; how < 8; how++) {
        uint64_t before = overwritten();
        flip(SIGPIPE);
        for (int looks = how / 4 * 2; looks > 0; looks--)
            CHECK(sigward_sigpipe_status(&report) == 0 && report.seat == SIGWARD_SEAT_COVERED);
        if (how % 4 == 0) CHECK(sigward_ensure_on_top() == 0);
        if (how % 4 == 1) CHECK(ward() == 0);
        if (how % 4 == 2) CHECK(sigward_repair(SIGPIPE) == 1 && sigward_repair(SIGPIPE) == 0);
        if (how % 4 == 3) writes_fail(1);
        CHECK(is_whole(SIGPIPE));
        CHECK(sigward_sigpipe_status(&report) == 0 && report.seat == SIGWARD_SEAT_ON_TOP);
        CHECK(overwritten() == before + 1);
    }
    CHECK(sigward_sigbus_guard() == 0);
    for (int how = 0; how < 3; how++) {
        uint64_t before = overwritten();
        flip(SIGBUS);
        if (how == 0) CHECK(sigward_ensure_on_top() == 0);
        if (how == 1) CHECK(ward() == 0);
        if (how == 2) CHECK(sigward_repair(SIGBUS) == 1);
        CHECK(is_whole(SIGBUS) && overwritten() == before + 1);
    }
}

/* Our row with a flag that makes it go with its first call: told and mended by who looks. */
static void make_one_shot(void) {
    struct sigaction row;
    CHECK(sigaction(SIGPIPE, NULL, &row) == 0);
    row.sa_flags |= SA_RESETHAND;
    CHECK(sigaction(SIGPIPE, &row, NULL) == 0);
}

static void one_shot(void) {
    sigward_sigpipe_report report;
    CHECK(ward() == 0);
    for (int how = 0; how < 3; how++) {
        make_one_shot();
        CHECK(sigward_sigpipe_status(&report) == 0 && report.seat == SIGWARD_SEAT_COVERED);
        CHECK(how != 0 || sigward_ensure_on_top() == 0);
        CHECK(how != 1 || ward() == 0);
        CHECK(how != 2 || sigward_repair(SIGPIPE) == 1);
        CHECK(sigward_sigpipe_status(&report) == 0 && report.seat == SIGWARD_SEAT_ON_TOP);
        writes_fail(3);
    }
    make_one_shot();
    writes_fail(1);
    SAY("one\n");
    writes_fail(1); /* the kernel has put the default back, and asks nobody any more */
}

static char *two_pages(int *fd, sigward_map **map) {
    *fd = memfd_create("file", 0);
    CHECK(ftruncate(*fd, 4 * PAGE_BYTES) == 0 && sigward_map_fd(*fd, NULL, map) == 0);
    return (char *)sigward_map_data(*map);
}

/* The same for faults: the registers say where. */
static void flipped_bus(void) {
    int fd;
    sigward_map *map;
    char *data = two_pages(&fd, &map), here[16];
    for (int page = 3; page > 0; page--) {
        flip(SIGBUS);
        CHECK(sigward_thread_check() != 0);
        CHECK(ftruncate(fd, page * PAGE_BYTES) == 0);
        fill_stack(page);
        CHECK(((volatile char *)data)[page * PAGE_BYTES + 5] == 0);
        CHECK(sigward_thread_check() == 0 && is_whole(SIGBUS));
        CHECK(sigward_map_read_at(map, page * PAGE_BYTES, here, sizeof here) < 0);
    }
    flip(SIGBUS);
    CHECK(sigward_ensure_on_top() == 0 && is_whole(SIGBUS));
    flip(SIGBUS);
    CHECK(ward() == 0 && is_whole(SIGBUS));
}

static void flipped_segv(void) {
    char here[16];
    CHECK(sigward_try_copy_segv() == 0);
    for (int i = 0; i < 3; i++) {
        flip(SIGSEGV);
        fill_stack(i);
        CHECK(sigward_try_copy(here, (void *)16, sizeof here) == 0);
        CHECK(is_whole(SIGSEGV));
    }
    flip(SIGSEGV);
    CHECK(sigward_ensure_on_top() == 0 && is_whole(SIGSEGV));
}

/* A library that flips a signal all the time, with a handler that does nothing: the faults that it
 * gets meanwhile are raised again. */
static atomic_int flipping;

static void idle(int signal) { (void)signal; }

static void *flips(void *signal_number) {
    int number = *(int *)signal_number;
    while (flipping) {
        void (*saved)(int) = signal(number, idle);
        signal(number, saved);
    }
    return NULL;
}

static void flipped_meanwhile(int number, void (*work)(void)) {
    pthread_t thread;
    struct sigaction last;
    flipping = 1;
    CHECK(pthread_create(&thread, NULL, flips, &number) == 0);
    work();
    flipping = 0;
    pthread_join(thread, NULL);
    CHECK(sigaction(number, NULL, &last) == 0 && last.sa_handler != idle);
}

static void lose_pages(void) {
    for (int round = 0; round < 1500; round++) {
        int fd;
        sigward_map *map;
        volatile char *data = two_pages(&fd, &map);
        CHECK(ftruncate(fd, PAGE_BYTES) == 0);
        for (int page = 1; page < 4; page++) CHECK(data[page * PAGE_BYTES] == 0);
        CHECK(*sigward_map_poison_word(map) == PAGE_BYTES);
        CHECK(sigward_map_close(map) == 0 && close(fd) == 0);
    }
}

static void copy_from_nowhere(void) {
    char here[16];
    for (int i = 0; i < 10000; i++) CHECK(sigward_try_copy(here, (void *)16, sizeof here) == 0);
}

static void flipped_bus_meanwhile(void) {
    CHECK(sigward_sigbus_guard() == 0);
    flipped_meanwhile(SIGBUS, lose_pages);
}

static void flipped_segv_meanwhile(void) {
    CHECK(sigward_try_copy_segv() == 0);
    flipped_meanwhile(SIGSEGV, copy_from_nowhere);
}
#else
static void mended(void) {}
static void one_shot(void) { writes_fail(1); }
static void flipped_bus(void) { raise(SIGBUS); }
static void flipped_segv(void) { raise(SIGSEGV); }
static void flipped_bus_meanwhile(void) { raise(SIGBUS); }
static void flipped_segv_meanwhile(void) { raise(SIGSEGV); }
#endif

/* ---- handlers above that hand on less than they got ---- */

static void (*old)(int);

static void one_argument(int signal) {
    calls++;
    if (old != SIG_DFL && old != SIG_IGN) old(signal);
}

/* A call with nothing good in the registers of the other two arguments. */
__attribute__((noinline)) static void call_old(int signal) {
    if (old == SIG_DFL || old == SIG_IGN) return;
#ifdef __x86_64__
    long where = signal;
    __asm__ volatile("mov %%rsp, %%r12; sub $128, %%rsp; and $-16, %%rsp\n"
                     "call *%1; mov %%r12, %%rsp"
                     : "+D"(where)
                     : "b"(old), "S"(0x1234567L), "d"(8L)
                     : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
#else
    register long first __asm__("x0") = signal;
    register long second __asm__("x1") = 0x1234567, third __asm__("x2") = 8;
    register void (*whom)(int) __asm__("x19") = old;
    __asm__ volatile("blr %3"
                     : "+r"(first), "+r"(second), "+r"(third)
                     : "r"(whom)
                     : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x30", "cc", "memory");
#endif
}

static void one_argument_only(int signal) { calls++, call_old(signal); }

static void dropping(void (*handler)(int)) {
    CHECK(ward() == 0);
    old = signal(SIGPIPE, handler);
    writes_fail(3);
    CHECK(calls == 3);
}

static void drops(void) { dropping(one_argument); }
static void drops_all(void) { dropping(one_argument_only); }

static void drops_bus(void) {
#ifndef BARE
    int fd;
    sigward_map *map;
    char *data = two_pages(&fd, &map);
    old = signal(SIGBUS, one_argument_only);
    CHECK(ftruncate(fd, PAGE_BYTES) == 0);
    CHECK(((volatile char *)data)[PAGE_BYTES + 904] == 0 && calls == 1);
#else
    raise(SIGBUS);
#endif
}

/* From further down, with as much stack in use as handlers take, dirty and of this size. */
__attribute__((noinline)) static void further_down(int signal, int levels, size_t room) {
    volatile char *taken = __builtin_alloca(room + 16);
    for (size_t i = 0; i < room; i += 8) taken[i] = (char)levels;
    if (levels == 0) call_old(signal);
    else further_down(signal, levels - 1, room);
    taken[0]++;
}
static void from_deep_down(int signal) { calls++, further_down(signal, 20, 16); }
static void from_a_large_frame(int signal) { calls++, further_down(signal, 1, 9000); }
/* What it has in its frame is whatever earlier handlers have left there. */
static void from_a_dirty_frame(int signal) {
    volatile char room[9000];
    calls++, room[signal] = (char)signal;
    call_old(signal);
    calls += room[signal] != signal;
}
#if defined __GNUC__ && !defined __clang__
__attribute__((optimize("omit-frame-pointer")))
#endif
static void without_records(int signal) { calls++, call_old(signal), calls += 0; }

static void drops_from_anywhere(void) {
    void (*handlers[])(int) = {one_argument_only, from_deep_down, from_a_large_frame,
                               from_a_dirty_frame, without_records};
    static char stack[1 << 16];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK(ward() == 0 && sigaltstack(&alternate, NULL) == 0);
    CHECK((old = signal(SIGPIPE, SIG_IGN)) != SIG_ERR);
    for (int how = 0; how < 10; how++) {
        int flags = how % 2 ? SA_ONSTACK : 0;
        struct sigaction action = {.sa_handler = handlers[how / 2], .sa_flags = flags};
        CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
        calls = 0;
        writes_fail(3);
        CHECK(calls == 3);
    }
}

/* Nothing was written: it is none of ours, though echoes lay at the same place before. */
static void drops_a_kill(void) {
    drops_from_anywhere();
    signal(SIGPIPE, from_a_dirty_frame);
    writes_fail(2);
    SAY("sent\n");
    kill(getpid(), SIGPIPE);
#ifdef BARE
    signal(SIGPIPE, SIG_DFL);
    raise(SIGPIPE);
#endif
}

static void drops_segv(void) {
#ifndef BARE
    char here[16];
    CHECK(sigward_try_copy_segv() == 0);
    old = signal(SIGSEGV, from_deep_down);
    CHECK(sigward_try_copy(here, (void *)16, sizeof here) == 0 && calls == 1);
#else
    raise(SIGSEGV);
#endif
}

static struct sigaction before;
static void with_null(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context, calls++;
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
        before.sa_sigaction(signal, NULL, NULL);
}

static void drops_to_null(void) {
    struct sigaction action = {.sa_sigaction = with_null, .sa_flags = SA_SIGINFO};
    CHECK(ward() == 0);
    CHECK(sigaction(SIGPIPE, &action, &before) == 0);
    writes_fail(3);
    CHECK(calls == 3);
}

/* ---- handlers with one call, armed anew ---- */

static void counting(int signal) { (void)signal, calls++; }

static void arm(void) {
    struct sigaction action = {.sa_handler = counting, .sa_flags = SA_RESETHAND};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
}

static void armed_anew(void) {
    arm();
    CHECK(ward() == 0);
    for (int i = 1; i <= 40; i++) {
        raise(SIGPIPE);
        CHECK(calls == i);
        arm();
        CHECK(sigward_ensure_on_top() == 0);
    }
    raise(SIGPIPE);
    CHECK(calls == 41);
    SAY("once more\n");
    raise(SIGPIPE); /* its one call was that */
}

/* ---- handlers that jump, from wherever ---- */

static sigjmp_buf outside;
static void jumping(int signal) { (void)signal, calls++, siglongjmp(outside, 1); }

/* Each frame leaves a part of the stack below untouched that earlier handlers have used. */
__attribute__((noinline)) static void deeper(int levels, int step) {
    volatile char *room = __builtin_alloca((size_t)step);
    room[0] = 1;
    if (sigsetjmp(outside, 1) == 0) raise(SIGPIPE);
    if (levels > 1) deeper(levels - 1, step);
    room[0] = 2;
}

static void jumps_deeper(void) {
    signal(SIGPIPE, jumping);
    CHECK(ward() == 0);
    int expected = 0;
    for (int step = 16; step <= 20000; step = step * 3 / 2) {
        calls = 0;
        deeper(40, step);
        CHECK(calls == 40);
        expected++;
    }
    SAY("%d steps\n", expected);
}

/* The same with the signal sent by a handler that jumps and one that returns, in turns. */
static volatile int turn;
static void jumping_in_turns(int signal) { calls++; if (turn++ % 2) siglongjmp(outside, signal); }

static void jumps_in_turns(void) {
    signal(SIGPIPE, jumping_in_turns);
    CHECK(ward() == 0);
    for (int step = 100; step <= 5000; step += 700) deeper(40, step);
    SAY("calls %d\n", calls);
}

SCENARIOS({"mended", mended}, {"one_shot", one_shot}, {"flipped_bus", flipped_bus},
          {"flipped_segv", flipped_segv}, {"flipped_bus_meanwhile", flipped_bus_meanwhile},
          {"flipped_segv_meanwhile", flipped_segv_meanwhile}, {"drops", drops},
          {"drops_all", drops_all}, {"drops_bus", drops_bus}, {"drops_to_null", drops_to_null},
          {"drops_from_anywhere", drops_from_anywhere}, {"drops_a_kill", drops_a_kill},
          {"drops_segv", drops_segv}, {"armed_anew", armed_anew}, {"jumps_deeper", jumps_deeper},
          {"jumps_in_turns", jumps_in_turns})
