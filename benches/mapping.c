// What it costs to read a guarded map whose file is sound: bytes that nobody has taken away, copied
// out of it in three sizes, against memcpy from a plain map of the same file and against the other
// ways to survive a truncation.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { SMALL = 16, PAGE = 4096, LARGE = 1 << 20, FILE_SIZE = 4 * LARGE };

static int file = -1;

// What each worker of a row reads from and to, alike for both sides.
static struct {
    const unsigned char *data;
    const uint64_t *poison;
    unsigned char *to;
} here;
static sigward_map *map;
static sigjmp_buf escape;

static unsigned char byte_at(size_t offset) { return (unsigned char)(offset % 251 + 1); }

static void make_file(const char *folder) {
    unsigned char *content = malloc(FILE_SIZE);
    check(content != NULL, "malloc");
    file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(file >= 0, "O_TMPFILE");
    for (size_t i = 0; i < FILE_SIZE; i++) content[i] = byte_at(i);
    check(pwrite(file, content, FILE_SIZE, 0) == FILE_SIZE, "pwrite");
    free(content);
}

// Every page of both is in memory and mapped before the first batch.
static void warm(const unsigned char *data) {
    unsigned sum = 0;
    here.data = data;
    here.to = aligned_alloc(PAGE, LARGE);
    check(here.to != NULL, "aligned_alloc");
    memset(here.to, 0, LARGE);
    for (size_t i = 0; data && i < FILE_SIZE; i += PAGE)
        sum += ((const volatile unsigned char *)data)[i];
    check(data == NULL || sum != 0, "the map is empty");
}

static void plain_map(void) {
    void *data = mmap(NULL, FILE_SIZE, PROT_READ, MAP_SHARED, file, 0);
    check(data != MAP_FAILED, "mmap");
    warm(data);
}

static void guarded_map(void) {
    check(sigward_map_fd(file, NULL, &map) == 0, "sigward_map_fd");
    here.poison = sigward_map_poison_word(map);
    check(sigward_map_len(map) == FILE_SIZE && *here.poison == UINT64_MAX,
          "not the map that was asked for");
    warm(sigward_map_data(map));
}

static void no_map(void) { warm(NULL); }

// The sizes as the compiler must not know them: memcpy(3) itself is what a reader of any length
// calls.
static volatile size_t sizes[] = {SMALL, PAGE, LARGE};

// Offsets that differ: 61 is odd, so that loads straddle lines as they do in real files.
static inline size_t place(size_t i, size_t size) {
    return i * 61 % (size == LARGE ? 2 * LARGE : 16 * PAGE);
}

// What a batch must have read: a side that copied nothing would be fast.
static void expect(unsigned count, size_t size, uint64_t sum) {
    for (unsigned i = 0; i < count; i++) {
        size_t at = place(i, size);
        sum -= byte_at(at) + byte_at(at + size - 1);
    }
    check(sum == 0, "a copy is wrong");
}

// check() without a call where all is well: it is between two copies.
#define MUST(ok, what)                                                                             \
    do {                                                                                           \
        if (__builtin_expect(!(ok), 0)) fail(what);                                                \
    } while (0)

// ---- one copy of `size` bytes from `at` ---------------------------------------------------------

static inline void plain(size_t at, size_t size) { memcpy(here.to, here.data + at, size); }

// As sigward.h says: the data first, then the word.
static inline void view(size_t at, size_t size) {
    memcpy(here.to, here.data + at, size);
    MUST(__atomic_load_n(here.poison, __ATOMIC_ACQUIRE) >= at + size, "bytes are lost");
}

static inline void read_at(size_t at, size_t size) {
    MUST(sigward_map_read_at(map, at, here.to, size) == (ssize_t)size, "sigward_map_read_at");
}

// The ways of others. Their handlers would be needed besides; the good path never meets them.
static void jump(size_t at, size_t size) {
    MUST(sigsetjmp(escape, 0) == 0, "a jump");
    memcpy(here.to, here.data + at, size);
}

