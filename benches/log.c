// What it costs to append to a log: against write(2), and against the log that people write
// themselves, memcpy into a map of a file that ftruncate made longer (no sums, no reserved blocks,
// death on a full disk). Without flushing, and with one flush for every hundred records against
// fdatasync(2) as often. Growth is part of it on all sides.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { SMALL = 64, PAGE = 4096, CADENCE = 100 };
#define ROOM ((size_t)1 << 34)
#define STEP ((size_t)1 << 20)

static const char *folder;
static unsigned char record[PAGE];
static sigward_log *sigward;
static struct {
    int fd;
    size_t at, length;
    unsigned char *map;
} file;

// A new file. The name of a plain one is gone as soon as it is open; that of a log stays, as flush
// looks for it.
static char *new_name(void) {
    static char name[4096];
    snprintf(name, sizeof name, "%s/log-%d", folder, (int)getpid());
    memset(record, 7, sizeof record);
    return name;
}

static void begin(unsigned mapped) {
    char *name = new_name();
    sigward_log_recovery found;
    unlink(name);
    check(sigward_log_open(name, NULL, &found, &sigward) == 0, "sigward_log_open");
    check(found.mapped == mapped, "the other way");
}

static void ours(void) {
    check(sigward_sigbus_guard() == 0, "sigward_sigbus_guard");
    begin(1);
}

// Where nobody guards: some system calls for each record.
static void calls(void) { begin(0); }

static void plain(void) {
    char *name = new_name();
    file.fd = open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    check(file.fd >= 0, "open");
    unlink(name);
}

static void naive(void) {
    plain();
    file.map = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.fd, 0);
    check(file.map != MAP_FAILED, "mmap");
}

static inline void append_ours(size_t size) {
    if (__builtin_expect(sigward_log_append(sigward, record, size, NULL) != 0, 0))
        fail("sigward_log_append");
}

static inline void append_plain(size_t size) {
    if (__builtin_expect(write(file.fd, record, size) != (ssize_t)size, 0)) fail("write");
}

static inline void append_naive(size_t size) {
    if (file.at + size + 16 > file.length) {
        file.length += STEP;
        check(ftruncate(file.fd, (off_t)file.length) == 0, "ftruncate");
    }
    memcpy(file.map + file.at + 8, record, size);
    memcpy(file.map + file.at, &size, 8);
    file.at += 8 + (size + 7) / 8 * 8;
}

static void flush_ours(void) { check(sigward_log_flush(sigward, NULL) == 0, "sigward_log_flush"); }
static void flush_plain(void) { check(fdatasync(file.fd) == 0, "fdatasync"); }
#define flush_naive flush_plain

// BATCH(side, size) defines side_size and side_size_flushed.
#define BATCH(side, size)                                                                          \
    static uint64_t side##_##size(unsigned count) {                                                \
        uint64_t start = now_ns();                                                                 \
        for (unsigned i = 0; i < count; i++) append_##side(size);                                  \
        return now_ns() - start;                                                                   \
    }                                                                                              \
    static uint64_t side##_##size##_flushed(unsigned count) {                                      \
        uint64_t start = now_ns();                                                                 \
        for (unsigned i = 1; i <= count; i++) {                                                    \
            append_##side(size);                                                                   \
            if (i % CADENCE == 0) flush_##side();                                                  \
        }                                                                                          \
        return now_ns() - start;                                                                   \
    }

BATCH(ours, SMALL)
BATCH(ours, PAGE)
BATCH(plain, SMALL)
BATCH(plain, PAGE)
BATCH(naive, SMALL)
BATCH(naive, PAGE)

int main(int argc, char **argv) {
    check(argc == 2, "usage: log FOLDER");
    folder = argv[1];
    prepare(argv);
    const struct row rows[] = {
        {"log append / write, 64 B",
         {ours, ours_SMALL}, {plain, plain_SMALL}, 5000, 10, 10, "0.13"},
        {"log append / write, 4 KiB", {ours, ours_PAGE}, {plain, plain_PAGE}, 500, 10, 10, "1"},
        {"log, flushed / write, fdatasync, 64 B",
         {ours, ours_SMALL_flushed}, {plain, plain_SMALL_flushed}, 400, 8, 6, "1.1"},
        {"log, flushed / write, fdatasync, 4 KiB",
         {ours, ours_PAGE_flushed}, {plain, plain_PAGE_flushed}, 400, 8, 6, "-"},
        {"log append, unguarded / write, 64 B",
         {calls, ours_SMALL}, {plain, plain_SMALL}, 2000, 10, 6, "-"},
        {"log append, unguarded / write, 4 KiB",
         {calls, ours_PAGE}, {plain, plain_PAGE}, 500, 10, 6, "-"},
        {"log append / naive map, 64 B",
         {ours, ours_SMALL}, {naive, naive_SMALL}, 5000, 10, 10, "-"},
        {"log append / naive map, 4 KiB", {ours, ours_PAGE}, {naive, naive_PAGE}, 500, 10, 10, "-"},
        {"log, flushed / naive, fdatasync, 64 B",
         {ours, ours_SMALL_flushed}, {naive, naive_SMALL_flushed}, 400, 8, 6, "-"},
        {"log, flushed / naive, fdatasync, 4 KiB",
         {ours, ours_PAGE_flushed}, {naive, naive_PAGE_flushed}, 400, 8, 6, "-"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    return 0;
}
