/* The append log: on full disks, killed, cut, forked, with others at the same file. The first
 * argument is a folder. Bare: a log as people write it, ftruncate and memcpy into a map. */
#include "disk.h"
#include "records.h"
#include <sys/resource.h>
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>

/* The log's own, whatever the kernel's is. */
#undef PAGE
#define PAGE ((uint64_t)4096)

#ifdef BARE
typedef struct {
    int fd;
    uint64_t at, length;
    unsigned char *map;
} sigward_log;

static sigward_log *naive_open(const char *path) {
    sigward_log *log = calloc(1, sizeof *log);
    log->fd = open(path, O_RDWR | O_CREAT, 0644);
    log->map = mmap(NULL, (size_t)1 << 32, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
    CHECK(log->fd >= 0 && log->map != MAP_FAILED);
    return log;
}

static int sigward_log_append(sigward_log *log, const void *record, size_t length,
                              uint64_t *position) {
    if (log->at + length + 16 > log->length) {
        log->length += 1 << 20;
        if (ftruncate(log->fd, (off_t)log->length) != 0) return -errno;
    }
    memcpy(log->map + log->at + 8, record, length);
    memcpy(log->map + log->at, &length, 8);
    if (position) *position = log->at;
    log->at += 8 + (length + 7) / 8 * 8;
    return 0;
}

static int sigward_log_flush(sigward_log *log, uint64_t *durable) {
    (void)durable;
    return fdatasync(log->fd) == 0 ? 0 : -errno;
}
#define open_log(path, recovery) naive_open(path)
#else
/* In small steps where a disk is filled: on a full btrfs each store into a page takes
 * milliseconds. */
static uint64_t step;

/* Everything is tried twice: with SIGBUS guarded, through a map, and else without one. */
static bool guarded(void) { return getenv("SIGWARD_TEST_LOG_MAPPED") != NULL; }

__attribute__((constructor)) static void guard(void) {
    if (guarded()) CHECK(sigward_sigbus_guard() == 0);
}

static sigward_log *open_log(const char *path, sigward_log_recovery *recovery) {
    sigward_log_options options = {.size = sizeof options, .step = step, .slow_zeros = 1};
    sigward_log_recovery found;
    sigward_log *log;
    int status = sigward_log_open(path, &options, &found, &log);
    if (status != 0) fprintf(stderr, "%s: %s\n", path, sigward_strerror(status));
    CHECK(status == 0 && found.mapped == guarded());
    if (recovery) *recovery = found;
    return log;
}

static void empty_disk(void) { CHECK(truncate(path_of("ballast"), 0) == 0); }

/* How many records there are, each as it must be. */
static uint64_t count(const char *path) {
    sigward_log_reader *reader;
    unsigned char room[512];
    uint64_t number = 0, last = 0, position;
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    for (;;) {
        ssize_t length = sigward_log_reader_next(reader, room, sizeof room, &position);
        if (length == -EAGAIN) break;
        CHECK(length >= 0 && is_record(room, (size_t)length, number) && position > last);
        last = position;
        number++;
    }
    CHECK(sigward_log_reader_close(reader) == 0);
    return number;
}
#endif

static int append(sigward_log *log, uint64_t number) {
    unsigned char record[512];
    return sigward_log_append(log, record, make(record, number), NULL);
}

/* A full disk is an error of one append. */
static void full(void) {
    const char *path = path_of("full");
#ifndef BARE
    step = 32 << 10;
#endif
    sigward_log *log = open_log(path, NULL);
    uint64_t number = 0;
    int status = 0;
    for (; number < 100; number++) CHECK(append(log, number) == 0);
    CHECK(sigward_log_flush(log, NULL) == 0);
    fill_disk();
    /* More than was reserved, whatever that is. */
    while (number < 200000 && (status = append(log, number)) == 0) number++;
    SAY("%s\n", strerror(-status));
#ifndef BARE
    CHECK(status == -ENOSPC && number >= 100);
    for (int again = 0; again < 3; again++) CHECK(append(log, number) == -ENOSPC);
    CHECK(count(path) == number);
    CHECK(sigward_log_flush(log, NULL) == 0);
    empty_disk();
    for (uint64_t end = number + 5000; number < end; number++) CHECK(append(log, number) == 0);
    CHECK(count(path) == number);
    CHECK(sigward_log_close(log) == 0);
    sigward_log_recovery found;
    log = open_log(path, &found);
    CHECK(found.records == number && found.torn == 0);
    CHECK(append(log, number++) == 0 && count(path) == number);
    CHECK(sigward_log_close(log) == 0);
#endif
}

#ifndef BARE
/* Nothing is left when it says that nothing is left: the last step is a page. */
static void last_blocks(void) {
    const char *path = path_of("last");
    sigward_log *log = open_log(path, NULL);
    uint64_t number = 0;
    struct statvfs fs;
    while (append(log, number) == 0) number++;
    CHECK(statvfs(arguments[0], &fs) == 0);
    SAY("%llu left\n", (unsigned long long)fs.f_bavail);
    CHECK(count(path) == number);
    CHECK(sigward_log_close(log) == 0);
}

/* Closing gives back what is reserved; the length stays. */
static void gives_back(void) {
    const char *path = path_of("short");
    struct stat file;
    sigward_log *log = open_log(path, NULL);
    CHECK(append(log, 0) == 0 && stat(path, &file) == 0);
    off_t length = file.st_size, blocks = file.st_blocks;
    CHECK(length >= 1 << 20);
    CHECK(sigward_log_close(log) == 0 && stat(path, &file) == 0 && file.st_size == length);
    bool few = file.st_blocks * 512 <= 8 * PAGE_BYTES;
    SAY("%s\n", file.st_blocks < blocks && few ? "given back" : "kept");
    CHECK(count(path) == 1);
    fill_disk(); /* on what was given back */
    log = open_log(path, NULL);
    int status = 0;
    uint64_t number = 1;
    while (number < 20000 && (status = append(log, number)) == 0) number++;
    CHECK(status == 0 || status == -ENOSPC);
    CHECK(count(path) == number);
    CHECK(sigward_log_close(log) == 0);
}

#endif

/* The file has come here by cp: on btrfs it is copied on write, and what was reserved can be
 * refused at the second write. */
static void copied(void) {
#ifdef BARE
    sigward_log *log = open_log(path_of("bare"), NULL);
#else
    const char *path = path_of("copied");
    step = 32 << 10;
    sigward_log *log = open_log(path_of("new"), NULL);
    for (uint64_t number = 0; number < 5; number++) CHECK(append(log, number) == 0);
    CHECK(sigward_log_close(log) == 0);
    int from = open(path_of("new"), O_RDONLY), to = open(path, O_WRONLY | O_CREAT, 0644);
    unsigned char block[4096];
    ssize_t got;
    while ((got = read(from, block, sizeof block)) > 0) CHECK(write(to, block, (size_t)got) == got);
    CHECK(fsync(to) == 0 && close(to) == 0 && close(from) == 0);
    sigward_log_recovery found;
    log = open_log(path, &found);
    CHECK(found.records == 5 && found.torn == 0);
#endif
    uint64_t number = 5;
    int status = append(log, number++);
    CHECK(status == 0 && sigward_log_flush(log, NULL) == 0);
    fill_disk();
    for (; number < 20000 && status == 0; number++) {
        status = append(log, number);
        if (status == 0 && number % 8 == 0) status = sigward_log_flush(log, NULL);
        if (status != 0) break;
    }
    SAY("%s\n", strerror(-status));
#ifndef BARE
    CHECK(status == -ENOSPC);
    CHECK(sigward_log_close(log) == 0);
    empty_disk();
    log = open_log(path, &found);
    CHECK(found.records == number || found.records == number + 1);
    number = found.records;
    CHECK(append(log, number++) == 0 && sigward_log_flush(log, NULL) == 0);
    CHECK(count(path) == number);
    CHECK(sigward_log_close(log) == 0);
#endif
}

/* Somebody cuts the file under the writer and a reader. */
static void cut(void) {
    const char *path = path_of("cut");
    sigward_log *log = open_log(path, NULL);
    for (uint64_t number = 0; number < 100; number++) CHECK(append(log, number) == 0);
#ifndef BARE
    sigward_log_reader *reader;
    unsigned char room[512];
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == (ssize_t)length_of(0));
#endif
    CHECK(truncate(path, 0) == 0);
    int status = append(log, 100);
#ifndef BARE
    CHECK(status == -EFAULT);
    CHECK(append(log, 100) == -EFAULT && sigward_log_flush(log, NULL) == -EFAULT);
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == -EFAULT);
    CHECK(sigward_log_reader_close(reader) == 0);
    CHECK(sigward_log_close(log) == 0);
    /* To a page's middle, which gives no signal: flush looks. */
    log = open_log(path, NULL);
    for (uint64_t number = 0; number < 100; number++) CHECK(append(log, number) == 0);
    CHECK(truncate(path, 5000) == 0);
    CHECK(sigward_log_flush(log, NULL) == -EFAULT && append(log, 100) == -EFAULT);
    CHECK(sigward_log_close(log) == 0);
    /* To a page's middle, and the next append would make the file longer again. */
    CHECK(truncate(path, 0) == 0);
    log = open_log(path, NULL);
    for (uint64_t number = 0; number < 20; number++) CHECK(append(log, number) == 0);
    CHECK(truncate(path, 4096 + 8) == 0);
    uint64_t number = 20;
    while (number < 100000 && (status = append(log, number)) == 0) number++;
    CHECK(status == -EFAULT);
    CHECK(sigward_log_close(log) == 0);
