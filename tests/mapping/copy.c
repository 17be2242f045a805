/* The checked copy over memory that is not there: exact counts, right bytes, nothing beyond, and
 * everything else as before. Bare, the copy is memcpy. */
#include "host.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

#ifdef BARE
static void *(*volatile plain)(void *, const void *, size_t) = memcpy; /* no compiler leaves that
                                                                          out */
static ssize_t sigward_try_copy(void *dst, const void *src, size_t len) {
    plain(dst, src, len);
    return (ssize_t)len;
}
static int sigward_try_copy_segv(void) { return 0; }
#else
/* With the seat, as of the first copy; UNGUARDED: the kernel copies. */
static ssize_t copied(void *dst, const void *src, size_t len) {
    if (!getenv("UNGUARDED")) CHECK(sigward_sigbus_guard() == 0);
    return sigward_try_copy(dst, src, len);
}
#define sigward_try_copy copied
#endif

enum { BEYOND = 0xEE, LONGEST = 300, AROUND = 64, BIG = 1 << 20 };

static size_t page;

/* Pages of which the last one is not there: cut from the file (SIGBUS), or without any rights
 * (SIGSEGV). */
struct area {
    unsigned char *start, *end; /* end: of what is there */
    size_t length;
};

static struct area area(size_t length, int signal) {
    page = (size_t)sysconf(_SC_PAGESIZE);
    length = (length + page - 1) / page * page;
    int fd = memfd_create("copy", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(length + page)) == 0);
    unsigned char *start = mmap(NULL, length + page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(start != MAP_FAILED);
    if (signal == SIGBUS) CHECK(ftruncate(fd, (off_t)length) == 0);
    if (signal == SIGSEGV) CHECK(mprotect(start + length, page, PROT_NONE) == 0);
    close(fd);
    return (struct area){start, start + length, length};
}

static unsigned char pattern(size_t at) { return (unsigned char)(at * 7 + at / 256 + 1); }

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Copies len bytes of which there are only from_left at the source and to_left at the destination,
 * and looks at every byte. `shift` moves the side that is not cut, so that its alignment varies. */
static void one(struct area from, struct area to, size_t len, size_t from_left, size_t to_left,
                size_t shift) {
    size_t expected = smaller(len, smaller(from_left, to_left));
    unsigned char *src = from_left < len ? from.end - from_left : from.start + AROUND + shift;
    unsigned char *dst = to_left < len ? to.end - to_left : to.start + AROUND + shift;
    size_t in_src = smaller(len, from_left), in_dst = smaller(len, to_left);
    for (size_t i = 0; i < in_src; i++) src[i] = pattern(i);
    memset(dst - AROUND, BEYOND, AROUND + in_dst);
    if (to_left >= len) memset(dst + len, BEYOND, AROUND);

    ssize_t count = sigward_try_copy(dst, src, len);

    int right = count == (ssize_t)expected;
    for (size_t i = 0; i < expected; i++) right = right && dst[i] == pattern(i);
    for (size_t i = 1; i <= AROUND; i++) right = right && dst[-(ptrdiff_t)i] == BEYOND;
    for (size_t i = expected; i < in_dst; i++) right = right && dst[i] == BEYOND;
    for (size_t i = len; to_left >= len && i < len + AROUND; i++) right = right && dst[i] == BEYOND;
    if (right) return;
    fprintf(stderr,
            "len %zu, source has %zu, destination %zu, shift %zu: %zd came over, not %zu, or wrong "
            "bytes\n",
            len, from_left, to_left, shift, count, expected);
    _exit(99);
}

/* Every length up to LONGEST, cut at every byte from before its first to beyond its last. */
static void all_cuts(struct area from, struct area to, int cut_source) {
    for (size_t len = 0; len <= LONGEST; len++)
        for (size_t left = 0; left <= len + AROUND; left++)
            one(from, to, len, cut_source ? left : len + 1, cut_source ? len + 1 : left,
                (len * 31 + left) % 64);
}

