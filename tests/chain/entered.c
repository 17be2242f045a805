/* What a handler finds at its entry, and in the code that was interrupted: other handlers' frames,
 * system calls at the end of a page, handlers above that pass a signal on, descriptors of code by
 * hand. */
#include "refuse.h"
#include <alloca.h>
#include <stdint.h>

/* ---- frames of other handlers in between ---- */

static volatile int lower, stormy = 1;

static void plain(int signal) { (void)signal, lower++; }

static void with_siginfo(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context, lower++;
}

/* Signals of lower numbers, which the kernel delivers first, for as long as the victim writes. */
static void *storm(void *victim) {
    while (stormy) {
        pthread_kill(*(pthread_t *)victim, lower % 2 ? SIGUSR1 : SIGHUP);
        for (volatile int pause = 0; pause < 3000; pause++) {}
    }
    return NULL;
}

static void write_in_a_storm(void) {
    pthread_t self = pthread_self(), thread;
    CHECK(ward() == 0);
    int fd = broken_pipe();
    CHECK(pthread_create(&thread, NULL, storm, &self) == 0);
    /* Until enough of them have met a write. */
    for (int writes = 0; writes < 1000 || lower < 300; writes++)
        CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    stormy = 0;
    pthread_join(thread, NULL);
#ifndef BARE
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0 && counters.chained == 0);
#endif
}

static void plain_storm(void) {
    signal(SIGUSR1, plain);
    signal(SIGHUP, plain);
    write_in_a_storm();
}

static void full_storm(void) {
    install(SIGUSR1, with_siginfo, 0);
    install(SIGHUP, with_siginfo, 0);
    write_in_a_storm();
}

/* ---- code by hand ---- */

#ifdef __x86_64__
/* mov $1, %eax; syscall; ret */
static const unsigned char code[] = {0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0xc3};
enum { call = 5, call_length = 2 };
#else
/* mov x8, #64; svc #0; ret */
static const uint32_t code[] = {0xd2800808, 0xd4000001, 0xd65f03c0};
enum { call = 4, call_length = 4 };
#endif

typedef long by_hand(int, const void *, size_t);

