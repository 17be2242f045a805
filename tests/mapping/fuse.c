/* Files of a program: on FUSE no store asks for room, reads can fail as the daemon likes, and the
 * daemon can die. The first argument is the folder. Each scenario bare and warded. */
#include "maps.h"
#include <sys/statvfs.h>

#ifdef BARE
/* ftruncate, and hope. */
static int sigward_reserve(int fd, uint64_t offset, uint64_t len) {
    return ftruncate(fd, (off_t)(offset + len)) == 0 ? 0 : -errno;
}
#define sigward_reserve_slowly sigward_reserve
#endif

enum { PAGES = 64 };

static void fill_disk(void) {
    static const unsigned char block[64 * 1024] = {1};
    int fd = open(path_of("ballast"), O_WRONLY | O_CREAT, 0644);
    off_t next = 0;
    CHECK(fd >= 0);
    for (size_t size = sizeof block; size >= PAGE; size /= 4)
        for (ssize_t done; (done = pwrite(fd, block, size, next)) != -1 || errno != ENOSPC;
             next += done)
            CHECK(done > 0);
    close(fd);
}

/* What the daemon has, and not what the page cache still shows. */
static int from_the_daemon(const char *path, uint64_t at) {
    unsigned char byte;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(pread(fd, &byte, 1, (off_t)at) == 1 && close(fd) == 0);
    return byte;
}

/* ---- a full disk ---- */

/* No store fails. msync says it once and then no more, and the bytes are not there; what we say we
 * say again. */
static void store(void) {
    const char *path = path_of("sparse");
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0 && ftruncate(fd, PAGES * PAGE) == 0);
    fill_disk();
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    for (uint64_t at = 0; at < PAGES * PAGE; at += PAGE) bytes(map)[at] = 7;
    CHECK(sigward_map_populate(map, 0, PAGES * PAGE) == 0 && poison(map) == INTACT);
    CHECK(counters().faults == 0);
    CHECK(sigward_map_flush(map) == -ENOSPC);
    int again = sigward_map_flush(map);
    CHECK(again == (WARDED ? -ENOSPC : 0));
    CHECK(sigward_map_flush(map) == again);
    /* Room again, the bytes written again, and a map that begins anew. */
    CHECK(unlink(path_of("ballast")) == 0);
    CHECK(sigward_map_flush(map) == again && sigward_map_refresh(map) == 0);
    CHECK(sigward_map_flush(map) == 0);
    bytes(map)[5 * PAGE] = 9;
    CHECK(sigward_map_flush(map) == 0 && sigward_map_close(map) == 0);
    CHECK(from_the_daemon(path, 5 * PAGE) == 9);
    int lost = 0;
    for (uint64_t at = 0; at < PAGES * PAGE; at += PAGE) lost += from_the_daemon(path, at) == 0;
    CHECK(lost > 0);
    SAY("%s\n", again == 0 ? "forgotten" : "told");
}

/* Says what was promised and what came of it. */
static void reserved(void) {
    const char *path = path_of("reserved");
    int fd = open(path, O_RDWR | O_CREAT, 0644), slowly = 0;
    CHECK(fd >= 0);
    int promise = sigward_reserve(fd, 0, PAGES * PAGE);
    if (promise == -EOPNOTSUPP) promise = sigward_reserve_slowly(fd, 0, PAGES * PAGE), slowly = 1;
    CHECK(promise >= 0);
    fill_disk();
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    for (uint64_t at = 0; at < PAGES * PAGE; at += PAGE) bytes(map)[at] = 7;
    CHECK(poison(map) == INTACT);
    int status = sigward_map_flush(map);
    CHECK(status == 0 || status == -ENOSPC);
    SAY("promise %d%s, %s\n", promise, slowly ? " of zeros" : "",
        status == 0 ? "kept" : "not kept");
}

/* More than there is: the file is as it was. */
static void refused(void) {
    const char *path = path_of("refused");
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    struct stat before, after;
    struct statvfs disk;
    fill(fd, 0, 3 * PAGE + 5);
    CHECK(fsync(fd) == 0 && fstat(fd, &before) == 0 && fstatvfs(fd, &disk) == 0);
    uint64_t much = (uint64_t)disk.f_blocks * disk.f_frsize + (1 << 20);
    int status = sigward_reserve(fd, 0, much);
    if (status == -EOPNOTSUPP) status = sigward_reserve_slowly(fd, 0, much);
    if (!WARDED) return; /* a length that nobody can fill */
    CHECK(status == -ENOSPC && fstat(fd, &after) == 0);
    CHECK(after.st_size == before.st_size && after.st_blocks <= before.st_blocks + 8);
    for (uint64_t at = 0; at < 3 * PAGE + 5; at += 100)
        CHECK(from_the_daemon(path, at) == content(at));
}

/* ---- the daemon ---- */

static void forget(const char *path) {
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 && close(fd) == 0);
    usleep(1000);
}

