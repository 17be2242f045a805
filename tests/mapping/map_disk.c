/* A mapped file whose file system has no more room for it, and one whose disk has lost it. The
 * first argument is a folder on a small file system of the test's own. */
#include "maps.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/statvfs.h>

static int ballast;

/* Leaves `left` bytes free, more or less; the rest goes to a file named ballast. */
static void leave(uint64_t left) {
    struct statvfs fs;
    static const unsigned char block[64 * 1024];
    ballast = open(path_of("ballast"), O_RDWR | O_CREAT, 0644);
    CHECK(ballast >= 0 && fstatvfs(ballast, &fs) == 0);
    uint64_t room = (uint64_t)fs.f_bavail * fs.f_frsize, next = 0;
    if (room > left && fallocate(ballast, 0, 0, (off_t)(room - left)) == 0) next = room - left;
    if (left > 0) return;
    /* To the last block: file systems keep some back for themselves, and give some of it when asked
     * again. */
    for (int quiet = 0; quiet < 3;) {
        ssize_t done = pwrite(ballast, block, sizeof block, (off_t)next);
        CHECK(done > 0 || errno == ENOSPC);
        quiet = done > 0 ? 0 : quiet + 1;
        next += done > 0 ? (uint64_t)done : 0;
        if (done <= 0) fsync(ballast);
    }
}

static uint64_t larger_than_the_disk(void) {
    struct statvfs fs;
    CHECK(statvfs(arguments[0], &fs) == 0);
    return (uint64_t)fs.f_blocks * fs.f_frsize + (64 << 20);
}

static const char *sparse(uint64_t len) {
    const char *path = path_of("sparse");
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)len) == 0);
    close(fd);
    return path;
}

static void no_space_at(const sigward_map *map, uint64_t offset, bool write) {
    sigward_fault fault = status_of(map);
    WARD_CHECK(fault.cause == SIGWARD_CAUSE_NO_SPACE && fault.error == ENOSPC);
    WARD_CHECK(fault.offset == offset && fault.write == write && poison(map) == offset);
}

/* ---- stores into a hole ---- */

static void store(void) {
    const char *path = sparse(larger_than_the_disk());
    leave(1 << 20);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    uint64_t page = 0;
    while (page * PAGE < sigward_map_len(map)) {
        *(volatile uint64_t *)(bytes(map) + page * PAGE) = page + 1;
        if (poison(map) != INTACT) break;
        page++;
    }
    CHECK(page > 16);
    no_space_at(map, page * PAGE, true);
    WARD_CHECK(sigward_map_flush(map) == -ENOSPC && sigward_map_flush(map) == -ENOSPC);
    /* Everything before is safe. */
    int fd = open(path, O_RDONLY);
    for (uint64_t i = 0, value; i < page; i++)
        CHECK(pread(fd, &value, sizeof value, (off_t)(i * PAGE)) == sizeof value && value == i + 1);
    holds(map, 0, 0, 0);
    CHECK(sigward_map_close(map) == 0);
}

static void write_at(void) {
    const char *path = sparse(larger_than_the_disk());
    leave(1 << 20);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    enum { STEP = 3 * PAGE + 5 };
    static unsigned char data[STEP], back[STEP];
    for (size_t i = 0; i < STEP; i++) data[i] = content(i);
    uint64_t at = 0;
    ssize_t done;
    while ((done = sigward_map_write_at(map, at, data, STEP)) == STEP) at += STEP;
    if (done > 0) {
        WARD_CHECK(poison(map) == at + (uint64_t)done);
        CHECK(sigward_map_write_at(map, at + (uint64_t)done, data, 1) == -ENOSPC);
    } else CHECK(done == -ENOSPC);
    uint64_t end = at + (done > 0 ? (uint64_t)done : 0);
    no_space_at(map, poison(map), true);
    WARD_CHECK(poison(map) <= end && sigward_map_flush(map) == -ENOSPC);
    int fd = open(path, O_RDONLY);
    for (uint64_t from = 0; from < end; from += STEP) {
        size_t part = end - from < STEP ? (size_t)(end - from) : STEP;
        CHECK(pread(fd, back, part, (off_t)from) == (ssize_t)part && memcmp(back, data, part) == 0);
    }
}