static void jump_mask(size_t at, size_t size) {
    MUST(sigsetjmp(escape, 1) == 0, "a jump");
    memcpy(here.to, here.data + at, size);
}

static inline void by_pread(size_t at, size_t size) {
    MUST(pread(file, here.to, size, (off_t)at) == (ssize_t)size, "pread");
}

static inline void vm_readv(size_t at, size_t size) {
    struct iovec local = {here.to, size}, remote = {(void *)(uintptr_t)(here.data + at), size};
    MUST(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size, "process_vm_readv");
}

// ---- batches ------------------------------------------------------------------------------------

// BATCH(copy) defines copy_16, copy_4096 and copy_large. Where the next copy begins depends on what
// this one brought, as for whoever follows an index: no byte is zero, but the processor does not
// know. Small copies that do not depend on each other overlap, and every instruction between them
// shows: copy_apart.
#define BATCH_OF(copy, suffix, which, step)                                                        \
    static uint64_t copy##_##suffix(unsigned count) {                                              \
        const size_t size = sizes[which];                                                          \
        uint64_t sum = 0, start = now_ns();                                                        \
        for (size_t i = 0, next = 0; i < count; i++) {                                             \
            copy(place(i, size) + next, size);                                                     \
            sum += here.to[0] + here.to[size - 1];                                                 \
            next = step;                                                                           \
            __asm__ volatile("" : : : "memory");                                                   \
        }                                                                                          \
        uint64_t took = now_ns() - start;                                                          \
        expect(count, size, sum);                                                                  \
        return took;                                                                               \
    }
#define BATCH(copy)                                                                                \
    BATCH_OF(copy, 16, 0, here.to[0] == 0)                                                         \
    BATCH_OF(copy, 4096, 1, here.to[0] == 0)                                                       \
    BATCH_OF(copy, large, 2, here.to[0] == 0)

BATCH(plain)
BATCH(view)
BATCH(read_at)
BATCH(jump)
BATCH(jump_mask)
BATCH(by_pread)
BATCH(vm_readv)
BATCH_OF(plain, apart, 0, 0)
BATCH_OF(view, apart, 0, 0)
BATCH_OF(read_at, apart, 0, 0)

// ROWS(name, ours, its setup, peer, its setup, targets): one row for each size.
#define ROWS(name, ours, ours_map, peer, peer_map, small, page, large)                             \
    {name ", 16 B", {ours_map, ours##_16}, {peer_map, peer##_16}, 20000, 20, 20, small},           \
        {name ", 4 KiB", {ours_map, ours##_4096}, {peer_map, peer##_4096}, 4000, 20, 20, page}, {  \
        name ", 1 MiB", {ours_map, ours##_large}, {peer_map, peer##_large}, 20, 20, 20, large      \
    }

int main(int argc, char **argv) {
    check(argc == 2, "usage: mapping FOLDER");
    prepare(argv);
    make_file(argv[1]);
    const struct row rows[] = {
        ROWS("guarded view / memcpy", view, guarded_map, plain, plain_map, "1.01", "1.01", "1.01"),
        ROWS("memcpy / memcpy: the noise", plain, plain_map, plain, plain_map, "-", "-", "-"),
        {"guarded view / memcpy, 16 B apart",
         {guarded_map, view_apart},
         {plain_map, plain_apart},
         20000,
         20,
         20,
         "-"},
        ROWS("read_at / memcpy", read_at, guarded_map, plain, plain_map, "1.05", "1.1", "1.1"),
        {"read_at / memcpy, 16 B apart",
         {guarded_map, read_at_apart},
         {plain_map, plain_apart},
         20000,
         20,
         20,
         "-"},
        ROWS("read_at / sigsetjmp(0)", read_at, guarded_map, jump, plain_map, "-", "-", "-"),
        ROWS("read_at / sigsetjmp(1)", read_at, guarded_map, jump_mask, plain_map, "-", "-", "-"),
        ROWS("read_at / pread", read_at, guarded_map, by_pread, no_map, "-", "-", "-"),
        ROWS("read_at / process_vm_readv", read_at, guarded_map, vm_readv, plain_map, "-", "-",
             "-"),
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
