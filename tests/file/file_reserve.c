/* Blocks before bytes, on a small file system that is filled to the last block. The first argument
 * is its folder. Bare: ftruncate, and hope. */
#include "disk.h"
#include <sys/resource.h>
#include <sys/time.h>

#ifdef BARE
static int sigward_reserve(int fd, uint64_t offset, uint64_t len) {
    struct stat file;
    CHECK(fstat(fd, &file) == 0);
    if ((uint64_t)file.st_size < offset + len)
        return ftruncate(fd, (off_t)(offset + len)) == 0 ? 0 : -errno;
    return 0;
}
#define sigward_reserve_slowly sigward_reserve
#endif

enum { PAGES = 64 };
#define MIB ((uint64_t)1 << 20)

static int new_file(const char *name, int flags) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | flags, 0644);
    CHECK(fd >= 0);
    return fd;
}

/* What this file system promises: 0, 1, or 2 where only zeros help. */
static int reserved(int fd, uint64_t offset, uint64_t len) {
    int promise = sigward_reserve(fd, offset, len);
    if (promise != -EOPNOTSUPP) return promise;
    promise = sigward_reserve_slowly(fd, offset, len);
    return promise < 0 ? promise : 2;
}

/* One store into each page, through a map. */
static void touch(int fd, uint64_t from, uint64_t to) {
    unsigned char *map = mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (uint64_t at = from; at < to; at = (at / PAGE + 1) * PAGE) map[at] = content(at);
    CHECK(msync(map, to, MS_SYNC) == 0);
    for (uint64_t at = from; at < to; at = (at / PAGE + 1) * PAGE) CHECK(map[at] == content(at));
    munmap(map, to);
}

/* Into each byte. A file system that copies on write may have written the page to the disk in
 * between. */
static void store(int fd, uint64_t from, uint64_t to) {
    unsigned char *map = mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (uint64_t at = from; at < to; at++) map[at] = content(at);
    CHECK(msync(map, to, MS_SYNC) == 0);
    munmap(map, to);
    holds(fd, from, to, false);
}

/* A file that was reserved takes every store when nothing else has room. Begins and ends within a
 * block. */
static void stores(void) {
    int fd = new_file("stores", 0);
    uint64_t from = 3 * PAGE + 5, len = PAGES * PAGE - 100;
    int promise = reserved(fd, from, len);
    struct stat file;
    CHECK(promise >= 0 && fstat(fd, &file) == 0 && (uint64_t)file.st_size == from + len);
    fill_disk();
    touch(fd, from, from + len);
    if (promise != 1) store(fd, from, from + len);
    holds(fd, 0, from, true);
    SAY("promise %d\n", promise);
}

/* Holes in the middle get their blocks, data stays. */
static void holes(void) {
    int fd = new_file("holes", 0);
    CHECK(ftruncate(fd, PAGES * PAGE) == 0);
    for (uint64_t page = 0; page < PAGES; page += 4)
        fill(fd, page * PAGE + 7, (page + 1) * PAGE - 9);
    int promise = reserved(fd, 0, PAGES * PAGE);
    CHECK(promise >= 0);
    for (uint64_t page = 0; page < PAGES; page += 4) {
        holds(fd, page * PAGE + 7, (page + 1) * PAGE - 9, false);
        holds(fd, (page + 1) * PAGE, (page + 4) * PAGE, true);
    }
    CHECK(fsync(fd) == 0);
    fill_disk();
    for (uint64_t page = 1; page < PAGES; page += 4) {
        touch(fd, page * PAGE, (page + 3) * PAGE);
        if (promise != 1) store(fd, page * PAGE, (page + 3) * PAGE);
    }
    struct stat file;
    CHECK(fstat(fd, &file) == 0 && file.st_size == PAGES * PAGE);
}

/* More than there is: an error, and a file as it was, with its holes and what was reserved before.
 * Then that is used. */
