/* What the runtimes' C halves share for maps: one file mapped by sigward, or plainly with
 * -DBARE. */
#ifndef MAP_H
#define MAP_H

#include "ward.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifdef BARE
static void *bare_data;
static size_t bare_len;

static inline void map_open(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    bare_len = (size_t)status.st_size;
    bare_data = mmap(NULL, bare_len, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(bare_data != MAP_FAILED);
    close(fd);
}

static inline const uint8_t *map_data(void) { return bare_data; }
static inline size_t map_len(void) { return bare_len; }
static inline void map_refresh(void) {}
static inline void map_close(void) { CHECK(munmap(bare_data, bare_len) == 0); }
static inline void map_status(char *text, size_t room) { snprintf(text, room, "bare"); }
static inline int map_seat(void) { return 0; }
#else
static sigward_map *the_map;

static inline void map_open(const char *path) {
    CHECK(sigward_map_open(path, NULL, &the_map) == 0);
}
static inline const uint8_t *map_data(void) { return sigward_map_data(the_map); }
static inline size_t map_len(void) { return sigward_map_len(the_map); }
static inline void map_refresh(void) { CHECK(sigward_map_refresh(the_map) == 0); }
static inline void map_close(void) { CHECK(sigward_map_close(the_map) == 0); }

/* "intact", or what was lost first. */
static inline void map_status(char *text, size_t room) {
    sigward_fault fault;
    int faulted = sigward_map_status(the_map, &fault);
    CHECK(faulted == 0 || faulted == 1);
    if (!faulted) {
        snprintf(text, room, "intact");
        return;
    }
    CHECK(fault.offset == *sigward_map_poison_word(the_map) && !fault.write);
    const char *cause = fault.cause == SIGWARD_CAUSE_TRUNCATED ? "truncated" : "another cause";
    snprintf(text, room, "%s at %" PRIu64 " of %" PRIu64, cause, fault.offset, fault.len_now);
}

/* 0: a fault on this thread comes to us first; else SIGWARD_THREAD_*. */
static inline int map_seat(void) { return sigward_thread_check(); }
#endif

/* C code that reads what a runtime has handed to it. */
static inline uint64_t map_sum(void) {
    const volatile uint8_t *data = map_data();
    uint64_t sum = 0;
    for (size_t i = 0; i < map_len(); i++) sum += data[i];
    return sum;
}

#endif
