/* Whose a SIGBUS is: ours only the fault on a guarded map; all others meet what they would meet
 * without us. */
#include "maps.h"
#include "refuse.h"

/* ---- one signal for a lost tail ---- */

#define TAIL (8 << 20)

static void read_tail(sigward_map *map) {
    for (uint64_t at = PAGE; at < TAIL + PAGE; at += 512) CHECK(touch(map, at) == 0);
}

static void one_fault(void) {
    int fd = nameless(TAIL + PAGE);
    sigward_map *map = NULL;
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && ftruncate(fd, PAGE) == 0);
    read_tail(map);
    SAY("faults %llu patches %llu healed %llu\n", (unsigned long long)counters().faults,
        (unsigned long long)counters().patches, (unsigned long long)counters().healed);
}

static void *read_lost_page(void *map) {
    survives(map);
    return NULL;
}

/* Whoever meets the loss, and however often while another is at it: it is patched once. */
static void one_patch(void) {
    pthread_t threads[8];
    for (int round = 0; round < 20; round++) {
        int fd = nameless(TAIL / 16 + PAGE);
        sigward_map *map = NULL;
        sigward_counters before = counters();
        CHECK(sigward_map_fd(fd, OPTIONS(.len = TAIL / 16 + PAGE), &map) == 0 &&
              ftruncate(fd, PAGE) == 0);
        for (int i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, read_lost_page, map) == 0);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
        sigward_counters after = counters();
        WARD_CHECK(after.patches == before.patches + 1);
        WARD_CHECK(after.faults > before.faults);
        CHECK(sigward_map_close(map) == 0);
        close(fd);
    }
}

/* ---- what a predecessor sees: the same bare and warded ---- */

static void simple(int signal) { calls += signal == SIGBUS; }

static void to_handler(long how) {
    install(SIGBUS, note, 0);
    sigward_map *map = lose();
    if (how == 0) raise(SIGBUS);
    if (how == 1) kill(getpid(), SIGBUS);
    if (how == 2) pthread_kill(pthread_self(), SIGBUS);
    if (how == 3) sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 4711});
    CHECK(calls == 1 && seen.si_signo == SIGBUS && seen.si_pid == getpid());
    CHECK(seen.si_code == (how == 1 ? SI_USER : how == 3 ? SI_QUEUE : SI_TKILL));
    CHECK(how != 3 || seen.si_value.sival_int == 4711);
    /* An address of ours in a signal that somebody sent is no fault. */
    sigqueue(getpid(), SIGBUS, (union sigval){.sival_ptr = (void *)(bytes(map) + 2 * PAGE)});
    CHECK(calls == 2 && poison(map) == INTACT);
    if (WARDED) survives(map);
    CHECK(calls == 2);
}

static void to_simple_handler(long unused) {
    (void)unused;
    signal(SIGBUS, simple);
    sigward_map *map = lose();
    raise(SIGBUS);
    CHECK(calls == 1);
    if (WARDED) survives(map);
    CHECK(calls == 1);
}

static void mend(int signal, siginfo_t *info, void *context) {
    note(signal, info, context);
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    CHECK(mmap((void *)page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
               -1, 0) != MAP_FAILED);
}

static void foreign_to_handler(long unused) {
    volatile unsigned char *other = foreign();
    (void)unused;
    install(SIGBUS, mend, 0);
    sigward_map *map = lose();
    CHECK(other[5 * PAGE + 7] == 0);
    CHECK(calls == 1 && seen.si_code == BUS_ADRERR && seen.si_addr == other + 5 * PAGE + 7);
    other[9 * PAGE + 8] = 1;
    CHECK(calls == 2 && seen.si_addr == other + 9 * PAGE + 8);
    if (WARDED) survives(map);
    WARD_CHECK(counters().faults == 1);
}

/* The kernel's own kind of code, and an address of ours: but not the code of a lost page. */
static void forge(int code, void *address) {
    siginfo_t forged = {.si_signo = SIGBUS, .si_code = code};
    forged.si_addr = address;
    CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS, &forged) ==
          0);
}

static void misaligned_address(long unused) {
    (void)unused;
    install(SIGBUS, note, 0);
    sigward_map *map = lose();
    forge(BUS_ADRALN, (char *)bytes(map) + 2 * PAGE + 1);
    CHECK(calls == 1 && seen.si_code == BUS_ADRALN &&
          seen.si_addr == (void *)(bytes(map) + 2 * PAGE + 1));
    CHECK(poison(map) == INTACT);
    WARD_CHECK(counters().faults == 0);
}

#ifdef __x86_64__
#include <ucontext.h>
#define ALIGNMENT_CHECK (1 << 18)

static void end_checks(int signal, siginfo_t *info, void *context) {
    __asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" : : : "memory", "cc");
    note(signal, info, context);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~ALIGNMENT_CHECK;
}

