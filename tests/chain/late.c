/* Libraries that write our rows in the kernel's table: with signal(3), in part, late, again. Each
 * row of the table is a child. */
#include "host.h"
#include <alloca.h>
#include <link.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>

static int failing_write(void) {
    int fd = broken_pipe();
    ssize_t count = write(fd, "x", 1);
    close(fd);
    return count == -1 && errno == EPIPE;
}

/* What many libraries do around their own calls. */
static void flip(int number) {
    void (*before)(int) = signal(number, SIG_IGN);
    CHECK(signal(number, before) == SIG_IGN);
}

/* Where the kernel puts the next siginfo, somebody has left what looks like anything. */
static void dirty(int byte) {
    char below[16384];
    memset(below, byte, sizeof below);
    __asm__ volatile("" ::"r"(below) : "memory");
}

static void *writes(void *unused) {
    for (int i = 0; i < 5; i++) CHECK(failing_write());
    return unused;
}

static void on_threads(void) {
    pthread_t thread;
    writes(NULL);
    CHECK(pthread_create(&thread, NULL, writes, NULL) == 0);
    pthread_join(thread, NULL);
}

static void flipped(void) {
    CHECK(ward() == 0);
    for (int byte = 0; byte < 256; byte += 15) {
        flip(SIGPIPE);
        dirty(byte);
        on_threads();
    }
}

/* A genuine siginfo of another kind lies where the next one is not written. */
static volatile int calls;
static void counting(int signal) { (void)signal, calls++; }

static void with_siginfo(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context, calls++;
}

static void flipped_after_a_raise(void) {
    CHECK(ward() == 0);
    install(SIGPIPE, with_siginfo, SA_ONSTACK);
    raise(SIGPIPE);
    CHECK(sigward_sigpipe_restore() == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(ward() == 0);
    flip(SIGPIPE);
    on_threads();
}

/* And what is no echo goes on to end the process. */
static void flipped_and_killed(void) {
    CHECK(ward() == 0);
    CHECK(failing_write());
    flip(SIGPIPE);
    kill(getpid(), SIGPIPE);
}

/* The flags alone, the mask alone. */
static void in_part(void) {
    CHECK(ward() == 0);
    const int flags[] = {0,          SA_SIGINFO, SA_ONSTACK, SA_SIGINFO | SA_ONSTACK,
                         SA_NODEFER, SA_RESTART};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct sigaction row;
        CHECK(sigaction(SIGPIPE, NULL, &row) == 0);
        row.sa_flags = flags[i];
        sigfillset(&row.sa_mask);
        CHECK(sigaction(SIGPIPE, &row, NULL) == 0);
        on_threads();
    }
}

/* ---- late, and told ---- */

#ifndef BARE
static void exiting(int signal) { _exit(signal); }

static uint64_t overwritten(void) {
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0);
    return counters.overwritten;
}

static int seat(void) {
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0);
    return report.seat;
}

static int again(void) { return sigward_init(NULL); }
static int filter(void) { return sigward_sigpipe_filter(); }
static int mends(void) { return sigward_repair(SIGPIPE) == 1 ? 0 : -1; }

static void told_and_mended(void (*library)(void), int (*mend)(void), int reason) {
    CHECK(ward() == 0 && seat() == SIGWARD_SEAT_ON_TOP);
    library();
    uint64_t before = overwritten();
    sigward_status_report report;
    CHECK(sigward_status(&report) == 0 && report.size == sizeof report);
    CHECK(report.sigpipe.armed == 0 && report.sigpipe.reason == reason);
    CHECK(report.sigbus.armed == 1 && report.sigbus.reason == SIGWARD_REASON_ARMED);
    CHECK((reason == SIGWARD_REASON_COVERED) == (strstr(report.sigpipe.owner, "late") != NULL) ||
          report.sigpipe.handler <= 1 || reason == SIGWARD_REASON_ALTERED);
    CHECK(seat() == SIGWARD_SEAT_COVERED && overwritten() == before + 1);
    CHECK(mend() == 0 && seat() == SIGWARD_SEAT_ON_TOP && overwritten() == before + 1);
    CHECK(sigward_status(&report) == 0 && report.sigpipe.armed == 1);
    CHECK(report.sigpipe.reason == SIGWARD_REASON_ARMED);
}

static void set_default(void) { signal(SIGPIPE, SIG_DFL); }
static void set_ignore(void) { signal(SIGPIPE, SIG_IGN); }
static void set_handler(void) { signal(SIGPIPE, exiting); }
static void set_flags(void) { flip(SIGPIPE); }