#endif
    SAY("%s\n", status == 0 ? "?" : "told");
}

/* Again and again somebody cuts it while something is appended. */
static void cut_meanwhile(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of("meanwhile"));
    struct stat file;
    for (int round = 0; round < 60; round++) {
        unlink(path);
        sigward_log *log = open_log(path, NULL);
        CHECK(append(log, 0) == 0 && stat(path, &file) == 0);
        pid_t child = fork();
        if (child == 0) {
            /* To nothing, to somewhere in the middle; and as long again. */
            off_t to = round % 3 * 3000;
            usleep(round % 7 * 200);
            do CHECK(truncate(path, to) == 0);
            while (round % 2 && truncate(path, file.st_size) == 0);
            _exit(0);
        }
        int status = 0;
        for (uint64_t number = 1; status == 0; number++) {
            status = append(log, number % 50);
            /* The file system is small, and the child may have no processor yet. */
            if (number > 5000) usleep(1000);
        }
        CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
#ifndef BARE
        CHECK(status == -EFAULT && append(log, 1) == -EFAULT);
        CHECK(sigward_log_flush(log, NULL) == -EFAULT);
        CHECK(sigward_log_close(log) == 0);
#endif
    }
    SAY("told\n");
}

#ifndef BARE
struct rows {
    struct sigaction row[65];
};