/* Two pages with that code, so that its system call begins at this place. */
static by_hand *placed(long where) {
    unsigned char *pages =
        mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    memcpy(pages + where - call, code, sizeof code);
    CHECK(mprotect(pages, 2 * PAGE_BYTES, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache((char *)pages, (char *)pages + 2 * PAGE_BYTES);
    return (by_hand *)(uintptr_t)(pages + where - call);
}

/* Wherever in its page the system call is: in the middle, right at the end, as far as it goes
 * across it, behind it. */
static void end_of_page(void) {
    CHECK(ward() == 0);
    long step = call_length == 2 ? 1 : 4;
    int fd = broken_pipe();
    for (long where = PAGE_BYTES - 2 * call_length; where <= PAGE_BYTES + call_length;
         where += step)
        CHECK(placed(where)(fd, "x", 1) == -EPIPE);
    CHECK(placed(PAGE_BYTES / 2)(fd, "x", 1) == -EPIPE);
}

/* The same where the kernel copies nothing. */
static void end_of_page_in_a_sandbox(void) {
    refuse(SYS_process_vm_readv, EPERM);
    end_of_page();
}

/* ---- a row that has lost its flags ---- */

#ifdef __aarch64__ /* where the second and the third argument of a handler are somebody else's     \
                      then */
static unsigned char data[65536];

/* As libraries do that try something once: what signal(3) returned is put back without its
 * flags. */
static void put_back(int number) {
    void (*old)(int) = signal(number, SIG_DFL);
    CHECK(old != SIG_ERR && signal(number, old) == SIG_DFL);
}

/* The buffer, which would pass for a siginfo, is as before; the row is ours again. */
static void without_siginfo(unsigned char byte, size_t length) {
    put_back(SIGPIPE);
    memset(data, byte, sizeof data);
    CHECK(write(broken_pipe(), data, length) == -1 && errno == EPIPE);
    for (size_t i = 0; i < sizeof data; i++) CHECK(data[i] == byte);
#ifndef BARE
    struct sigaction now;
    CHECK(sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO);
    CHECK(now.sa_flags & SA_ONSTACK);
#endif
}

static void stripped(void) {
    CHECK(ward() == 0);
    without_siginfo(0, 1);
    without_siginfo(0, sizeof data);
    without_siginfo(0x41, sizeof data);
    put_back(SIGPIPE);
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && close(ends[1]) == 0);
    struct iovec piece = {data, 5};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    CHECK(sendmsg(ends[0], &message, 0) == -1 && errno == EPIPE);
}

/* Nobody says who sent it, but nothing was written. */
static void stripped_kill(void) {
    CHECK(ward() == 0);
    put_back(SIGPIPE);
    kill(getpid(), SIGPIPE);
}

static volatile int told;

static void one_argument(int signal) { told += signal; }

static void stripped_above_a_handler(void) {
    signal(SIGPIPE, one_argument);
    CHECK(ward() == 0);
    put_back(SIGPIPE);
    for (int i = 1; i <= 2; i++)
        CHECK(write(broken_pipe(), data, 100) == -1 && errno == EPIPE && told == i * SIGPIPE);
}

#ifndef BARE
static void stripped_bus(void) {
    int fd = memfd_create("file", 0);
    sigward_map *map;
    CHECK(ftruncate(fd, 2 * PAGE_BYTES) == 0 && sigward_map_fd(fd, NULL, &map) == 0);
    put_back(SIGBUS);
    CHECK(ftruncate(fd, 0) == 0);
    char here[16];
    CHECK(sigward_map_read_at(map, 0, here, sizeof here) < 0);
    CHECK(*(volatile char *)sigward_map_data(map) == 0);
}
#else
static void stripped_bus(void) { raise(SIGBUS); }
#endif
#else
static void stripped(void) {}
static void stripped_kill(void) { raise(SIGPIPE); }
static void stripped_above_a_handler(void) {}
static void stripped_bus(void) {}
#endif

/* ---- handlers above ours ---- */

static struct sigaction beneath;

static void above(void (*handler)(int, siginfo_t *, void *)) {
    CHECK(ward() == 0);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, &beneath) == 0);
    int fd = broken_pipe();
    for (int i = 0; i < 10; i++) CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
}

/* The last thing that it does is a jump, so that ours is entered with the kernel's stack pointer
 * and return address. */
__attribute__((optimize("O2"))) static void jumping(int signal, siginfo_t *info, void *context) {
    beneath.sa_sigaction(signal, info, context);
}

static void calling(int signal, siginfo_t *info, void *context) {
    beneath.sa_sigaction(signal, info, context);
    __asm__ volatile("" ::: "memory");
}

/* Its frame is larger than a signal's, and full of what looks like nothing. */
static void calling_far_above(int signal, siginfo_t *info, void *context) {
    volatile char *room = alloca(20000 + signal % 2);
    for (int i = 0; i < 20000; i++) room[i] = (char)i;
    beneath.sa_sigaction(signal, info, context);
    room[0] = 1;
}

/* What it passes on is a copy. */
static void copying(int signal, siginfo_t *info, void *context) {
    siginfo_t copy = *info;
    beneath.sa_sigaction(signal, &copy, context);
    __asm__ volatile("" ::: "memory");
}

static void above_jumping(void) { above(jumping); }
static void above_calling(void) { above(calling); }
static void above_far(void) { above(calling_far_above); }
static void above_copying(void) { above(copying); }

/* ---- descriptors ---- */

#if !defined(BARE) && defined(__aarch64__)
/* One system call that two lines lead to, of two descriptors that are both broken: what stands
 * right before it is not always what happened. Last, one that keeps its descriptor in x3, one that
 * has it nowhere, one in a slot of the stack, one that is a constant. */
