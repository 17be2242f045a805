// What the bytes of one moment cost: a snapshot of 32 MiB, all of it read once, against the same
// file read into a buffer and that read once. The file is in the page cache for both, as it is for
// whoever has it open already. A clone's pages are not: they come from the disk. With "clone" as
// second argument the folder is on a file system that shares blocks.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { LENGTH = 32 << 20 };

static char path[4096];
static uint64_t expected;

static uint64_t sum_of(const void *data) {
    const uint64_t *words = data;
    uint64_t sum = 0;
    for (size_t i = 0; i < LENGTH / sizeof *words; i++) sum += words[i];
    return sum;
}

static void make_file(const char *folder) {
    check((size_t)snprintf(path, sizeof path, "%s/source", folder) < sizeof path,
          "the folder's name is too long");
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t *content = malloc(LENGTH);
    check(file >= 0 && content != NULL, "open");
    for (size_t i = 0; i < LENGTH / sizeof *content; i++) content[i] = i * 0x9e3779b97f4a7c15u;
    check(write(file, content, LENGTH) == LENGTH && fsync(file) == 0 && close(file) == 0, "write");
    expected = sum_of(content);
    free(content);
}

static void nothing(void) {}

// The first one takes the seat for SIGBUS.
static void once(void) {
    sigward_map *map;
    check(sigward_snapshot(path, &map) == 0 && sigward_map_close(map) == 0, "sigward_snapshot");
}

static uint64_t snapshots(unsigned count, uint32_t memory_only, uint32_t kind, int touch) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        sigward_map *map;
        sigward_snapshot_report report;
        sigward_snapshot_options options = {.size = sizeof options, .memory_only = memory_only};
        check(sigward_snapshot_with(path, &options, &map, &report) == 0 && report.kind == kind,
              "sigward_snapshot_with");
        check(sigward_map_len(map) == LENGTH &&
                  (!touch || sum_of(sigward_map_data(map)) == expected),
              "other bytes");
        check(sigward_map_close(map) == 0, "sigward_map_close");
    }
    return now_ns() - start;
}

static uint64_t copied(unsigned count) { return snapshots(count, 1, SIGWARD_SNAPSHOT_MEMORY, 1); }
static uint64_t cloned(unsigned count) { return snapshots(count, 0, SIGWARD_SNAPSHOT_CLONE, 1); }
static uint64_t cloned_only(unsigned count) {
    return snapshots(count, 0, SIGWARD_SNAPSHOT_CLONE, 0);
}

static uint64_t buffered(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        struct stat status;
        check(file >= 0 && fstat(file, &status) == 0 && status.st_size == LENGTH, "open");
        char *buffer = malloc((size_t)status.st_size);
        check(buffer != NULL, "malloc");
        for (size_t at = 0; at < LENGTH;) {
            ssize_t got = read(file, buffer + at, LENGTH - at);
            check(got > 0, "read");
            at += (size_t)got;
        }
        check(sum_of(buffer) == expected && close(file) == 0, "other bytes");
        free(buffer);
    }
    return now_ns() - start;
}

int main(int argc, char **argv) {
    check(argc == 2 || argc == 3, "usage: snapshot FOLDER [clone]");
    prepare(argv);
    make_file(argv[1]);
    const struct row memory = {
        "snapshot 32 MiB, memory / read", {once, copied}, {nothing, buffered}, 1, 5, 6, "-"};
    const struct row clones[] = {
        {"snapshot 32 MiB, clone / read", {once, cloned}, {nothing, buffered}, 1, 5, 6, "-"},
        {"snapshot 32 MiB, clone, unread / read",
         {once, cloned_only},
         {nothing, buffered},
         1,
         5,
         6,
         "-"},
    };
    if (argc == 2) measure(&memory);
    for (unsigned i = 0; argc == 3 && i < sizeof clones / sizeof *clones; i++) measure(&clones[i]);
    return 0;
}