/* Long ones: whole rounds and not, one byte around pages, and every alignment. */
static void big_cuts(struct area from, struct area to) {
    static const size_t lengths[] = {301,  1000, 2047,  2111,   2112, 2113,
                                     4096, 5000, 65536, 200003, BIG};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t step = 0; step < 40; step++) {
            size_t len = lengths[i], left = step < 20 ? len * step / 20 : len - (step - 20);
            one(from, to, len, left, len, step);
            one(from, to, len, len, left, step);
            one(from, to, len, left, len - step, 0);
            one(from, to, len, len - step, left, 0);
        }
}

static void cuts(int signal) {
    struct area from = area(BIG + 4096, signal), to = area(BIG + 4096, signal);
    all_cuts(from, to, 1);
    all_cuts(from, to, 0);
    for (size_t a = 0; a <= 200; a += 3)
        for (size_t b = 0; b <= 200; b += 3) one(from, to, 200, a, b, 0);
    big_cuts(from, to);
}

static void bus(void) { cuts(SIGBUS); }

static void segv(void) {
    CHECK(sigward_try_copy_segv() == 0 && sigward_try_copy_segv() == 0);
    cuts(SIGSEGV);
    cuts(SIGBUS); /* the other one goes on */
    char here[64];
    /* Below everything, above everything, and where x86-64 has no addresses at all and the kernel
     * names none. */
    uintptr_t nowhere[] = {1, 4096, (uintptr_t)-64, (uintptr_t)1 << 62, (uintptr_t)1 << 47};
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
        for (size_t len = 1; len <= 64; len++) {
            CHECK(sigward_try_copy(here, (void *)nowhere[i], len) == 0);
            CHECK(sigward_try_copy((void *)nowhere[i], here, len) == 0);
        }
    CHECK(sigward_try_copy((void *)nowhere[0], (void *)nowhere[2], 64) == 0);
    CHECK(sigward_try_copy(here, (void *)nowhere[3], SSIZE_MAX) == 0);
}

/* A mapped file without the page at `end`, and one access behind it by a copy. */
static void copy_bus(void) {
    char here[4096];
    struct area from = area(1, SIGBUS);
    SAY("%zd\n", sigward_try_copy(here, from.end - 1000, 2000));
}
static void copy_segv(void) {
    char here[4096];
    struct area from = area(1, SIGSEGV);
    SAY("%zd\n", sigward_try_copy(here, from.end - 1000, 2000));
}

/* ---- what is not the copy's ---- */

static struct area lost;

static void report(int signal, siginfo_t *info, void *context) {
    (void)context;
    SAY("signal %d, %s\n", signal,
        info->si_code > 0 && (unsigned char *)info->si_addr == lost.end ? "at the end"
                                                                        : "elsewhere");
    _exit(0);
}

/* The copy works, a plain access behind the end does what it always did. */
static void other_code(int signal, int handled) {
    char here[128];
    lost = area(1, signal);
    if (handled) install(signal, report, 0);
    if (signal == SIGSEGV) CHECK(sigward_try_copy_segv() == 0);
    CHECK(sigward_try_copy(here, lost.start, 100) == 100);
#ifndef BARE
    CHECK(sigward_try_copy(here, lost.end - 50, 100) == 50);
#endif
    SAY("read %d\n", *(volatile unsigned char *)lost.end);
}
static void other_bus(void) { other_code(SIGBUS, 0); }
static void other_segv(void) { other_code(SIGSEGV, 0); }
static void handled_bus(void) { other_code(SIGBUS, 1); }
static void handled_segv(void) { other_code(SIGSEGV, 1); }

/* Nobody asked for SIGSEGV: the copy's own goes to whoever had it. */
static void segv_of_others(void) {
    char here[128];
    lost = area(1, SIGSEGV);
    install(SIGSEGV, report, 0);
    SAY("%zd\n", sigward_try_copy(here, lost.end, 100));
}