long jumped(int one, int other, int which, const void *bytes, size_t length);
long computed(int one, int other, int which, const void *bytes, size_t length);
long kept(int fd, const void *bytes, size_t length);
long lost(int fd, const void *bytes, size_t length);
long slot(int fd, const void *bytes, size_t length);
long overwritten(int fd, const void *bytes, size_t length);
long constant(const void *bytes, size_t length);
__asm__(".text\n"
        ".balign 4096\n"
        "jumped: stp x19, x20, [sp, #-16]!\n sxtw x19, w0\n sxtw x20, w1\n mov w6, w2\n mov x1, "
        "x3\n mov x2, x4\n"
        " cbz w6, 1f\n mov x0, x19\n 2: mov x8, #64\n svc #0\n ldp x19, x20, [sp], #16\n ret\n 1: "
        "mov x0, x20\n b 2b\n"
        ".balign 4096\n"
        "computed: mov w5, w0\n mov w6, w1\n mov w7, w2\n mov x1, x3\n mov x2, x4\n mov w0, w5\n"
        " adr x9, 3f\n cbnz w7, 4f\n mov w0, w6\n br x9\n 4: mov w0, w5\n 3: mov x8, #64\n svc "
        "#0\n ret\n"
        ".balign 4096\n"
        "kept: mov w3, w0\n mov x8, #64\n svc #0\n mov w4, w3\n ret\n"
        "lost: mov x8, #64\n svc #0\n ret\n"
        "slot: sub sp, sp, #32\n str w0, [sp, #12]\n ldr w0, [sp, #12]\n mov x8, #64\n svc #0\n "
        "add sp, sp, #32\n ret\n"
        "overwritten: sub sp, sp, #32\n str w0, [sp, #12]\n ldr w0, [sp, #12]\n str wzr, [sp, "
        "#12]\n mov x8, #64\n svc #0\n"
        " add sp, sp, #32\n ret\n"
        "constant: mov x2, x1\n mov x1, x0\n mov w0, #777\n mov x8, #64\n svc #0\n ret\n");

static uint64_t cursor;

static int named(void) {
    sigward_event event;
    CHECK(sigward_read_events(&cursor, &event, 1) == 1);
    return event.fd;
}

/* Right or unknown. */
#define ONE_OF(fd)                                                                                 \
    do {                                                                                           \
        int found = named();                                                                       \
        CHECK(found == -1 || found == (fd));                                                       \
    } while (0)

static void by_hand_descriptors(void) {
    CHECK(ward() == 0);
    int one = broken_pipe(), other = broken_pipe();
    for (int which = 0; which < 2; which++) {
        CHECK(jumped(one, other, which, "x", 1) == -EPIPE);
        ONE_OF(which ? one : other);
        CHECK(computed(one, other, which, "x", 1) == -EPIPE);
        ONE_OF(which ? one : other);
    }
    CHECK(kept(one, "x", 1) == -EPIPE && named() == one);
    CHECK(slot(one, "x", 1) == -EPIPE && named() == one);
    CHECK(lost(one, "x", 1) == -EPIPE && named() == -1);
    CHECK(overwritten(one, "x", 1) == -EPIPE && named() == -1);
    CHECK(dup2(one, 777) == 777);
    CHECK(constant("x", 1) == -EPIPE && named() == 777);
}
#else
static void by_hand_descriptors(void) {}
#endif

SCENARIOS({"plain_storm", plain_storm}, {"full_storm", full_storm}, {"end_of_page", end_of_page},
          {"end_of_page_in_a_sandbox", end_of_page_in_a_sandbox}, {"above_jumping", above_jumping},
          {"above_calling", above_calling}, {"above_far", above_far},
          {"above_copying", above_copying}, {"by_hand_descriptors", by_hand_descriptors},
          {"stripped", stripped}, {"stripped_kill", stripped_kill},
          {"stripped_above_a_handler", stripped_above_a_handler}, {"stripped_bus", stripped_bus})
