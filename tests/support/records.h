/* The records that hosts append to a log. */
#ifndef RECORDS_H
#define RECORDS_H

#include "host.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A record says which it is, and its bytes follow from that. */
static inline size_t length_of(uint64_t number) { return 8 + number * 37 % 300; }

static inline size_t make(unsigned char *to, uint64_t number) {
    size_t length = length_of(number);
    memcpy(to, &number, 8);
    for (size_t i = 8; i < length; i++) to[i] = (unsigned char)(number * 31 + i * 7);
    return length;
}

static inline bool is_record(const unsigned char *bytes, size_t length, uint64_t number) {
    unsigned char wanted[512];
    return length == make(wanted, number) && memcmp(bytes, wanted, length) == 0;
}

/* To the kernel a page that it could not write is as clean as any other, and can be dropped where
 * memory is short. Not these, until they are let go. */
static inline void *keep(const char *path, size_t length) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    void *kept = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(kept != MAP_FAILED && mlock(kept, length) == 0 && close(fd) == 0);
    return kept;
}

#endif