static void populate(void) {
    const char *path = sparse(larger_than_the_disk());
    leave(2 << 20);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    CHECK(sigward_map_populate(map, 0, 32 * PAGE) == 0);
    WARD_CHECK(poison(map) == INTACT);
    CHECK(sigward_map_populate(map, 0, sigward_map_len(map)) == -ENOSPC);
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_NO_SPACE &&
               poison(map) < sigward_map_len(map));
    WARD_CHECK(sigward_map_flush(map) == -ENOSPC);
}

/* No signal for the size of files, though the handler asks the file system for a block. */
static void size_limit(void) {
    const char *path = sparse(64 * PAGE);
    leave(0);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){PAGE, PAGE}) == 0);
    for (uint64_t page = 0; page < 64 && poison(map) == INTACT; page++) bytes(map)[page * PAGE] = 1;
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_NO_SPACE);
    WARD_CHECK(status_of(map).error == ENOSPC || status_of(map).error == EFBIG);
}

/* ---- a hole that is only read: a page of memory on tmpfs, none elsewhere ---- */

static void read_hole(void) {
    unsigned char byte;
    const char *path = sparse(64 * PAGE);
    int fd = open(path, O_RDWR);
    fill(fd, 0, PAGE);
    leave(0);
    sigward_map *map = open_map(path, NULL);
    CHECK(touch(map, 0) == content(0));
    CHECK(bytes(map)[9 * PAGE] == 0); /* bare dies here on tmpfs */
    if (WARDED && poison(map) != INTACT) {
        no_space_at(map, 9 * PAGE, false);
        CHECK(sigward_map_read_at(map, 9 * PAGE, &byte, 1) == -EFAULT);
        holds(map, 0, 0, PAGE);
        SAY("no space\n");
    } else SAY("nothing lost\n");
}

/* ---- bytes that are on the disk, overwritten when it is full: copy on write needs room again ----
 */

static void overwrite(void) {
    enum { PAGES = 1024 };
    const char *path = new_file("written", PAGES * PAGE);
    int fd = open(path, O_RDWR);
    CHECK(fsync(fd) == 0);
    leave(0);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    uint64_t page = 0;
    for (; page < PAGES && poison(map) == INTACT; page++) bytes(map)[page * PAGE] = 0;
    if (poison(map) == INTACT) {
        CHECK(sigward_map_flush(map) == 0);
        SAY("nothing lost\n");
        return;
    }
    uint64_t lost = page - 1;
    no_space_at(map, lost * PAGE, true);
    CHECK(sigward_map_flush(map) == -ENOSPC);
    for (uint64_t i = 0; i < PAGES; i++) {
        unsigned char byte;
        CHECK(pread(fd, &byte, 1, (off_t)(i * PAGE)) == 1 &&
              byte == (i < lost ? 0 : content(i * PAGE)));
    }
    SAY("no space\n");
}

/* ---- between the kernel's signal and the handler's first instruction, which only a tracer can
 * stretch ---- */

/* Follows the child to its end; at each SIGBUS `change` is made before the handler sees anything.
 */