static void refused(void) {
    int fd = new_file("refused", 0);
    new_file("ballast", 0); /* btrfs has no room for a new name after a refusal, all room being for
                               data then */
    fill(fd, 0, 10 * PAGE + 33);
    CHECK(ftruncate(fd, 10 * MIB + 11) == 0);
    fill(fd, 9 * MIB, 9 * MIB + PAGE);
    int promise = reserved(fd, 5 * MIB, 2 * PAGE);
    CHECK(promise >= 0);
    CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 16 * MIB, PAGE) == 0 || errno == EOPNOTSUPP);
    CHECK(fsync(fd) == 0);
    usleep(20000); /* the next tick of the file system's clock */
    struct look before = look(fd);
    for (int again = 0; again < 3; again++) {
        int status = reserved(fd, again * 3 * MIB, larger_than_the_disk());
#ifndef BARE
        if (status != -ENOSPC) fprintf(stderr, "%s\n", strerror(-status));
        CHECK(status == -ENOSPC);
        struct look after = look(fd);
        after.status.st_mtim = before.status.st_mtim; /* moves with the attempt */
        same(&before, &after);
#else
        CHECK(status == 0 && before.extents < 9);
        store(fd, 0, larger_than_the_disk());
#endif
    }
    fill_disk();
    touch(fd, 5 * MIB, 5 * MIB + 2 * PAGE);
}

/* Holes beside the range, and in one folio of the page cache with it: reading has made large
 * ones. */
static void neighbours(void) {
    int fd = new_file("neighbours", 0);
    CHECK(ftruncate(fd, 3 * MIB + 5) == 0);
    look(fd);
    CHECK(reserved(fd, MIB + 20 * PAGE, 2 * PAGE) >= 0);
    CHECK(fsync(fd) == 0);
    look(fd);
    fill_disk();
    touch(fd, MIB + 20 * PAGE, MIB + 22 * PAGE);
}