static void late(void) {
    int (*const ways[])(void) = {sigward_ensure_on_top, again, filter};
    for (int i = 0; i < 3; i++) {
        told_and_mended(set_default, ways[i], SIGWARD_REASON_COVERED);
        told_and_mended(set_ignore, ways[i], SIGWARD_REASON_IGNORED);
        told_and_mended(set_flags, ways[i], SIGWARD_REASON_ALTERED);
        CHECK(failing_write());
    }
    told_and_mended(set_flags, mends, SIGWARD_REASON_ALTERED);
    told_and_mended(set_handler, sigward_ensure_on_top, SIGWARD_REASON_COVERED);
    sigward_status_report report;
    CHECK(sigward_status(&report) == 0 && report.outcome == SIGWARD_OUTCOME_CHAINED);
    CHECK(report.echoes_end_here == 0);
    CHECK(sigward_status(NULL) == -EINVAL);
}

/* ---- SIG_IGN that was there before us ---- */

static bool child_ignores(void) {
    return system("grep -q 'SigIgn:.*1[0-9a-f][0-9a-f][0-9a-f]$' /proc/self/status") == 0;
}

static void replaced_ignore(void) {
    signal(SIGPIPE, SIG_IGN);
    CHECK(child_ignores());
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_REPLACE_IGNORE};
    CHECK(sigward_init(&options) == 0);
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0);
    CHECK(report.outcome == SIGWARD_OUTCOME_FILTERED && report.seat == SIGWARD_SEAT_ON_TOP);
    CHECK(report.previous == (size_t)SIG_IGN);
    CHECK(!child_ignores());
    on_threads();
    raise(SIGPIPE); /* As before: ignored. */
    CHECK(sigward_sigpipe_restore() == 0 && current_handler(SIGPIPE) == (void *)SIG_IGN);
    options.sigpipe = SIGWARD_SIGPIPE_IGNORE;
    CHECK(sigward_init(&options) == -EINVAL);
}
#endif

/* ---- handlers of the host ---- */

static void rearm(void) {
    struct sigaction action = {.sa_handler = counting, .sa_flags = SA_RESETHAND};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
}

/* A handler for one signal that is installed again and again is a new one each time. */
static void rearmed(void) {
    rearm();
    CHECK(ward() == 0);
    for (int i = 1; i < 20; i++) {
        raise(SIGPIPE);
        CHECK(calls == i);
        rearm();
        CHECK(sigward_ensure_on_top() == 0);
    }
    raise(SIGPIPE);
    raise(SIGPIPE); /* It had its call: the default action. */
}

static sigjmp_buf out;
static volatile size_t pad;
static void jumping(int signal) { (void)signal, calls++, siglongjmp(out, 1); }

/* From deeper and deeper calls, so that what earlier visits left on the stack is not written
 * over. */
__attribute__((noinline)) static void deeper(int levels) {
    volatile char *room = alloca(pad);
    room[0] = 1;
    if (sigsetjmp(out, 1) == 0) raise(SIGPIPE);
    if (levels > 1) deeper(levels - 1);
    room[0] = 2;
}

static void jumps_deeper(void) {
    static char stack[65536];
    struct sigaction action = {.sa_handler = jumping, .sa_flags = SA_NODEFER};
    for (int on_stack = 0; on_stack < 2; on_stack++) {
        CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
        CHECK(ward() == 0);
        const size_t pads[] = {16, 2000, 6000, 20000};
        for (int i = 0; i < 4; i++) {
            pad = pads[i], calls = 0;
            deeper(50);
            CHECK(calls == 50);
        }
        CHECK(sigward_sigpipe_restore() == 0);
        stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
        CHECK(sigaltstack(&alternate, NULL) == 0);
        action.sa_flags |= SA_ONSTACK;
    }
}

/* ---- a handler above that knows of no siginfo ---- */

static void (*beneath)(int);
static void one_argument(int signal) { calls++, beneath(signal); }

static void above_with_one_argument(void) {
    signal(SIGPIPE, counting);
    CHECK(ward() == 0);
    beneath = signal(SIGPIPE, one_argument);
    for (int byte = 0; byte < 256; byte += 15) {
        dirty(byte);
        calls = 0;
        raise(SIGPIPE);
        CHECK(calls == 2);
    }
}

#ifndef BARE
/* ---- from a handler that interrupts the dynamic loader, while another thread
 * changes the policy */

static atomic_int stop;

static void *changing(void *unused) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (!stop) CHECK(sigward_sigpipe_restore() == 0 && sigward_sigpipe_filter() == 0);
    return unused;
}

enum { CALLS = 500 };