static struct rows rows(void) {
    struct rows all;
    memset(&all, 0, sizeof all);
    for (int signal = 1; signal <= 64; signal++) sigaction(signal, NULL, &all.row[signal]);
    return all;
}

static void as_before(const struct rows *before) {
    for (int signal = 1; signal <= 64; signal++) {
        struct sigaction now;
        if (sigaction(signal, NULL, &now) != 0) continue;
        int restorer = 0x04000000; /* which every sigaction(2) of the C library adds */
        CHECK(now.sa_handler == before->row[signal].sa_handler);
        CHECK((now.sa_flags & ~restorer) == (before->row[signal].sa_flags & ~restorer));
        for (int other = 1; other <= 64; other++) {
            int was = sigismember(&before->row[signal].sa_mask, other);
            CHECK(sigismember(&now.sa_mask, other) == was);
        }
    }
}

static void ends(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    _exit(signal);
}

/* No call of a log's takes a seat. */
static void untouched(void) {
    struct rows before = rows();
    sigward_log *log;
    sigward_log_reader *reader;
    sigward_log_recovery found;
    unsigned char room[512];
    char path[PATH_MAX], saved[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of("untouched"));
    snprintf(saved, sizeof saved, "%s", path_of("saved"));
    CHECK(sigward_log_open(path, NULL, &found, &log) == 0);
    as_before(&before);
    CHECK(append(log, 0) == 0 && append(log, 1) == 0 && sigward_log_flush(log, NULL) == 0);
    as_before(&before);
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    as_before(&before);
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == (ssize_t)length_of(0));
    CHECK(sigward_log_reader_close(reader) == 0 && sigward_log_close(log) == 0);
    CHECK(sigward_log_check(path, NULL) == 0 && sigward_log_salvage(path, saved, NULL) == 0);
    as_before(&before);
    SAY("%s\n", found.mapped ? "mapped" : "plain");
    /* Who guards before chooses the way; a log with a map keeps the seat as long as it lives. */
    if (guarded()) return;
    CHECK(sigward_log_open(path, NULL, &found, &log) == 0 && found.mapped == 0);
    CHECK(sigward_sigbus_guard() == 0 && append(log, 2) == 0 && sigward_sigbus_restore() == 0);
    CHECK(append(log, 3) == 0 && sigward_log_close(log) == 0);
    as_before(&before);
    CHECK(sigward_sigbus_guard() == 0 && sigward_log_open(path, NULL, &found, &log) == 0);
    CHECK(found.mapped == 1);
    CHECK(sigward_sigbus_restore() == -EBUSY && append(log, 4) == 0);
    CHECK(sigward_log_close(log) == 0 && sigward_sigbus_restore() == 0 && count(path) == 5);
    as_before(&before);
    /* Somebody else's handler above ours may not hand a fault on. */
    CHECK(sigward_sigbus_guard() == 0);
    install(SIGBUS, ends, 0);
    CHECK(sigward_log_open(path, NULL, &found, &log) == 0 && found.mapped == 0);
    CHECK(append(log, 5) == 0 && truncate(path, 0) == 0 && append(log, 6) == -EFAULT);
    CHECK(sigward_log_close(log) == 0);
}

/* The limit becomes less than what was reserved: an error of one append, and no signal. */
static void lower_limit(void) {
    const char *path = path_of("limit");
    unsigned char large[3 * PAGE];
    uint64_t position;
    sigward_log *log = open_log(path, NULL);
    memset(large, 5, sizeof large);
    for (uint64_t number = 0; number < 10; number++) CHECK(append(log, number) == 0);
    CHECK(sigward_log_append(log, large, 8, &position) == 0);
    for (rlim_t more = 0; more < 3 * PAGE; more += 1000) {
        struct rlimit limit = {position + 24 + more, RLIM_INFINITY};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        int status = sigward_log_append(log, large, sizeof large, NULL);
        CHECK(status == (guarded() ? 0 : -EFBIG));
        if (guarded()) break;
    }
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
    sigset_t waiting;
    CHECK(sigpending(&waiting) == 0 && !sigismember(&waiting, SIGXFSZ));
    uint64_t records = guarded() ? 12 : 11;
    /* Nothing is left of what was begun. */
    sigward_log_report report;
    CHECK(sigward_log_check(path, &report) == 0 && report.records == records && report.torn == 0);
    CHECK(append(log, 11) == 0 && sigward_log_close(log) == 0);
    sigward_log_recovery found;
    log = open_log(path, &found);
    CHECK(found.records == records + 1 && found.torn == 0 && sigward_log_close(log) == 0);
}
#endif