/* A map of a file of which no page but the first has been read. */
static sigward_map *unread(const char *name) {
    const char *path = path_of(name);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    fill(fd, 0, PAGES * PAGE);
    CHECK(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0 && close(fd) == 0);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    CHECK(madvise((void *)bytes(map), PAGES * PAGE, MADV_RANDOM) == 0); /* no reading ahead */
    /* A page that somebody else looks at in this moment stays. */
    unsigned char there[PAGES], any = 1;
    for (unsigned again = 0; any; again++) {
        CHECK(again < patience(30000) && mincore((void *)bytes(map), PAGES * PAGE, there) == 0);
        any = 0;
        for (int i = 0; i < PAGES; i++) any |= there[i] & 1;
        if (any) forget(path);
    }
    CHECK(touch(map, 0) == content(0));
    return map;
}

/* The second argument is the daemon: it is killed. */
static void killed(void) {
    sigward_map *map = unread("killed");
    unsigned char buffer[16];
    struct stat status;
    bytes(map)[1] = 77;
    CHECK(kill((pid_t)atoi(arguments[1]), SIGKILL) == 0);
    for (int wait = 0; stat(arguments[0], &status) == 0 || errno != ENOTCONN; wait++)
        CHECK(wait < 60000 && usleep(1000) == 0);
    CHECK(touch(map, 0) == content(0) && bytes(map)[1] == 77); /* what was read is there */
    CHECK(touch(map, 9 * PAGE) == 0);                          /* bare dies */
    sigward_fault fault = status_of(map);
    CHECK(fault.cause == SIGWARD_CAUSE_IO && fault.error == ENOTCONN && poison(map) == 9 * PAGE);
    CHECK(sigward_map_read_at(map, 9 * PAGE, buffer, 16) == -EFAULT);
    CHECK(sigward_map_read_at(map, 0, buffer, 16) == 16);
    CHECK(sigward_map_verify(map) == -EFAULT && sigward_map_refresh(map) == -ENOTCONN);
    int flushed = sigward_map_flush(map);
    CHECK(flushed == -ENOTCONN && sigward_map_flush(map) == flushed);
    CHECK(poison(map) == 9 * PAGE && sigward_map_close(map) == 0);
}

/* The second argument is the daemon's image: most of it goes away. Reads fail, writes are lost. */
static void image_cut(void) {
    new_file("first", 4 << 20); /* has the beginning of the image */
    sigward_map *map = unread("unread");
    unsigned char buffer[16];
    CHECK(truncate(arguments[1], 1 << 20) == 0);
    CHECK(touch(map, 0) == content(0));
    CHECK(touch(map, 9 * PAGE) == 0); /* bare dies */
    sigward_fault fault = status_of(map);
    CHECK(fault.cause == SIGWARD_CAUSE_IO && fault.error == EIO && poison(map) == 9 * PAGE);
    CHECK(sigward_map_read_at(map, 9 * PAGE, buffer, 16) == -EFAULT);
    CHECK(sigward_map_flush(map) == -EIO);
    CHECK(sigward_map_close(map) == 0);
}

/* Somebody cuts the file where the daemon has it from (the second argument), and the kernel has not
 * been told. */
static void cut_below(void) {
    sigward_map *map = unread("below");
    char below[PATH_MAX];
    snprintf(below, sizeof below, "%.3000s/%d-below", arguments[1], (int)getpid());
    CHECK(truncate(below, 4 * PAGE + 9) == 0);
    CHECK(touch(map, 0) == content(0) && touch(map, 3 * PAGE) == content(3 * PAGE));
    CHECK(touch(map, 9 * PAGE) == 0); /* bare dies */
    sigward_fault fault = status_of(map);
    CHECK(fault.cause == SIGWARD_CAUSE_TRUNCATED && fault.len_now == 4 * PAGE + 9);
    CHECK(poison(map) == 4 * PAGE + 9);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_len(map) == 4 * PAGE + 9);
    holds(map, 0, 0, 4 * PAGE + 9);
}

/* Somebody writes there: a page that was read is old until the file is opened again, which has the
 * kernel forget its pages. */
static void written_below(void) {
    sigward_map *map = unread("below");
    char below[PATH_MAX];
    snprintf(below, sizeof below, "%.3000s/%d-below", arguments[1], (int)getpid());
    int fd = open(below, O_WRONLY);
    CHECK(fd >= 0 && pwrite(fd, "!", 1, 0) == 1);
    CHECK(touch(map, 0) == content(0));
    CHECK(close(open(path_of("below"), O_RDONLY)) == 0);
    CHECK(touch(map, 0) == '!' && poison(map) == INTACT);
}

SCENARIOS({"store", store}, {"reserved", reserved}, {"refused", refused}, {"killed", killed},
          {"image_cut", image_cut}, {"cut_below", cut_below}, {"written_below", written_below})