static void traced(void (*run)(const char *), const char *path, void (*change)(const char *)) {
    int status, stops = 0;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    pid_t child = fork();
    if (child == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        run(path);
        _exit(0);
    }
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        CHECK(WSTOPSIG(status) == SIGBUS && stops++ < 2);
        change(path);
        CHECK(ptrace(PTRACE_CONT, child, NULL, SIGBUS) == 0);
    }
    SAY("stops %d %s %d\n", stops, WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void make_room(const char *unused) {
    (void)unused;
    CHECK(ftruncate(ballast, 0) == 0 && fsync(ballast) == 0 && syncfs(ballast) == 0);
}

static void nothing_lost(const sigward_map *map) {
    WARD_CHECK(poison(map) == INTACT && counters().faults == 1 && counters().healed == 1 &&
               counters().patches == 0);
}

static void store_in_hole(const char *path) {
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    for (uint64_t page = 0; page < 64; page++)
        *(volatile uint64_t *)(bytes(map) + page * PAGE) = page + 1;
    nothing_lost(map);
    CHECK(sigward_map_flush(map) == 0);
    int fd = open(path, O_RDONLY);
    for (uint64_t i = 0, value; i < 64; i++)
        CHECK(pread(fd, &value, sizeof value, (off_t)(i * PAGE)) == sizeof value && value == i + 1);
}

static void load_from_hole(const char *path) {
    sigward_map *map = open_map(path, NULL);
    CHECK(bytes(map)[0] == content(0) && bytes(map)[9 * PAGE] == 0);
    nothing_lost(map);
}

/* Its own stores have changed the file's times, which are no evidence then. */
static void load_from_written(const char *path) {
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    bytes(map)[1] = 77;
    CHECK(bytes(map)[9 * PAGE] == 0);
    nothing_lost(map);
    CHECK(sigward_map_flush(map) == 0);
}

static const char *full_and_sparse(void) {
    const char *path = sparse(64 * PAGE);
    int fd = open(path, O_RDWR);
    fill(fd, 0, 1);
    close(fd);
    leave(0);
    return path;
}

static void healed(void) { traced(store_in_hole, full_and_sparse(), make_room); }
static void healed_load(void) { traced(load_from_hole, full_and_sparse(), make_room); }
static void healed_written(void) { traced(load_from_written, full_and_sparse(), make_room); }

/* Long enough again, but these are other bytes: that nothing is left of the old ones is all that
 * can be said. */
static void regrow(const char *path) { CHECK(truncate(path, LOST_LENGTH) == 0); }

static void load_cut(const char *path) {
    sigward_map *map = open_map(path, NULL);
    unsigned char byte;
    usleep(20000); /* the next tick of the file system's clock */
    CHECK(truncate(path, PAGE) == 0);
    CHECK(bytes(map)[3 * PAGE] == 0 && poison(map) <= PAGE);
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_TRUNCATED &&
               status_of(map).len_now == LOST_LENGTH);
    WARD_CHECK(sigward_map_read_at(map, 3 * PAGE, &byte, 1) == -EFAULT && counters().patches == 0);
    WARD_CHECK(sigward_map_refresh(map) == 0 && poison(map) == INTACT);
    holds(map, 0, 0, PAGE);
}

static void regrown(void) { traced(load_cut, new_file("regrown", LOST_LENGTH), regrow); }

/* ---- EDQUOT ---- */

static void quota(void) {
    const char *path = sparse(64 << 20);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    uint64_t page = 0;
    for (; page * PAGE < sigward_map_len(map) && poison(map) == INTACT; page++)
        bytes(map)[page * PAGE] = 1;
    sigward_fault fault = status_of(map);
    CHECK(fault.cause == SIGWARD_CAUSE_NO_SPACE && fault.error == EDQUOT &&
          fault.offset == (page - 1) * PAGE);
    CHECK(sigward_map_flush(map) == -EDQUOT);
}

/* The same in a mapping of a library's: a page of its sink, then its death. */
static void quota_adopted(void) {
    const char *path = sparse(64 << 20);
    int fd = open(path, O_RDWR);
    volatile unsigned char *data = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sigward_adopted *adopted = NULL;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    CHECK(data != MAP_FAILED && sigward_adopt_file(path, &adopted) == 0);
    CHECK(sigward_adopted_sink(adopted, PAGE) == 0);
    uint64_t page = 0;
    for (; page * PAGE < 64 << 20 && loss_at(adopted) == INTACT; page++) data[page * PAGE] = 1;
    sigward_fault fault = loss_of(adopted);
    CHECK(fault.cause == SIGWARD_CAUSE_NO_SPACE && fault.error == EDQUOT &&
          fault.offset == (page - 1) * PAGE);
    for (; page * PAGE < 64 << 20; page++) data[page * PAGE] = 1;
}

/* ---- EPERM: somebody has made the file immutable, and a clean page can be written no more ---- */

static void immutable(void) {
    const char *path = new_file("immutable", 4 * PAGE);
    int fd = open(path, O_RDONLY), flags = 0, fixed;
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    CHECK(fsync(fd) == 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0);
    fixed = flags | FS_IMMUTABLE_FL;
    CHECK(ioctl(fd, FS_IOC_SETFLAGS, &fixed) == 0);
    *(volatile unsigned char *)(bytes(map) + PAGE) = 0;
    sigward_fault fault = status_of(map);
    CHECK(ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0);
    CHECK(fault.cause == SIGWARD_CAUSE_IO && fault.error == EPERM && fault.offset == PAGE);
    CHECK(sigward_map_write_at(map, PAGE, "x", 1) == -EPERM && sigward_map_flush(map) == -EPERM);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_write_at(map, PAGE, "x", 1) == 1);
}

/* ---- EIO: one page whose checksum is wrong ---- */

#define IO_PAGE 5
#define IO_LENGTH (64 * PAGE)

static void io_path(char *path) { snprintf(path, PATH_MAX, "%.3000s/io", arguments[0]); }

