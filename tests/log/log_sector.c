/* A log on a disk (device.c) of which some sectors cannot be read any more: those of one record.
 * The first argument is a folder. Bare: the same records one after the other, through a map. */
#include "disk.h"
#include "device.h"
#include "records.h"

/* FOLIO: how many records may be in a large folio of the page cache, of which XFS on Linux 6.12 can
 * read nothing if one sector is bad. */
enum { RECORDS = 2000, HIT = 1000, MOST = 1024, FOLIO = 700 };

/* Of which some sector begins with the mark, wherever it lies. */
static size_t make_hit(unsigned char *to) {
    const uint64_t mark = MARK;
    for (size_t at = 0; at < MOST; at += 8) memcpy(to + at, &mark, 8);
    return MOST;
}

static size_t make_one(unsigned char *to, uint64_t number) {
    return number == HIT ? make_hit(to) : make(to, number);
}

#ifndef BARE
static sigward_log *must_open(const char *path) {
    sigward_log *log;
    if (getenv("SIGWARD_TEST_LOG_MAPPED")) CHECK(sigward_sigbus_guard() == 0);
    CHECK(sigward_log_open(path, NULL, NULL, &log) == 0);
    return log;
}
#endif

static void make_it(void) {
    unsigned char record[MOST];
#ifdef BARE
    int fd = open(path_of("log"), O_WRONLY | O_CREAT, 0600);
    for (uint64_t number = 0; number < RECORDS; number++) {
        ssize_t length = (ssize_t)make_one(record, number);
        CHECK(pwrite(fd, record, (size_t)length, (off_t)number * MOST) == length);
    }
    CHECK(fsync(fd) == 0 && close(fd) == 0);
#else
    sigward_log *log = must_open(path_of("log"));
    for (uint64_t number = 0; number < RECORDS; number++)
        CHECK(sigward_log_append(log, record, make_one(record, number), NULL) == 0);
    CHECK(sigward_log_close(log) == 0);
#endif
}

/* Before it is mounted: that reads more than it needs. */
static void spoil(void) { control_of(arguments[1])->fails = FAIL_READS; }

#ifdef BARE
static void readable(void) {
    struct stat file;
    int fd = open(path_of("log"), O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &file) == 0);
    const volatile unsigned char *map =
        mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    for (off_t at = 0; at < file.st_size; at++) (void)map[at]; /* dies here */
}
#else
/* How many records a reader gets, in their order, and what ends that. */
static uint64_t count(const char *path, uint64_t missing, int *status) {
    sigward_log_reader *reader;
    unsigned char room[MOST];
    uint64_t number = 0, got = 0, position = 0;
    ssize_t length;
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    while ((length = sigward_log_reader_next(reader, room, sizeof room, &position)) >= 0) {
        if (!is_record(room, (size_t)length, number)) number += missing;
        CHECK(is_record(room, (size_t)length, number));
        number++, got++;
    }
    *status = (int)length;
    CHECK(sigward_log_reader_next(reader, room, sizeof room, NULL) == length);
    CHECK(sigward_log_reader_close(reader) == 0);
    return got;
}

static void readable(void) {
    char saved[PATH_MAX];
    const char *path = path_of("log");
    snprintf(saved, sizeof saved, "%s", path_of("saved"));
    if (getenv("SIGWARD_TEST_LOG_MAPPED")) CHECK(sigward_sigbus_guard() == 0);
    int status;
    uint64_t before = count(path, 0, &status);
    CHECK(status == -EIO && before <= HIT && before > HIT - FOLIO);
    sigward_log *log;
    CHECK(sigward_log_open(path, NULL, NULL, &log) == -EIO && log == NULL);
    sigward_log_report report, copied;
    CHECK(sigward_log_check(path, &report) == 0 && report.damaged > 0);
    CHECK(report.records < RECORDS && report.records > RECORDS - FOLIO);
    CHECK(sigward_log_salvage(path, saved, &copied) == 0);
    CHECK(memcmp(&report, &copied, sizeof report) == 0);
    /* All that can be read, and nothing else. */
    CHECK(count(saved, RECORDS - report.records, &status) == report.records && status == -EAGAIN);
    /* What follows is not lost either. */
    CHECK(count(path, 0, &status) == before && status == -EIO);
    CHECK(control_of(arguments[1])->failed > 0);
    SAY("%llu of %d\n", (unsigned long long)report.records, RECORDS);
}
#endif

SCENARIOS({"make", make_it}, {"spoil", spoil}, {"read", readable})