#ifndef BARE
/* Until somebody kills it; what was acknowledged is counted where the killer sees it. */
static void victim(void) {
    int fd = open(path_of("acknowledged"), O_RDWR);
    _Atomic uint64_t *acknowledged = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && acknowledged != MAP_FAILED);
    sigward_log_recovery found;
    sigward_log *log = open_log(path_of("victim"), &found);
    CHECK(found.records >= acknowledged[0]);
    acknowledged[1] = 1;
    for (uint64_t number = found.records;; number++) {
        CHECK(append(log, number) == 0);
        acknowledged[0] = number + 1;
        if (number % 500 == 0) CHECK(sigward_log_flush(log, NULL) == 0);
        /* Far enough: a killer without a processor must not find the disk full. */
        if (number > found.records + 20000) usleep(1000);
    }
}

/* Reads along until so many records of so many threads have come, in the order of each. */
static void follow(void) {
    uint64_t wanted = strtoull(arguments[1], NULL, 10), seen[16] = {0}, total = 0, idle = 0;
    sigward_log_reader *reader;
    unsigned char room[512];
    int status;
    while ((status = sigward_log_reader_open(path_of("shared"), &reader)) == -ENODATA ||
           status == -ENOENT)
        usleep(1000);
    CHECK(status == 0);
    while (total < wanted) {
        uint64_t number;
        ssize_t length = sigward_log_reader_next(reader, room, sizeof room, NULL);
        if (length == -EAGAIN) {
            CHECK(idle++ < 50000);
            usleep(1000);
            continue;
        }
        if (length < 8) fprintf(stderr, "%zd after %llu\n", length, (unsigned long long)total);
        CHECK(length >= 8);
        memcpy(&number, room, 8);
        CHECK(is_record(room, (size_t)length, number));
        unsigned thread = (unsigned)(number >> 32);
        CHECK(thread < 16 && (uint32_t)number == seen[thread]++);
        total++;
        idle = 0;
    }
    CHECK(sigward_log_reader_close(reader) == 0);
    SAY("%llu\n", (unsigned long long)total);
}

/* Says whether the log can be had. */
static void try_open(void) {
    sigward_log *log;
    SAY("%d\n", -sigward_log_open(path_of(arguments[1]), NULL, NULL, &log));
}