static unsigned checked_load(const volatile unsigned char *at) {
    unsigned value;
    __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; movl 1(%1), %0"
                     : "=r"(value)
                     : "r"(at)
                     : "memory", "cc");
    return value;
}

/* The processor's alignment check, on a byte of a guarded map that is there. */
static void alignment_check(long unused) {
    static _Alignas(8) const unsigned char plain[8];
    (void)unused;
    install(SIGBUS, end_checks, 0);
    checked_load(plain); /* nobody but us has a handler yet */
    if (calls == 0) {
        fprintf(stderr, "SKIPPED: this processor, or its emulator, checks no alignment\n");
        return;
    }
    sigward_map *map = lose();
    CHECK(touch(map, 0) == content(0));
    unsigned value = checked_load(bytes(map));
    CHECK(calls == 2 && seen.si_code == BUS_ADRALN && poison(map) == INTACT);
    CHECK((value & 0xff) == content(1));
    if (WARDED) survives(map);
}
#endif

/* A handler that is interrupted by the signal it handles, on a map of ours. */
static sigward_map *for_handler;
static void read_lost(int signal, siginfo_t *info, void *context) {
    note(signal, info, context);
    if (WARDED) survives(for_handler);
}

static void handler_faults(long unused) {
    (void)unused;
    install(SIGBUS, read_lost, SA_NODEFER);
    for_handler = lose();
    raise(SIGBUS);
    CHECK(calls == 1);
    WARD_CHECK(poison(for_handler) == PAGE);
}

static void ignored(long unused) {
    (void)unused;
    signal(SIGBUS, SIG_IGN);
    sigward_map *map = lose();
    raise(SIGBUS);
    kill(getpid(), SIGBUS);
    if (WARDED) survives(map);
}

static void predecessors(void) {
    static const struct row rows[] = {
        {"raise", to_handler, 0},
        {"kill", to_handler, 1},
        {"pthread_kill", to_handler, 2},
        {"sigqueue", to_handler, 3},
        {"simple handler", to_simple_handler, 0},
        {"foreign fault", foreign_to_handler, 0},
        {"misaligned address", misaligned_address, 0},
        {"a fault in the handler", handler_faults, 0},
        {"ignored", ignored, 0},
#ifdef __x86_64__
        {"alignment check", alignment_check, 0},
#endif
    };
    ROWS(rows);
}

/* ---- deaths: the same bare and warded ---- */

static void dies_of(long how) {
    sigward_map *map = lose();
    if (WARDED) survives(map);
    if (how == 0) raise(SIGBUS);
    if (how == 1) kill(getpid(), SIGBUS);
    if (how == 2) sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 1});
    if (how == 3) forge(BUS_ADRALN, (char *)bytes(map) + PAGE);
    if (how == 4) *(volatile unsigned char *)foreign();
    if (how == 5)
        *(volatile unsigned char *)bytes(map) = 1; /* a map for reading: SIGSEGV, as ever */
}

static void dies_ignored(long unused) {
    (void)unused;
    signal(SIGBUS, SIG_IGN);
    sigward_map *map = lose();
    if (WARDED) survives(map);
    *(volatile unsigned char *)foreign();
}

/* The kernel kills a thread that has its fault blocked; thread_check tells before. */
static void dies_blocked(long unused) {
    sigset_t set;
    (void)unused;
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    sigward_map *map = lose();
    sigprocmask(SIG_BLOCK, &set, NULL);
#ifndef BARE
    CHECK(sigward_thread_check() == SIGWARD_THREAD_BLOCKED);
#endif
    touch(map, 2 * PAGE);
}

static void dies_after_giving_up(long unused) {
    (void)unused;
    install(SIGBUS, give_up, SA_ONSTACK);
    sigward_map *map = lose();
    if (WARDED) survives(map);
    *(volatile unsigned char *)foreign();
}

/* No page can be had to put there: the death that would have been, and no endless loop. */

static void dies_without_patch(long error) {
    sigward_map *map = lose();
    refuse(SYS_mmap, (int)error);
    touch(map, 2 * PAGE);
}

static void deaths(void) {
    static const struct row rows[] = {
        {"raise", dies_of, 0},
        {"kill", dies_of, 1},
        {"sigqueue", dies_of, 2},
        {"misaligned address", dies_of, 3},
        {"foreign fault", dies_of, 4},
        {"store to a map for reading", dies_of, 5},
        {"foreign fault, ignored", dies_ignored, 0},
        {"blocked", dies_blocked, 0},
        {"a predecessor that gives up", dies_after_giving_up, 0},
        {"mmap refused", dies_without_patch, EPERM},
    };
    ROWS(rows);
}

SCENARIOS({"one_fault", one_fault}, {"one_patch", one_patch}, {"predecessors", predecessors},
          {"deaths", deaths})
