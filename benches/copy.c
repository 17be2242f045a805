// What the checked copy costs against memcpy, and against the other ways to read memory that may
// not be there.
//
// Source and destination are the worker's own pages, written beforehand: what is measured is the
// copy, not the first touch.
#define _GNU_SOURCE
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { MOST = 1 << 20 };
static char *from, *to;
static int file = -1;

static void pages(void) {
    // Huge pages or not, whichever the kernel prefers today, would decide the figure of the large
    // copies.
    file = memfd_create("bench", MFD_CLOEXEC);
    check(file >= 0 && ftruncate(file, MOST) == 0, "memfd");
    from = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    to = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(from != MAP_FAILED && to != MAP_FAILED, "mmap");
    madvise(to, MOST, MADV_NOHUGEPAGE);
    memset(from, 1, MOST);
    memset(to, 2, MOST);
    check(sigward_sigbus_guard() == 0 && sigward_try_copy(to, from, 1) == 1,
          "with the seat, as in every armed process");
}

// memcpy through a pointer that the compiler cannot see through: a call, as in a program that does
// not know the size.
static void *(*volatile plain)(void *, const void *, size_t) = memcpy;

static sigjmp_buf before;

static ssize_t with_sigsetjmp(size_t length, int mask) {
    if (sigsetjmp(before, mask) != 0) return -1;
    plain(to, from, length);
    return (ssize_t)length;
}

static ssize_t by_process_vm_readv(size_t length) {
    struct iovec local = {to, length}, remote = {from, length};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

// BATCH(name, call) makes one batch for each size.
#define SIZED(name, size, call)                                                                    \
    static uint64_t name##_##size(unsigned count) {                                                \
        enum { length = size };                                                                    \
        ssize_t sum = 0;                                                                           \
        uint64_t start = now_ns();                                                                 \
        for (unsigned i = 0; i < count; i++) sum += (call);                                        \
        uint64_t took = now_ns() - start;                                                          \
        check(sum == (ssize_t)count * length, "a short copy");                                     \
        return took;                                                                               \
    }
#define BATCH(name, call) SIZED(name, 16, call) SIZED(name, 4096, call) SIZED(name, 1048576, call)

BATCH(checked, sigward_try_copy(to, from, length))
BATCH(memcpy, (plain(to, from, length), length))
BATCH(jump, with_sigsetjmp(length, 0))
BATCH(jump_mask, with_sigsetjmp(length, 1))
BATCH(pread, pread(file, to, length, 0))
BATCH(readv, by_process_vm_readv(length))

// ROWS(peer's name, its batches, target): one row for each size. About a millisecond a batch.
#define ROW(title, name, size, said, count, pairs, target)                                         \
    {                                                                                              \
        "checked copy / " title ", " said, {pages, checked_##size}, {pages, name##_##size}, count, \
            20, pairs, target                                                                      \
    }
#define ROWS(title, name, pairs, target)                                                           \
    ROW(title, name, 16, "16 B", 40000, pairs, target),                                            \
        ROW(title, name, 4096, "4 KiB", 8000, pairs, target),                                      \
        ROW(title, name, 1048576, "1 MiB", 12, pairs, target)

int main(int argc, char **argv) {
    (void)argc;
    prepare(argv);
    const struct row rows[] = {
        ROWS("memcpy", memcpy, 40, "1.02"),
        ROWS("sigsetjmp", jump, 10, "-"),
        ROWS("sigsetjmp, mask", jump_mask, 10, "-"),
        ROWS("pread", pread, 10, "-"),
        ROWS("process_vm_readv", readv, 10, "-"),
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