static void forked(void) {
    const char *path = path_of("forked");
    sigward_log *log = open_log(path, NULL), *other;
    int status;
    CHECK(append(log, 0) == 0);
    pid_t child = fork();
    if (child == 0) {
        sigward_log_reader *reader;
        CHECK(append(log, 1) == -EPERM && sigward_log_flush(log, NULL) == -EPERM);
        CHECK(sigward_log_open(path, NULL, NULL, &other) == -EBUSY && other == NULL);
        CHECK(sigward_log_reader_open(path, &reader) == 0 && sigward_log_reader_close(reader) == 0);
        /* A log of its own is its own. */
        sigward_log *own = open_log(path_of("child"), NULL);
        CHECK(append(own, 0) == 0 && append(log, 1) == -EPERM);
        CHECK(sigward_log_close(own) == 0 && sigward_log_close(log) == 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(append(log, 1) == 0 && count(path) == 2);
    CHECK(sigward_log_open(path, NULL, NULL, &other) == -EBUSY); /* the child's close took nothing
                                                                    away */
    CHECK(sigward_log_close(log) == 0);
    log = open_log(path, NULL);
    CHECK(sigward_log_close(log) == 0);
}

/* As the child of a pid namespace, with the id that its parent has in its own. */
static void namespaced(void) {
    int status;
    if (unshare(CLONE_NEWPID) != 0) {
        SAY("none\n");
        return;
    }
    pid_t first = fork();
    if (first == 0) {
        CHECK(getpid() == 1);
        const char *path = path_of("namespaced");
        sigward_log *log = open_log(path, NULL);
        CHECK(append(log, 0) == 0 && unshare(CLONE_NEWPID) == 0);
        pid_t child = fork();
        if (child == 0) {
            CHECK(getpid() == 1 && append(log, 1) == -EPERM);
            sigward_log *own = open_log(path_of("child"), NULL);
            CHECK(append(own, 0) == 0 && append(log, 1) == -EPERM &&
                  sigward_log_flush(log, NULL) == -EPERM);
            CHECK(sigward_log_close(own) == 0 && sigward_log_close(log) == 0);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        sigward_log *other;
        CHECK(sigward_log_open(path, NULL, NULL, &other) == -EBUSY);
        CHECK(append(log, 1) == 0 && count(path) == 2 && sigward_log_close(log) == 0);
        _exit(0);
    }
    CHECK(waitpid(first, &status, 0) == first && status == 0);
    SAY("told\n");
}

/* A record whose bytes another process changes all the time is as whole as any other. */
static void changing(void) {
    const char *path = path_of("changing");
    volatile unsigned char *record =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(record != MAP_FAILED);
    pid_t child = fork();
    if (child == 0)
        for (unsigned long i = 0;; i++) record[i * 61 % PAGE]++;
    sigward_log *log = open_log(path, NULL);
    unsigned char before[PAGE];
    uint64_t appended = 0;
    /* Until it was changed often while it was appended, with others on the processors as well. */
    for (int changed = 0; changed < 300 && appended < 3000; appended++) {
        memcpy(before, (const void *)record, PAGE);
        CHECK(sigward_log_append(log, (const void *)record, PAGE, NULL) == 0);
        if (memcmp(before, (const void *)record, PAGE) != 0) changed++;
        else if (appended % 10 == 0) usleep(1000);
    }
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    CHECK(sigward_log_flush(log, NULL) == 0 && sigward_log_close(log) == 0);
    sigward_log_recovery found;
    log = open_log(path, &found);
    CHECK(found.records == appended && found.torn == 0 && sigward_log_close(log) == 0);
}

/* The file gets shorter and as long again, or loses its name. What is appended then is told, at the
 * latest by flush. */
static void other_file(void) {
    struct stat file;
    char path[PATH_MAX], aside[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of("other"));
    snprintf(aside, sizeof aside, "%s", path_of("aside"));
    for (int kind = 0; kind < 7; kind++) {
        for (int flushed = 0; flushed < 2; flushed++) {
            unlink(path), unlink(aside);
            uint64_t end = 0, position;
            unsigned char large[3 * PAGE] = {1}; /* then zeros: a cut takes a part of the last
                                                    record */
            sigward_log *log = open_log(path, NULL);
            for (uint64_t number = 0; number < 100; number++) CHECK(append(log, number) == 0);
            memset(large, 7, 2 * PAGE);
            CHECK(sigward_log_append(log, large, sizeof large, &end) == 0);
            if (flushed) CHECK(sigward_log_flush(log, NULL) == 0);
            CHECK(stat(path, &file) == 0);
            off_t cut[] = {0, PAGE, 4 * PAGE, (off_t)end + PAGE};
            if (kind < 4)
                CHECK(truncate(path, cut[kind]) == 0 && truncate(path, file.st_size) == 0);
            if (kind == 4) CHECK(unlink(path) == 0);
            if (kind == 5) CHECK(rename(path, aside) == 0);
            if (kind == 6) {
                int other = open(aside, O_WRONLY | O_CREAT, 0644);
                CHECK(other >= 0 && close(other) == 0 && rename(aside, path) == 0);
            }
            int appended = sigward_log_append(log, "x", 1, &position),
                flush = sigward_log_flush(log, NULL);
            if (kind < 4) CHECK(appended == -EFAULT && flush == -EFAULT);
            else
                CHECK(appended == 0 && flush == -ESTALE &&
                      sigward_log_append(log, "x", 1, NULL) == -ESTALE);
            CHECK(sigward_log_close(log) == 0);
            if (kind == 5) { /* nothing was lost */
                sigward_log_recovery found;
                log = open_log(aside, &found);
                CHECK(found.records == 102 && found.durable == found.end && found.torn == 0 &&
                      sigward_log_close(log) == 0);
            }
            if (kind == 6) CHECK(stat(path, &file) == 0 && file.st_size == 0);
        }
    }
    /* A cut of nothing but zeros is none; another folder or root is no other name. */
    unlink(path);
    sigward_log *log = open_log(path, NULL);
    unsigned char zeros[3 * PAGE] = {1};
    uint64_t position;
    CHECK(sigward_log_append(log, zeros, sizeof zeros, &position) == 0 && stat(path, &file) == 0);
    CHECK(truncate(path, (off_t)position + PAGE) == 0 && truncate(path, file.st_size) == 0);
    CHECK(append(log, 0) == 0 && chdir("/") == 0);
    if (geteuid() == 0) CHECK(chroot("/proc") == 0);
    CHECK(sigward_log_flush(log, NULL) == 0 && sigward_log_close(log) == 0);
}

/* Opening takes no file away, whoever has begun it. */
static void begun(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of("begun"));
    struct stat file;
    fill_disk();
    sigward_log_options options = {.size = sizeof options, .slow_zeros = 1};
    sigward_log *log;
    for (int again = 0; again < 3; again++) {
        int status = sigward_log_open(path, &options, NULL, &log);
        if (status == 0) CHECK(sigward_log_close(log) == 0);
        CHECK(status == 0 || status == -ENOSPC || status == -EOPNOTSUPP);
        /* Where there is room for a file at all. */
        int another = open(path_of("another"), O_WRONLY | O_CREAT, 0644);
        if (another >= 0) CHECK(close(another) == 0 && stat(path, &file) == 0);
    }
    empty_disk();
    int status = sigward_log_open(path, &options, NULL, &log);
    if (status == -ENOSPC) return; /* btrfs, where all room went to metadata */
    CHECK(status == 0 && append(log, 0) == 0 && sigward_log_close(log) == 0 && count(path) == 1);
}

/* RLIMIT_FSIZE and RLIMIT_AS. */
static void limits(void) {
    struct rlimit limit = {3 << 20, RLIM_INFINITY};
    const char *path = path_of("limits");
    sigward_log *log = open_log(path, NULL);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    uint64_t number = 0;
    int status;
    while ((status = append(log, number)) == 0) number++;
    CHECK(status == -EFBIG && sigward_log_flush(log, NULL) == 0 && count(path) == number);
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0 && sigward_log_flush(log, NULL) == 0);
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0 && append(log, number) == 0);
    CHECK(sigward_log_close(log) == 0);
    sigward_log_options options = {.size = sizeof options, .capacity = 100000};
    CHECK(sigward_log_open(path_of("small"), &options, NULL, &log) == 0);
    for (number = 0; (status = append(log, number)) == 0; number++) continue;
    CHECK(status == -EFBIG && count(path_of("small")) == number && number > 400);
    CHECK(sigward_log_close(log) == 0);
    /* Where a gigabyte can be had and not more, others get theirs. */
    const size_t theirs = 400ul << 20;
    struct rlimit addresses = {1200ul << 20, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &addresses) == 0);
    log = open_log(path, NULL);
    void *others = mmap(NULL, theirs, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(others != MAP_FAILED && munmap(others, theirs) == 0);
    CHECK(sigward_log_close(log) == 0);
}

