/* Handlers of the host that jump out of opening a map and of making it longer: nobody waits for the
 * thread that has left. The calls that the library makes meanwhile come here, and the signal with
 * them. */
#include "maps.h"
#include <setjmp.h>

#define GROWN (4 << 20)

static sigjmp_buf outside;
static volatile int until_mapped, until_allocated, until_written, came, handled;
static int no_promise;

static void come(volatile int *until) {
    if (*until == 0 || --*until > 0) return;
    came++;
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t from) {
    void *area = (void *)syscall(SYS_mmap, at, len, protection, flags, fd, from);
    if (fd == -1) come(&until_mapped);
    return area;
}

#ifndef mmap64 /* musl has had one of the two */
void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t from) {
    return mmap64(at, len, protection, flags, fd, from);
}
#endif

int fallocate64(int fd, int mode, off64_t from, off64_t len) {
    if (no_promise) return errno = EOPNOTSUPP, -1;
    int status = (int)syscall(SYS_fallocate, fd, mode, from, len);
    come(&until_allocated);
    return status;
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    CHECK(handled == came); /* with the piece before, or never */
    ssize_t written = syscall(SYS_pwritev2, fd, parts, count, at, 0L, flags);
    come(&until_written);
    return written;
}

static void jumping(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
    siglongjmp(outside, 1);
}

static void returning(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
}

/* ---- opening ---- */

static void *opens(void *unused) {
    sigward_map *map = NULL;
    int fd = nameless(4 * PAGE);
    fill(fd, 0, 4 * PAGE);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && touch(map, 3 * PAGE) == content(3 * PAGE));
    CHECK(ftruncate(fd, PAGE) == 0 && touch(map, 3 * PAGE) == 0 && sigward_map_close(map) == 0);
    return close(fd), unused;
}

static void in_another(void *(*run)(void *), void *with) {
    pthread_t thread;
    alarm(patience(60));
    CHECK(pthread_create(&thread, NULL, run, with) == 0 && pthread_join(thread, NULL) == 0);
}

static void at_mapping(long number) {
    until_mapped = (int)number;
    install(SIGUSR1, jumping, 0);
    if (sigsetjmp(outside, 1) == 0) opens(NULL);
    CHECK((handled == 1) == (until_mapped == 0));
    until_mapped = 0;
    opens(NULL);
    in_another(opens, NULL);
}

/* Each piece of memory that the first map of a process needs. The last row needs fewer. */
static void opening(void) {
    static const struct row rows[] = {
        {"first", at_mapping, 1}, {"second", at_mapping, 2}, {"third", at_mapping, 3},
        {"fourth", at_mapping, 4}, {"fifth", at_mapping, 5}, {"sixth", at_mapping, 6},
        {"none", at_mapping, 99},
    };
    ROWS(rows);
}

/* ---- growing ---- */

static sigward_map *map;

static void *grows(void *len) {
    CHECK(sigward_map_grow(map, (uintptr_t)len) == 0 && sigward_map_len(map) == (uintptr_t)len);
    return len;
}

static void out_of_growing(long capacity) {
    volatile int *until = no_promise ? &until_written : &until_allocated;
    int fd = nameless(0);
    const sigward_map_options *options =
        OPTIONS(.writable = 1, .capacity = (uint64_t)capacity,
                .reserve_slowly = (uint32_t)no_promise);
    CHECK(sigward_map_fd(fd, options, &map) == 0);
    install(SIGUSR1, jumping, 0);
    *until = 1;
    if (sigsetjmp(outside, 1) == 0) {
        sigward_map_grow(map, GROWN);
        CHECK(!"nothing was asked of the disk");
    }
    CHECK(handled == 1 && *until == 0);
    in_another(grows, (void *)(uintptr_t)(2 * GROWN));
    grows((void *)(uintptr_t)(3 * GROWN));
    CHECK(sigward_map_close(map) == 0);
}

static void out_of_writing(long capacity) {
    no_promise = 1;
    out_of_growing(capacity);
}

/* A signal comes with a piece of zeros, and its handler before the next one. */
static void between_pieces(long capacity) {
    int fd = nameless(0);
    no_promise = 1;
    const sigward_map_options *options =
        OPTIONS(.writable = 1, .capacity = (uint64_t)capacity, .reserve_slowly = 1);
    CHECK(sigward_map_fd(fd, options, &map) == 0);
    install(SIGUSR1, returning, 0);
    for (int piece = 1; piece < 4; piece++) {
        until_written = piece;
        CHECK(sigward_map_grow(map, (uint64_t)piece * GROWN) == 0 && handled == piece);
    }
    CHECK(sigward_map_close(map) == 0);
}

static void growing(void) {
    static const struct row rows[] = {
        {"in place", out_of_growing, 16 * GROWN},        {"moved", out_of_growing, PAGE},
        {"slowly in place", out_of_writing, 16 * GROWN}, {"slowly moved", out_of_writing, PAGE},
        {"between pieces", between_pieces, 16 * GROWN},
    };
    ROWS(rows);
}

SCENARIOS({"opening", opening}, {"growing", growing})