static void initialising(int signal) {
    (void)signal, calls++;
    int status = sigward_init(NULL);
    CHECK(status == 0 || status == -EDEADLK);
    /* Where it takes longer than the timer, nobody else would ever go on. */
    if (calls >= CALLS) setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static int nothing(struct dl_phdr_info *object, size_t size, void *data) {
    return (void)object, (void)size, data != NULL;
}

static void in_the_loader(void) {
    CHECK(ward() == 0);
    struct sigaction action = {.sa_handler = initialising, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, changing, NULL) == 0);
    struct itimerval often = {.it_interval = {.tv_usec = 200}, .it_value = {.tv_usec = 200}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    while (calls < CALLS) dl_iterate_phdr(nothing, NULL);
    often = (struct itimerval){0};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    stop = 1;
    pthread_join(thread, NULL);
}
#endif

/* ---- a handler that puts back what was there and raises the signal again, as
 * CPython's faulthandler does */

static struct sigaction put_back;

static void raising_again(int signal) {
    calls++;
    CHECK(sigaction(signal, &put_back, NULL) == 0);
    raise(signal); /* At once: SA_NODEFER. */
}

static void raised_again(void) {
    static char stack[65536];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    char path[] = "/tmp/sigward-late-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE_BYTES) == 0 && sigaltstack(&alternate, NULL) == 0);
#ifdef BARE
    const volatile char *bytes = mmap(NULL, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
#else
    CHECK(ward() == 0);
    sigward_map *map;
    CHECK(sigward_map_open(path, NULL, &map) == 0);
    const volatile char *bytes = sigward_map_data(map);
#endif
    CHECK(unlink(path) == 0);
    struct sigaction action = {.sa_handler = raising_again, .sa_flags = SA_NODEFER | SA_ONSTACK};
    CHECK(sigaction(SIGBUS, &action, &put_back) == 0);
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(bytes[PAGE_BYTES] == 0 && calls == 1);
#ifndef BARE
    CHECK(sigward_map_status(map, NULL) == 1);
#endif
    SAY("mended\n");
    raise(SIGBUS); /* For no fault: that ends the process. */
}

#ifndef BARE
static void says_owner(void) {
    sigward_status_report report;
    CHECK(ward() == 0 && sigward_status(&report) == 0);
    SAY("%s\n", report.sigpipe.owner);
}
#endif

/* signal(3) of programs that ask for no more than POSIX (-std=c99 -D_POSIX_C_SOURCE=200809L): what
 * it puts back is good for one call. */
static void flip_for_once(int number) {
    struct sigaction before;
    CHECK(sigaction(number, &(struct sigaction){.sa_handler = SIG_IGN}, &before) == 0);
    before.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
    sigemptyset(&before.sa_mask);
    CHECK(sigaction(number, &before, NULL) == 0);
}

static void flipped_for_once(void) {
    CHECK(ward() == 0);
    for (int byte = 0; byte < 256; byte += 15) {
        flip_for_once(SIGPIPE);
        dirty(byte);
        on_threads();
    }
#ifndef BARE
    int fd = memfd_create("empty", 0);
    void *places[2] = {mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), (void *)16};
    CHECK(sigward_sigbus_guard() == 0 && sigward_try_copy_segv() == 0);
    for (int i = 0; i < 12; i++) {
        char here[16];
        if (i % 6 < 2) flip_for_once(i % 2 ? SIGSEGV : SIGBUS);
        dirty(i * 20);
        CHECK(sigward_try_copy(here, places[i % 2], sizeof here) == 0);
    }
#endif
}

/* The host's own handler gets echoes as well, and asks who has sent them. */
static volatile int asked;

static void asks(int signal, siginfo_t *info, void *context) {
    (void)context;
    bool ours = info->si_code == SI_USER && info->si_pid == getpid();
    if (info->si_signo == signal && ours) asked++;
}

static void asks_beneath(void) {
    install(SIGPIPE, asks, 0);
    CHECK(ward() == 0);
    for (int i = 0; i < 3; i++) {
#ifndef BARE
        flip(SIGPIPE);
#endif
        dirty(i == 1 ? 0 : 0x5a);
        CHECK(failing_write() && asked == i + 1);
    }
}

SCENARIOS({"raised_again", raised_again}, {"flipped", flipped},
          {"flipped_after_a_raise", flipped_after_a_raise},
          {"flipped_and_killed", flipped_and_killed}, {"in_part", in_part}, {"rearmed", rearmed},
          {"jumps_deeper", jumps_deeper}, {"above_with_one_argument", above_with_one_argument},
          {"asks_beneath", asks_beneath}, {"flipped_for_once", flipped_for_once},
#ifndef BARE
          {"says_owner", says_owner}, {"late", late}, {"replaced_ignore", replaced_ignore},
          {"in_the_loader", in_the_loader},
#endif
)