static void sent_bus(void) {
    copy_bus();
    raise(SIGBUS);
}
static void sent_segv(void) {
    CHECK(sigward_try_copy_segv() == 0);
    raise(SIGSEGV);
}

/* ---- threads, handlers, fork ---- */

static void rounds(struct area from, struct area to, unsigned seed, int count) {
    for (int i = 0; i < count; i++) {
        seed = seed * 1103515245 + 12345;
        size_t len = seed >> 8 & 4095, left = len ? (seed >> 20) % (len * 2) : 0;
        if (seed & 1 << 30)
            one(from, to, len, left, len, seed % 64);
        else
            one(from, to, len, len, left, seed % 64);
    }
}

static void *in_thread(void *number) {
    int signal = (uintptr_t)number % 2 ? SIGBUS : SIGSEGV;
    rounds(area(8192, signal), area(8192, signal), (unsigned)(uintptr_t)number, 20000);
    return NULL;
}

static void threads(void) {
    pthread_t all[8];
    CHECK(sigward_try_copy_segv() == 0);
    for (uintptr_t i = 0; i < 8; i++)
        CHECK(pthread_create(&all[i], NULL, in_thread, (void *)i) == 0);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(all[i], NULL) == 0);
}

/* A handler whose copies fault, while it interrupts copies that do not. */
enum { HANDLED = 1000 };
static struct area handler_from, handler_to;
static volatile int handled;
static void copying_handler(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    rounds(handler_from, handler_to, (unsigned)++handled, 3);
    /* Where it takes longer than the timer, nobody else would ever go on. */
    struct itimerval never = {{0, 0}, {0, 0}};
    if (handled >= HANDLED) setitimer(ITIMER_REAL, &never, NULL);
}

