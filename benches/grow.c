// How long a reader stands still while the map that it reads grows.
//
// One thread reads 16 bytes here and there of 32 MiB that are all in memory, as fast as it can, and
// times each read. Another makes the file longer by 64 KiB, again and again. What counts of each
// growth is the slowest read that met it: of a batch the median, the 99th percentile or the maximum
// of those. Ours grows in place and readers take no lock. The peer is what is written by hand: the
// new blocks first, outside of any lock, then mremap(2) under the writing side of a
// pthread_rwlock_t, whose reading side each read takes.
//
// The two threads need a core each; where there are no two idle ones the scheduler's slices are in
// both figures.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { SMALL = 16, LENGTH = 32 << 20, STEP = 64 << 10, MOST = 256 };

static const uint64_t GROWTH = 15000; // ns

static const char *folder;
static int file = -1;
static uint64_t length;
static sigward_map *map;
static unsigned char *plain;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static cpu_set_t every_core;

// The slowest read since the grower looked, and how many there were.
static uint64_t slowest, reads;

static unsigned char byte_at(size_t offset) { return (unsigned char)(offset % 251 + 1); }

static void make_file(void) {
    unsigned char *content = malloc(LENGTH);
    check(content != NULL, "malloc");
    file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    check(file >= 0, "O_TMPFILE");
    for (size_t i = 0; i < LENGTH; i++) content[i] = byte_at(i);
    check(pwrite(file, content, LENGTH, 0) == LENGTH, "pwrite");
    free(content);
    length = LENGTH;
}

static void touch(const volatile unsigned char *data) {
    for (size_t at = 0; at < LENGTH; at += 4096) check(data[at] == byte_at(at), "not the file");
}

static void read_ours(size_t at, unsigned char *to) {
    if (sigward_map_read_at(map, at, to, SMALL) != SMALL) fail("sigward_map_read_at");
}

static void grow_ours(void) {
    length += STEP;
    check(sigward_map_grow(map, length) == 0 && sigward_map_len(map) == length, "sigward_map_grow");
}

static void read_peer(size_t at, unsigned char *to) {
    pthread_rwlock_rdlock(&lock);
    memcpy(to, plain + at, SMALL);
    pthread_rwlock_unlock(&lock);
}

static void grow_peer(void) {
    check(posix_fallocate(file, (off_t)length, STEP) == 0, "posix_fallocate");
    pthread_rwlock_wrlock(&lock);
    plain = mremap(plain, length, length + STEP, MREMAP_MAYMOVE);
    pthread_rwlock_unlock(&lock);
    check(plain != MAP_FAILED, "mremap");
    length += STEP;
}

// As long as a growth takes, without one: what the machine itself does to a reader.
static void grow_not(void) {
    uint64_t start = now_ns();
    while (now_ns() - start < GROWTH) sched_yield();
}

static void read_for_ever(void (*read_at)(size_t, unsigned char *)) {
    unsigned char to[SMALL];
    for (size_t i = 0;; i++) {
        size_t at = i * 4159 % (LENGTH - SMALL);
        uint64_t start = now_ns();
        read_at(at, to);
        uint64_t took = now_ns() - start;
        if (to[0] != byte_at(at) || to[SMALL - 1] != byte_at(at + SMALL - 1))
            fail("a read is wrong");
        if (took > __atomic_load_n(&slowest, __ATOMIC_RELAXED))
            __atomic_store_n(&slowest, took, __ATOMIC_RELAXED);
        __atomic_store_n(&reads, i + 1, __ATOMIC_RELEASE);
    }
}

static void *ours_reads(void *unused) { return read_for_ever(read_ours), unused; }
static void *peer_reads(void *unused) { return read_for_ever(read_peer), unused; }

static void begin(void *(*reader)(void *)) {
    pthread_t thread;
    // bench.h has pinned us to one core, and here are two threads that are to run at once.
    check(sched_setaffinity(0, sizeof every_core, &every_core) == 0, "sched_setaffinity");
    check(pthread_create(&thread, NULL, reader, NULL) == 0, "pthread_create");
}

static void ours(void) {
    make_file();
    sigward_map_options options = {
        .size = sizeof options, .writable = 1, .capacity = (uint64_t)1 << 32, .reserve_slowly = 1};
    check(sigward_map_fd(file, &options, &map) == 0, "sigward_map_fd");
    touch(sigward_map_data(map));
    begin(ours_reads);
}

static void peer(void) {
    make_file();
    plain = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    check(plain != MAP_FAILED, "mmap");
    touch(plain);
    begin(peer_reads);
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void some_reads(void) {
    uint64_t before = __atomic_load_n(&reads, __ATOMIC_ACQUIRE);
    while (__atomic_load_n(&reads, __ATOMIC_ACQUIRE) < before + 20) sched_yield();
}

// The slowest read of each growth, ascending.
static const uint64_t *stops(void (*grow)(void), unsigned count) {
    static uint64_t stop[MOST];
    check(count <= MOST, "too many");
    for (unsigned i = 0; i < count; i++) {
        some_reads();
        __atomic_store_n(&slowest, 0, __ATOMIC_RELAXED);
        grow();
        some_reads();
        stop[i] = __atomic_load_n(&slowest, __ATOMIC_RELAXED);
    }
    qsort(stop, count, sizeof *stop, ascending);
    return stop;
}

// bench.h divides by the count.
#define BATCHES(side)                                                                              \
    static uint64_t side##_median(unsigned count) {                                                \
        return stops(grow_##side, count)[count / 2] * count;                                       \
    }                                                                                              \
    static uint64_t side##_p99(unsigned count) {                                                   \
        return stops(grow_##side, count)[count * 99 / 100] * count;                                \
    }                                                                                              \
    static uint64_t side##_max(unsigned count) {                                                   \
        return stops(grow_##side, count)[count - 1] * count;                                       \
    }

BATCHES(ours)
BATCHES(peer)
static uint64_t not_p99(unsigned count) { return stops(grow_not, count)[count * 99 / 100] * count; }
static uint64_t budget(unsigned count) { return 1000 * count; }

int main(int argc, char **argv) {
    check(argc == 2, "usage: grow FOLDER");
    folder = argv[1];
    check(sched_getaffinity(0, sizeof every_core, &every_core) == 0, "sched_getaffinity");
    prepare(argv);
    const struct row rows[] = {
        {"reader's stop: grow / mremap, median",
         {ours, ours_median},
         {peer, peer_median},
         100,
         6,
         3,
         "-"},
        {"reader's stop: grow / mremap, p99", {ours, ours_p99}, {peer, peer_p99}, 100, 6, 3, "-"},
        {"reader's stop: grow / 1 us, p99", {ours, ours_p99}, {ours, budget}, 100, 6, 3, "1"},
        {"reader's stop: grow / no growth, p99", {ours, ours_p99}, {ours, not_p99}, 100, 6, 3, "-"},
        {"reader's stop: grow / mremap, max", {ours, ours_max}, {peer, peer_max}, 100, 6, 3, "-"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
