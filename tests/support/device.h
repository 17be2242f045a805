/* What the disk of device.c, who works on it, and who plays it back have in common. */
#ifndef DEVICE_H
#define DEVICE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRY_WRITE = 1, ENTRY_FLUSH = 2 };
/* FAIL_MARKED: a write in which a sector begins with MARK, so contents and no notes of the file
 * system's own. FAIL_HEADERS: the same with a log's first word. FAIL_READS: a read of a sector
 * that begins with MARK. LOSE: all is acknowledged and nothing kept, as if the power had failed. */
enum {
    FAIL_WRITES = 1, FAIL_FLUSHES = 2, FAIL_MARKED = 4, FAIL_HEADERS = 8, LOSE = 16, FAIL_READS = 32
};
#define MARK UINT64_C(0x6b72616d6b72616d)
#define LOG_HEADER UINT64_C(0x0a676f6c77676973) /* "sigwlog\n" */

/* In the record, before the bytes of a write. */
struct entry {
    uint32_t kind, length;
    uint64_t offset;
};

/* A page that both sides have in common. */
struct control {
    uint64_t kept;   /* entries in the record */
    uint64_t fails;  /* what fails now, and changes nothing */
    uint64_t failed; /* how often it did */
};

static inline struct control *control_of(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 4096) != 0) return NULL;
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

#endif