/* The disk below the file system fails: a flush says so, and up to where everything is. */
static void failing(void) {
    const char *path = path_of("failing");
    sigward_log *log = open_log(path, NULL);
    uint64_t durable = 0, known, number = 0;
    sigset_t usr1;
    sigemptyset(&usr1), sigaddset(&usr1, SIGUSR1);
    CHECK(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
    for (; number < 500; number++) CHECK(append(log, number) == 0);
    CHECK(sigward_log_flush(log, &durable) == 0);
    SAY("%llu\n", (unsigned long long)number);
    int signal; /* the disk is full now */
    CHECK(sigwait(&usr1, &signal) == 0);
    /* On a slow machine the file system notices the disk by itself, between two appends. */
    int status = 0;
    for (; number < 60000 && (status = append(log, number)) == 0; number++) continue;
    CHECK(status == 0 || status == -EIO || status == -ENOSPC);
    keep(path, sigward_log_end(log));
    status = sigward_log_flush(log, &known);
    CHECK(status == -EIO || status == -ENOSPC);
    CHECK(known == durable && append(log, number) == status &&
          sigward_log_flush(log, NULL) == status);
    CHECK(sigward_log_close(log) == 0);
    SAY("%llu\n", (unsigned long long)number);
}

static bool drops;

/* The first call between two looks of an opening at the records. What only the page cache knows is
 * dropped in that moment, as when memory is short. */
off64_t lseek64(int fd, off64_t offset, int whence) {
    if (drops) CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    drops = false;
    return syscall(SYS_lseek, fd, offset, whence);
}

/* The disk is sound again, and the log is opened anew: what it says to be durable is. What a file
 * system could not write it may have dropped from memory: a gap, and whole records after it. */
static void healed(void) {
    const char *path = path_of("failing");
    sigward_log_recovery found;
    uint64_t durable;
    drops = strcmp(arguments[1], "dropped") == 0;
    sigward_log_options how = {.size = sizeof how, .slow_zeros = 1, .discard_after_torn = 1};
    sigward_log *log;
    CHECK((errno = -sigward_log_open(path, &how, &found, &log)) == 0 && !drops);
    CHECK(count(path) == found.records && found.records >= 500);
    /* btrfs gives back the room of what has failed a while later. */
    int status = -ENOSPC, fd = open(path, O_RDONLY);
    for (int i = 0; i < 600 && (status = append(log, found.records)) == -ENOSPC; i++) {
        syncfs(fd);
        usleep(100000);
    }
    CHECK(status == 0 && sigward_log_flush(log, &durable) == 0);
    SAY("%llu\n", (unsigned long long)found.records + 1);
    if (strcmp(arguments[1], "killed") == 0) _exit(0);
    CHECK(sigward_log_close(log) == 0);
}

static bool refusing;

/* A disk that takes nothing. */
ssize_t pwrite64(int fd, const void *from, size_t length, off64_t offset) {
    if (!refusing) return syscall(SYS_pwrite64, fd, from, length, offset);
    errno = EIO;
    return -1;
}

/* An append meets the disk's error first: a flush says up to where everything is all the same. */
static void refused(void) {
    sigward_log *log = open_log(path_of("refused"), NULL);
    uint64_t durable = 0, known = 1;
    for (uint64_t number = 0; number < 10; number++) CHECK(append(log, number) == 0);
    CHECK(sigward_log_flush(log, &durable) == 0);
    refusing = true;
    int status = append(log, 10);
    refusing = false;
    if (status == -EIO) CHECK(sigward_log_flush(log, &known) == -EIO && known == durable);
    CHECK(sigward_log_close(log) == 0);
    SAY("%s\n", status == 0 ? "mapped" : "told");
}

static void counted(void) { SAY("%llu\n", (unsigned long long)count(path_of("failing"))); }

static unsigned entries(const char *folder) {
    DIR *list = opendir(folder);
    unsigned number = 0;
    CHECK(list != NULL);
    while (readdir(list) != NULL) number++;
    closedir(list);
    return number;
}

static unsigned lines(const char *path) {
    FILE *file = fopen(path, "r");
    unsigned number = 0;
    for (int c; (c = fgetc(file)) != EOF;) number += c == '\n';
    fclose(file);
    return number;
}

static void refuses(int expected, const char *path, const sigward_log_options *options) {
    sigward_log *log = (void *)1;
    sigward_log_recovery found;
    int status = sigward_log_open(path, options, &found, &log);
    if (status != -expected) fprintf(stderr, "%s: %s\n", path ? path : "NULL", strerror(-status));
    CHECK(status == -expected && log == NULL && found.records == 0);
}

static void reader_refuses(int expected, const char *path) {
    sigward_log_reader *reader = (void *)1;
    int status = sigward_log_reader_open(path, &reader);
    if (status != -expected)
        fprintf(stderr, "reader %s: %s\n", path ? path : "NULL", strerror(-status));
    CHECK(status == -expected && reader == NULL);
}

static void bad_once(void) {
    sigward_log_options options = {.size = sizeof options};
    sigward_log *log;
    sigward_log_reader *reader;
    unsigned char room[16];
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", path_of("bad"));
    refuses(EINVAL, NULL, NULL);
    options.size--;
    refuses(EINVAL, path, &options);
    options = (sigward_log_options){.size = sizeof options, .slow_zeros = 2};
    refuses(EINVAL, path, &options);
    options = (sigward_log_options){.size = sizeof options, .capacity = UINT64_MAX};
    refuses(EOVERFLOW, path, &options);
    CHECK(access(path, F_OK) != 0); /* nothing was left behind */
    refuses(ENOENT, path_of("no/such"), NULL);
    refuses(EISDIR, arguments[0], NULL);
    refuses(ENODEV, "/dev/null", NULL);
    CHECK(mkfifo(path_of("fifo"), 0600) == 0 || errno == EEXIST);
    refuses(ENODEV, path_of("fifo"), NULL);
    reader_refuses(EINVAL, NULL);
    reader_refuses(ENOENT, path_of("no/such"));
    reader_refuses(EISDIR, arguments[0]);
    reader_refuses(ENODEV, "/dev/null");
    reader_refuses(ENODEV, path_of("fifo"));
    CHECK(sigward_log_check(NULL, NULL) == -EINVAL &&
          sigward_log_check(path_of("no/such"), NULL) == -ENOENT);
    CHECK(sigward_log_salvage(path_of("no/such"), path, NULL) == -ENOENT &&
          access(path, F_OK) != 0);
    CHECK(sigward_log_salvage(path, NULL, NULL) == -EINVAL &&
          sigward_log_salvage(NULL, path, NULL) == -EINVAL);
    /* Somebody else's file stays as it is. */
    int fd = open(path_of("foreign"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    fill(fd, 0, 3 * PAGE);
    struct look before = look(fd);
    refuses(EILSEQ, path_of("foreign"), NULL);
    reader_refuses(EILSEQ, path_of("foreign"));
    sigward_log_report report;
    CHECK(sigward_log_check(path_of("foreign"), &report) == -EILSEQ &&
          report.size == sizeof report && report.records == 0);
    CHECK(sigward_log_salvage(path_of("foreign"), path, NULL) == -EILSEQ &&
          access(path, F_OK) != 0);
    struct look after = look(fd);
    same(&before, &after);
    /* Zeros, and something after them. */
    CHECK(ftruncate(fd, 0) == 0 && ftruncate(fd, 5 * PAGE) == 0 &&
          pwrite(fd, "x", 1, 4 * PAGE) == 1);
    refuses(EILSEQ, path_of("foreign"), NULL);
    CHECK(ftruncate(fd, 0) == 0);
    reader_refuses(ENODATA, path_of("foreign"));
    /* Zeros alone, also too few of them: a beginning that ran out of room. */
    CHECK(ftruncate(fd, 100) == 0);
    sigward_log_close(open_log(path_of("foreign"), NULL));
    CHECK(lseek(fd, 0, SEEK_END) == 2 * (off_t)PAGE);
    close(fd);
    CHECK(sigward_log_open(path, NULL, NULL, NULL) == -EINVAL);
    CHECK(sigward_log_reader_open(path, NULL) == -EINVAL);
    CHECK(sigward_log_append(NULL, "x", 1, NULL) == -EINVAL &&
          sigward_log_flush(NULL, NULL) == -EINVAL);
    CHECK(sigward_log_close(NULL) == 0 && sigward_log_reader_close(NULL) == 0);
    CHECK(sigward_log_reader_next(NULL, room, 1, NULL) == -EINVAL &&
          sigward_log_reader_seek(NULL, 4096) == -EINVAL);
    log = open_log(path, NULL);
    uint64_t position = 0, at = 0;
    CHECK(sigward_log_append(log, NULL, 1, NULL) == -EINVAL);
    CHECK(sigward_log_append(log, room, (size_t)1 << 30, NULL) == -EMSGSIZE);
    CHECK(sigward_log_append(log, room, SIZE_MAX, NULL) == -EMSGSIZE);
    CHECK(sigward_log_append(log, NULL, 0, NULL) == 0);
    CHECK(sigward_log_append(log, "long enough", 11, &position) == 0 && position >= 4096 + 8);
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    CHECK(sigward_log_reader_next(reader, NULL, 1, NULL) == -EINVAL);
    CHECK(sigward_log_reader_next(reader, NULL, 0, NULL) == 0);
    CHECK(sigward_log_reader_seek(reader, 8) == -EINVAL &&
          sigward_log_reader_seek(reader, 4097) == -EINVAL);
    CHECK(sigward_log_reader_seek(reader, position + 8) == 0); /* within a record */
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == -EAGAIN);
    CHECK(sigward_log_reader_seek(reader, (uint64_t)1 << 50) == 0);
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == -EAGAIN);
    CHECK(sigward_log_reader_seek(reader, position) == 0);
    CHECK(sigward_log_reader_next(reader, room, 10, &at) == 11 && at == 0); /* too small: left */
    CHECK(sigward_log_reader_next(reader, room, sizeof room, &at) == 11 && at == position &&
          memcmp(room, "long enough", 11) == 0);
    CHECK(sigward_log_reader_next(reader, room, sizeof room, &at) == -EAGAIN);
    uint64_t durable = 0;
    CHECK(sigward_log_reader_durable(reader, NULL) == -EINVAL &&
          sigward_log_reader_durable(NULL, &durable) == -EINVAL);
    CHECK(sigward_log_reader_position(reader) == sigward_log_end(log) &&
          sigward_log_end(NULL) == 0);
    CHECK(sigward_log_flush(log, &at) == 0 && sigward_log_reader_durable(reader, &durable) == 0 &&
          durable == at);
    CHECK(sigward_log_reader_close(reader) == 0 && sigward_log_close(log) == 0);
    char saved[PATH_MAX];
    snprintf(saved, sizeof saved, "%s", path_of("saved"));
    CHECK(sigward_log_salvage(path, saved, &report) == 0 && report.records == 2 &&
          report.damaged == 0 && report.headers == 2);
    CHECK(report.durable == durable && report.end == durable &&
          sigward_log_check(saved, &report) == 0 && report.records == 2);
    CHECK(sigward_log_salvage(path, saved, NULL) == -EEXIST && unlink(saved) == 0);
    CHECK(unlink(path) == 0);
    /* No permission, as somebody who is not root. */
    if (geteuid() != 0) return;
    log = open_log(path, NULL);
    CHECK(sigward_log_close(log) == 0 && chmod(path, 0) == 0);
    CHECK(seteuid(65534) == 0);
    refuses(EACCES, path, NULL);
    reader_refuses(EACCES, path);
    CHECK(seteuid(0) == 0 && unlink(path) == 0);
}

/* And nothing leaks. */
static void bad(void) {
    for (int warm = 0; warm < 2; warm++) bad_once();
    unsigned descriptors = entries("/proc/self/fd"), maps = lines("/proc/self/maps"),
             files = entries(arguments[0]);
    for (int again = 0; again < 20; again++) bad_once();
    CHECK(entries("/proc/self/fd") == descriptors && entries(arguments[0]) == files);
    CHECK(lines("/proc/self/maps") <= maps + 2);
}

/* A folder that its user may write to and not read. */
static void unreadable(void) {
    char path[PATH_MAX];
    sigward_log *log;
    const char *folder = path_of("unreadable");
    CHECK(chmod(arguments[0], 0711) == 0 && mkdir(folder, 0700) == 0);
    CHECK(geteuid() != 0 || chown(folder, 65534, 65534) == 0);
    CHECK(chmod(folder, 0300) == 0 && (geteuid() != 0 || setuid(65534) == 0));
    CHECK(open(folder, O_RDONLY) == -1 && errno == EACCES);
    snprintf(path, sizeof path, "%s/log", folder);
    CHECK(sigward_log_open(path, NULL, NULL, &log) == 0);
    CHECK(sigward_log_append(log, "record", 6, NULL) == 0 && sigward_log_flush(log, NULL) == 0);
    CHECK(sigward_log_close(log) == 0);
}

/* What the kernel finds by a path no text names: the working folder lies outside the root. */
static void unreachable(void) {
    sigward_log *log;
    const char *jail = path_of("jail");
    CHECK(mkdir(jail, 0755) == 0 && chdir(arguments[0]) == 0);
    if (chroot(jail) != 0) {
        CHECK(errno == EPERM);
        SAY("none\n");
        return;
    }
    CHECK(sigward_log_open("outside", NULL, NULL, &log) == 0);
    CHECK(append(log, 0) == 0 && sigward_log_flush(log, NULL) == 0);
    CHECK(rename("outside", "moved") == 0 && sigward_log_flush(log, NULL) == -ESTALE);
    CHECK(sigward_log_close(log) == 0 && count("moved") == 1);
}

/* "What was appended before is whole": a handler jumps out at a fault in the caller's record. */
static sigjmp_buf before_the_fault;

static void jump(int signal) { siglongjmp(before_the_fault, signal); }

static void jumped_out(void) {
    sigward_log *log;
    const char *path = path_of("jumped");
    CHECK(sigward_init(NULL) == 0 && sigward_log_open(path, NULL, NULL, &log) == 0);
    for (uint64_t i = 0; i < 10; i++) CHECK(append(log, i) == 0);
    signal(SIGSEGV, jump);
    unsigned char *half = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(half != MAP_FAILED && mprotect(half, PAGE, PROT_READ) == 0);
    if (sigsetjmp(before_the_fault, 1) == 0) {
        sigward_log_append(log, half, 2 * PAGE, NULL);
        CHECK(0);
    }
    CHECK(count(path) == 10);
}

#define WARDED_ONLY                                                                                \
    , {"last_blocks", last_blocks}, {"gives_back", gives_back}, {"victim", victim},                \
        {"follow", follow}, {"open", try_open}, {"forked", forked}, {"limits", limits},            \
        {"bad", bad}, {"namespaced", namespaced}, {"changing", changing},                          \
        {"other_file", other_file}, {"begun", begun}, {"failing", failing}, {"healed", healed},    \
        {"refused", refused},                                                                      \
        {"counted", counted}, {"untouched", untouched}, {"lower_limit", lower_limit},              \
        {"unreadable", unreadable}, {"unreachable", unreachable},            \
        {"jumped_out", jumped_out}
#else
#define WARDED_ONLY
#endif

SCENARIOS({"full", full}, {"copied", copied}, {"cut", cut},
          {"cut_meanwhile", cut_meanwhile} WARDED_ONLY)