/* What the promise says about writing over what was written. */
static void overwrite(void) {
    int fd = new_file("overwrite", 0), status;
    int promise = reserved(fd, 0, PAGES * PAGE);
    CHECK(promise >= 0);
    touch(fd, 0, PAGES * PAGE);
    CHECK(fsync(fd) == 0);
    fill_disk();
    pid_t child = fork();
    if (child == 0) {
        for (int again = 0; again < 3; again++) store(fd, 0, PAGES * PAGE);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    SAY("promise %d %s\n", promise,
        WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS ? "died"
        : status == 0                                     ? "lived"
                                                          : "?");
}

/* RLIMIT_FSIZE. */
static void size_limit(void) {
    struct rlimit limit = {10 * PAGE, RLIM_INFINITY};
    sigset_t pending;
    int fd = new_file("limited", 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(reserved(fd, 0, 10 * PAGE) >= 0);
    struct look before = look(fd);
    CHECK(sigward_reserve(fd, 9 * PAGE, PAGE + 1) == -EFBIG); /* bare dies of SIGXFSZ */
    CHECK(sigward_reserve_slowly(fd, 0, 1 << 30) == -EFBIG);
    struct look after = look(fd);
    same(&before, &after);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
    /* A file that is longer already: the limit is for growth. */
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0 && ftruncate(fd, 20 * PAGE) == 0);
    limit.rlim_cur = PAGE;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    int status = reserved(fd, 12 * PAGE, PAGE);
    CHECK(status >= 0 || status == -EFBIG); /* tmpfs looks at the limit for blocks within the file,
                                               too */
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
}

static int interruptions;
static void tick(int signal) { interruptions += signal == SIGALRM; }

/* A timer, as a profiler's: on older kernels tmpfs gives up at every signal. */
static void signals(void) {
    struct sigaction action = {.sa_handler = tick};
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    uint64_t len = 96 << 20;
    int fd = memfd_create("signals", 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
#ifdef BARE
    int status = fallocate(fd, 0, 0, (off_t)len) == 0 ? 0 : -errno;
#else
    int status = sigward_reserve(fd, 0, len);
#endif
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    SAY("%s\n", status == 0 ? "reserved" : strerror(-status));
}

#ifndef BARE
static void refuses(int expected, int fd, uint64_t offset, uint64_t len) {
    int status = sigward_reserve(fd, offset, len), slow = sigward_reserve_slowly(fd, offset, len);
    if (status != -expected || slow != -expected)
        fprintf(stderr, "expected %d: %d, slowly %d\n", expected, -status, -slow);
    CHECK(status == -expected && slow == -expected);
}

static void bad(void) {
    int fd = new_file("bad", 0), ends[2], memory = memfd_create("sealed", MFD_ALLOW_SEALING);
    fill(fd, 0, 100);
    usleep(20000);
    struct look before = look(fd);
    refuses(EINVAL, fd, 0, 0);
    refuses(EOVERFLOW, fd, UINT64_MAX, 1);
    refuses(EOVERFLOW, fd, 1, UINT64_MAX);
    refuses(EOVERFLOW, fd, INT64_MAX, 1);
    refuses(EBADF, -1, 0, 1);
    refuses(EBADF, 9999, 0, 1);
    refuses(EBADF, open(path_of("bad"), O_RDONLY), 0, 1);
    refuses(EBADF, open(path_of("bad"), O_PATH), 0, 1);
    refuses(EISDIR, open(arguments[0], O_RDONLY), 0, 1);
    CHECK(pipe(ends) == 0);
    refuses(ESPIPE, ends[1], 0, 1);
    refuses(ENODEV, socket(AF_UNIX, SOCK_STREAM, 0), 0, 1);
    refuses(ENODEV, open("/dev/null", O_RDWR), 0, 1);
    CHECK(ftruncate(memory, PAGE) == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_GROW) == 0);
    refuses(EPERM, memory, 0, PAGE + 1);
    CHECK(sigward_reserve(memory, 0, PAGE) == 0);
    struct look after = look(fd);
    same(&before, &after);
    CHECK(strlen(sigward_strerror(-EOPNOTSUPP)) > 20);
}

/* Descriptors that append or only write. */
static void appending(void) {
    for (int flags = O_WRONLY; flags <= O_RDWR; flags++) {
        int fd = open(path_of("append"), flags | O_APPEND | O_CREAT | O_TRUNC, 0644);
        int plain = open(path_of("append"), O_RDWR);
        CHECK(ftruncate(fd, 20 * PAGE) == 0);
        fill(plain, 5 * PAGE, 6 * PAGE);
        CHECK(reserved(fd, 0, 30 * PAGE) >= 0);
        struct stat file;
        CHECK(fstat(fd, &file) == 0 && file.st_size == 30 * PAGE &&
              file.st_blocks * 512 >= 30 * (off_t)PAGE);
        holds(plain, 0, 5 * PAGE, true);
        holds(plain, 5 * PAGE, 6 * PAGE, false);
        holds(plain, 6 * PAGE, 30 * PAGE, true);
        CHECK(write(fd, "x", 1) == 1 && fstat(fd, &file) == 0 && file.st_size == 30 * PAGE + 1);
    }
}

/* Blocks shared with another file are room that somebody else counts on. */
static void shared(void) {
    int fd = new_file("shared", 0), other = new_file("other", 0);
    fill(fd, 0, PAGES * PAGE);
    CHECK(fsync(fd) == 0);
    if (ioctl(other, FICLONE, fd) != 0) {
        SAY("no clones\n");
        return;
    }
    int promise = sigward_reserve(other, 0, PAGES * PAGE);
    fill_disk();
    if (promise == 0) store(other, 0, PAGES * PAGE);
    holds(fd, 0, PAGES * PAGE, false);
    SAY("promise %d\n", promise);
}

/* The folder has a quota of 4 MiB. */
static void quota(void) {
    int fd = new_file("quota", 0);
    fill(fd, 0, PAGE);
    CHECK(fsync(fd) == 0);
    usleep(20000);
    struct look before = look(fd);
    CHECK(sigward_reserve(fd, 0, 16 << 20) == -EDQUOT);
    struct look after = look(fd);
    after.status.st_mtim = before.status.st_mtim;
    same(&before, &after);
    CHECK(sigward_reserve(fd, 0, 1 << 20) >= 0);
}
#define WARDED_ONLY , {"bad", bad}, {"appending", appending}, {"shared", shared}, {"quota", quota}
#else
#define WARDED_ONLY
#endif

SCENARIOS({"stores", stores}, {"holes", holes}, {"refused", refused}, {"neighbours", neighbours},
          {"overwrite", overwrite}, {"size_limit", size_limit}, {"signals", signals} WARDED_ONLY)
