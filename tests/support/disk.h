/* A file system of the test's own, in the folder that is the first argument: filled, and files in
 * it told apart. */
#ifndef DISK_H
#define DISK_H

#include "host.h"
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PAGE ((uint64_t)PAGE_BYTES)

static inline const char *path_of(const char *name) {
    static char path[8][PATH_MAX];
    static unsigned next;
    char *to = path[next++ % 8];
    snprintf(to, PATH_MAX, "%.3000s/%.900s", arguments[0], name);
    return to;
}

static inline unsigned char content(uint64_t at) { return (unsigned char)(at * 7 + at / PAGE + 1); }

static inline void fill(int fd, uint64_t from, uint64_t to) {
    unsigned char block[PAGE];
    while (from < to) {
        size_t part = to - from < sizeof block ? (size_t)(to - from) : sizeof block;
        for (size_t i = 0; i < part; i++) block[i] = content(from + i);
        CHECK(pwrite(fd, block, part, (off_t)from) == (ssize_t)part);
        from += part;
    }
}

static inline void holds(int fd, uint64_t from, uint64_t to, bool zero) {
    unsigned char block[PAGE];
    while (from < to) {
        size_t part = to - from < sizeof block ? (size_t)(to - from) : sizeof block;
        CHECK(pread(fd, block, part, (off_t)from) == (ssize_t)part);
        for (size_t i = 0; i < part; i++) CHECK(block[i] == (zero ? 0 : content(from + i)));
        from += part;
    }
}

/* To the last block: file systems keep some back for themselves, and give some of it when asked
 * again. */
static inline void fill_disk(void) {
    static const unsigned char block[64 * 1024] = {1};
    int fd = open(path_of("ballast"), O_RDWR | O_CREAT, 0644);
    struct statvfs fs;
    uint64_t next = 0;
    CHECK(fd >= 0 && fstatvfs(fd, &fs) == 0);
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (room > (1 << 20) && fallocate(fd, 0, 0, (off_t)(room - (1 << 20))) == 0)
        next = room - (1 << 20);
    for (size_t size = sizeof block; size >= 512; size /= 4)
        for (int quiet = 0; quiet < 3;) {
            ssize_t done = pwrite(fd, block, size, (off_t)next);
            CHECK(done > 0 || errno == ENOSPC || errno == EDQUOT);
            quiet = done > 0 ? 0 : quiet + 1;
            next += done > 0 ? (uint64_t)done : 0;
            if (done <= 0) fsync(fd);
        }
    close(fd);
}

/* More than there is. */
static inline uint64_t larger_than_the_disk(void) {
    struct statvfs fs;
    CHECK(statvfs(arguments[0], &fs) == 0);
    return (uint64_t)fs.f_blocks * fs.f_frsize + (64 << 20);
}

/* What a file is, as far as can be seen from outside. */
struct look {
    struct stat status;
    uint64_t sum;      /* of the contents */
    unsigned extents;  /* how many, 0 where the file system does not tell */
    uint64_t blocks[512]; /* start and end of each */
};

static inline void list_extents(int fd, struct look *to) {
    static struct {
        struct fiemap head;
        struct fiemap_extent extents[256];
    } list;
    memset(&list, 0, sizeof list);
    list.head.fm_length = UINT64_MAX;
    list.head.fm_extent_count = 256;
    list.head.fm_flags = FIEMAP_FLAG_SYNC;
    to->extents = 0;
    if (ioctl(fd, FS_IOC_FIEMAP, &list) != 0) return;
    for (unsigned i = 0; i < list.head.fm_mapped_extents; i++) {
        uint64_t start = list.extents[i].fe_logical, end = start + list.extents[i].fe_length;
        /* How runs of blocks are cut up is nobody's business. */
        if (to->extents > 0 && to->blocks[2 * to->extents - 1] == start)
            to->blocks[2 * to->extents - 1] = end;
        else {
            to->blocks[2 * to->extents] = start;
            to->blocks[2 * to->extents++ + 1] = end;
        }
    }
}

static inline struct look look(int fd) {
    struct look seen = {.sum = 0};
    unsigned char block[PAGE];
    ssize_t got;
    for (off_t at = 0; (got = pread(fd, block, sizeof block, at)) > 0; at += got)
        for (ssize_t i = 0; i < got; i++) seen.sum = seen.sum * 31 + block[i];
    list_extents(fd, &seen);
    CHECK(fstat(fd, &seen.status) == 0);
    return seen;
}

static inline void same(const struct look *before, const struct look *after) {
    const struct stat *a = &before->status, *b = &after->status;
    CHECK(a->st_size == b->st_size && before->sum == after->sum && a->st_mode == b->st_mode);
    CHECK(a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec);
    for (unsigned i = 0; i < 2 * after->extents && before->extents != after->extents; i++)
        fprintf(stderr, "%s %llu, before %llu\n", i % 2 ? "to" : "from",
                (unsigned long long)after->blocks[i], (unsigned long long)before->blocks[i]);
    CHECK(before->extents == after->extents);
    CHECK(memcmp(before->blocks, after->blocks, before->extents * 2 * sizeof(uint64_t)) == 0);
    /* Some of the file system's own notes about the extents may stay. */
    CHECK(b->st_blocks <= a->st_blocks + 16);
}

/* What a process has done that writes generations. */
typedef struct {
    _Atomic unsigned long begun, ended; /* writes */
    pid_t writer;
} generations_t;

/* A process that writes the file over and over, each generation of one byte in one write(2), until
 * it is killed. */
static inline generations_t *write_generations(int fd, unsigned char *block, size_t size) {
    int how = MAP_SHARED | MAP_ANONYMOUS;
    generations_t *all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, how, -1, 0);
    CHECK(all != MAP_FAILED);
    pid_t writer = fork();
    if (writer != 0) {
        all->writer = writer; /* the parent's to write: a child's 0 would be its whole group */
        return all;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned generation = 0;; generation++) {
        memset(block, (int)generation, size);
        all->begun++;
        CHECK(pwrite(fd, block, size, 0) == (ssize_t)size);
        all->ended++;
        if (generation % 8 == 0) usleep(generation % 7 * 2000);
    }
}

static inline void end_generations(generations_t *all) {
    CHECK(kill(all->writer, SIGKILL) == 0 && waitpid(all->writer, NULL, 0) == all->writer);
    munmap(all, sizeof *all);
}

#endif