static void io_make(void) {
    char path[PATH_MAX];
    io_path(path);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    CHECK(fd >= 0);
    fill(fd, 0, IO_LENGTH);
    CHECK(fsync(fd) == 0);
}

/* Finds that page in the image (arguments: folder, image) and changes a byte of it. */
static void io_corrupt(void) {
    unsigned char wanted[PAGE];
    int fd = open(arguments[1], O_RDWR), found = 0;
    struct stat file;
    CHECK(fd >= 0 && fstat(fd, &file) == 0);
    for (size_t i = 0; i < PAGE; i++) wanted[i] = content(IO_PAGE * PAGE + i);
    unsigned char *image =
        mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(image != MAP_FAILED);
    for (off_t at = 0; at < file.st_size; at += PAGE)
        if (memcmp(image + at, wanted, PAGE) == 0) image[at + 17] ^= 1, found++;
    CHECK(found > 0 && msync(image, (size_t)file.st_size, MS_SYNC) == 0);
}

static void io(void) {
    char path[PATH_MAX];
    unsigned char buffer[2 * PAGE];
    io_path(path);
    int fd = open(path, O_RDONLY);
    CHECK(pread(fd, buffer, PAGE, IO_PAGE * PAGE) == -1 && errno == EIO);
    sigward_map *map = open_map(path, NULL);
    CHECK(touch(map, IO_PAGE * PAGE + 9) == 0); /* bare dies */
    sigward_fault fault = status_of(map);
    CHECK(fault.cause == SIGWARD_CAUSE_IO && fault.error == EIO);
    CHECK(poison(map) == IO_PAGE * PAGE && fault.write == 0);
    holds(map, 0, 0, IO_PAGE * PAGE);
    CHECK(sigward_map_read_at(map, (IO_PAGE - 1) * PAGE, buffer, 2 * PAGE) == PAGE);
    CHECK(sigward_map_flush(map) == -EIO);
    CHECK(sigward_map_verify(map) == -EFAULT);
    /* The pages above are still the file's: one page was lost, not the tail. */
    for (uint64_t at = (IO_PAGE + 1) * PAGE; at < IO_LENGTH; at += 1000)
        CHECK(bytes(map)[at] == content(at));
    CHECK(counters().faults == 1 && counters().patches == 1);
}

/* ---- broken memory ---- */

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static void hardware_says(const sigward_map *map) {
    WARD_CHECK(poison(map) == 3 * PAGE);
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_HARDWARE);
    holds(map, 0, 0, 3 * PAGE);
    for (uint64_t at = 4 * PAGE; at < 16 * PAGE; at += 1000) CHECK(bytes(map)[at] == content(at));
}

/* Takes a page of memory out of this machine until its next start, where the kernel can. */
static void hardware(void) {
    sigward_map *map = NULL;
    int fd = memfd_create("poisoned", 0);
    fill(fd, 0, 16 * PAGE);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && touch(map, 3 * PAGE) == content(3 * PAGE));
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 3 * PAGE);
    if (madvise(page, PAGE, MADV_HWPOISON) != 0) {
        SAY("the kernel says %s\n", strerror(errno));
        return;
    }
    touch(map, 3 * PAGE + 9);
    hardware_says(map);
    SAY("poisoned\n");
}

/* The same signal, sent by ourselves: what the kernel's own would carry. */
static void hardware_signal(void) {
    sigward_map *map = NULL;
    int fd = memfd_create("intact", 0);
    siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};
    fill(fd, 0, 16 * PAGE);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && touch(map, 3 * PAGE) == content(3 * PAGE));
    info.si_addr = (char *)bytes(map) + 3 * PAGE + 64;
    info.si_addr_lsb = 12;
    CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGBUS, &info) == 0);
    CHECK(bytes(map)[3 * PAGE + 64] == 0);
    hardware_says(map);
}

SCENARIOS({"store", store}, {"write_at", write_at}, {"populate", populate},
          {"size_limit", size_limit}, {"read_hole", read_hole}, {"overwrite", overwrite},
          {"healed", healed}, {"healed_load", healed_load}, {"healed_written", healed_written},
          {"regrown", regrown}, {"quota", quota}, {"quota_adopted", quota_adopted},
          {"immutable", immutable}, {"io_make", io_make}, {"io_corrupt", io_corrupt}, {"io", io},
          {"hardware", hardware}, {"hardware_signal", hardware_signal})