static void copy_in_handlers(void) {
    char byte;
    CHECK(sigward_try_copy(&byte, "x", 1) == 1);
    handler_from = area(8192, SIGBUS), handler_to = area(8192, SIGBUS);
    install(SIGALRM, copying_handler, SA_RESTART);
    struct itimerval often = {{0, 200}, {0, 200}};
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void in_handler(void) {
    copy_in_handlers();
    struct area from = area(12288, SIGBUS), to = area(12288, SIGBUS);
    for (size_t len = 0; handled < HANDLED; len = (len + 1) % 8192)
        one(from, to, len, len, len, len % 64);
}

/* The same where what is interrupted faults as well: most often it is our own handler. */
static void in_our_handler(void) {
    copy_in_handlers();
    struct area from = area(8192, SIGBUS), to = area(8192, SIGBUS);
    for (unsigned seed = 0; handled < HANDLED; seed++) rounds(from, to, seed, 100);
}

static void after_fork(void) {
    copy_bus();
    for (int generation = 0; generation < 3; generation++) {
        pid_t child = fork();
        int status;
        if (child != 0) {
            CHECK(waitpid(child, &status, 0) == child && status == 0);
            _exit(0);
        }
        rounds(area(8192, SIGBUS), area(8192, SIGBUS), 7, 1000);
    }
    _exit(0);
}

/* ---- registers ---- */

#ifdef BARE
static void registers(void) {}
#else
/* Calls sigward_try_copy with known values in the registers that a function keeps, and stores what
 * is in them afterwards. */
ssize_t copy_and_look(void *dst, const void *src, size_t len, uint64_t *after);

#if defined __x86_64__
enum { KEPT = 6 };
__asm__(".text\ncopy_and_look:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rcx\n"
        "mov $100, %ebx; mov $101, %ebp; mov $102, %r12d; mov $103, %r13d; mov $104, %r14d; mov "
        "$105, %r15d\n"
        "call sigward_try_copy\n"
        "pop %rcx; mov %rbx, (%rcx); mov %rbp, 8(%rcx); mov %r12, 16(%rcx); mov %r13, 24(%rcx)\n"
        "mov %r14, 32(%rcx); mov %r15, 40(%rcx); pushf; popq 48(%rcx)\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

/* The direction of string instructions is upwards, and no upper half of a wide register slows SSE
 * down. */
static void look_further(const uint64_t *after) {
    CHECK((after[KEPT] >> 10 & 1) == 0);
    if (!__builtin_cpu_supports("avx")) return;
    uint64_t upper[8] = {0};
    __asm__ volatile("vextractf128 $1, %%ymm0, (%0); vextractf128 $1, %%ymm1, 16(%0)\n"
                     "vextractf128 $1, %%ymm2, 32(%0); vextractf128 $1, %%ymm3, 48(%0)"
                     :
                     : "r"(upper)
                     : "memory");
    for (int i = 0; i < 8; i++) CHECK(upper[i] == 0);
}
#elif defined __aarch64__
enum { KEPT = 18 };
#define EACH_PAIR(op)                                                                              \
    op "x19, x20, [x3]\n" op "x21, x22, [x3, #16]\n" op "x23, x24, [x3, #32]\n" op                 \
       "x25, x26, [x3, #48]\n" op "x27, x28, [x3, #64]\n" op "d8, d9, [x3, #80]\n" op              \
       "d10, d11, [x3, #96]\n" op "d12, d13, [x3, #112]\n" op "d14, d15, [x3, #128]\n"
__asm__(".text\ncopy_and_look:\n"
        "stp x29, x30, [sp, #-192]!\nstr x3, [sp, #16]\n"
        "add x4, sp, #32\nmov x5, x3\nmov x3, x4\n" EACH_PAIR("stp ") "mov x3, x5\n" EACH_PAIR(
            "ldp ") "bl sigward_try_copy\n"
                    "ldr x3, [sp, #16]\n" EACH_PAIR("stp ") "add x3, sp, #32\n" EACH_PAIR(
                        "ldp ") "ldp x29, x30, [sp], #192\nret\n");
static void look_further(const uint64_t *after) { (void)after; }
#endif

static void registers(void) {
    struct area from = area(BIG, SIGBUS);
    static unsigned char here[BIG];
    memset(from.start, 0xFF, from.length);
    static const size_t lengths[] = {1, 5, 9, 20, 40, 100, 200, 2000, 5000, 100000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t left = 0; left < lengths[i]; left += 1 + lengths[i] / 7) {
            uint64_t after[KEPT + 1];
            for (int k = 0; k < KEPT; k++) after[k] = 100 + (uint64_t)k;
            CHECK(copy_and_look(here, from.end - left, lengths[i], after) == (ssize_t)left);
            look_further(after);
            for (int k = 0; k < KEPT; k++) CHECK(after[k] == 100 + (uint64_t)k);
        }
}
#endif

static void nothing_to_copy(void) {
    char here[2] = {1, 2};
    CHECK(sigward_try_copy(NULL, here, 1) == 0 && sigward_try_copy(here, NULL, 1) == 0);
    CHECK(sigward_try_copy(NULL, NULL, 0) == 0 && sigward_try_copy(here, here + 1, 0) == 0);
    CHECK(sigward_try_copy(here, here + 1, (size_t)SSIZE_MAX + 1) == 0);
    CHECK(sigward_try_copy(here, here + 1, SIZE_MAX) == 0);
    CHECK(here[0] == 1 && sigward_try_copy(here, here + 1, 1) == 1 && here[0] == 2);
}

SCENARIOS({"bus", bus}, {"segv", segv}, {"copy_bus", copy_bus}, {"copy_segv", copy_segv},
          {"other_bus", other_bus}, {"other_segv", other_segv}, {"handled_bus", handled_bus},
          {"handled_segv", handled_segv}, {"segv_of_others", segv_of_others},
          {"sent_bus", sent_bus}, {"sent_segv", sent_segv}, {"threads", threads},
          {"in_handler", in_handler}, {"in_our_handler", in_our_handler},
          {"after_fork", after_fork}, {"registers", registers},
          {"nothing_to_copy", nothing_to_copy})
