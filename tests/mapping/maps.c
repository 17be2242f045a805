/* What takes bytes away from under a map, and how exactly that is told: each row bare (dies) and
 * warded. */
#include "maps.h"
#include <time.h>

#define LENGTH (16 * PAGE + 123)

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static off_t length_of(const char *path) {
    struct stat file;
    CHECK(stat(path, &file) == 0);
    return file.st_size;
}

/* Everything that can be asked of a map whose bytes from `lost` on are gone; `start` is where it
 * begins in the file. */
static void lost_from(sigward_map *map, uint64_t start, uint64_t lost) {
    size_t len = sigward_map_len(map);
    unsigned char buffer[32];
    WARD_CHECK(poison(map) == lost);
    WARD_CHECK(sigward_map_read_at(map, lost, buffer, 1) == -EFAULT);
    WARD_CHECK(sigward_map_read_at(map, len - 1, buffer, 1) == -EFAULT);
    WARD_CHECK(sigward_map_read_at(map, len, buffer, 1) == 0);
    WARD_CHECK(sigward_map_read_at(map, UINT64_MAX, buffer, 1) == 0);
    holds(map, start, 0, lost);
    uint64_t near = lost < 10 ? lost : 10;
    ssize_t across = sigward_map_read_at(map, lost - near, buffer, near + 10);
    WARD_CHECK(across == (near ? (ssize_t)near : -EFAULT));
    for (uint64_t i = 0; i < near; i++) CHECK(buffer[i] == content(start + lost - near + i));
    WARD_CHECK(sigward_map_populate(map, 0, len) == -EFAULT);
    WARD_CHECK(lost == 0 || sigward_map_populate(map, 0, lost) == 0);
    WARD_CHECK(sigward_map_verify(map) == -EFAULT);
}

static void status_says(const sigward_map *map, uint64_t lost, uint64_t len_now, uint64_t address,
                        bool write) {
    sigward_fault fault = status_of(map);
    WARD_CHECK(fault.cause == SIGWARD_CAUSE_TRUNCATED && fault.error == EFAULT);
    WARD_CHECK(fault.offset == lost && fault.len_now == len_now);
    WARD_CHECK(fault.address == address && fault.write == write);
    WARD_CHECK(fault.tid == (int32_t)syscall(SYS_gettid) && strcmp(fault.thread, "reader") == 0);
}

static void name_thread(void) { CHECK(pthread_setname_np(pthread_self(), "reader") == 0); }

/* ---- cut to every kind of length ---- */

static void cut_to(long len) {
    const char *path = new_file("cut", LENGTH);
    sigward_map *map = open_map(path, NULL);
    sigward_fault nothing;
    name_thread();
    CHECK(sigward_map_len(map) == LENGTH && poison(map) == INTACT && sigward_map_verify(map) == 0);
    CHECK(sigward_map_status(map, &nothing) == 0);
    holds(map, 0, 0, LENGTH);
    sigward_counters before = counters();
    CHECK(before.maps == WARDED);
    CHECK(truncate(path, len) == 0);
    uint64_t from = now_ns();
    CHECK(touch(map, LENGTH - 1) == 0);
    uint64_t address = (uint64_t)(uintptr_t)bytes(map) + LENGTH - 1;
    status_says(map, (uint64_t)len, (uint64_t)len, address, false);
    sigward_fault fault = status_of(map);
    /* Nearly: somebody may set the clock meanwhile. */
    const uint64_t minute = 60ull * 1000000000;
    WARD_CHECK(from <= fault.time_ns + minute && fault.time_ns <= now_ns() + minute);
    lost_from(map, 0, (uint64_t)len);
    /* One signal for all of it, whoever asks how often. */
    for (uint64_t at = (uint64_t)len; at < LENGTH; at += 1000) CHECK(touch(map, at) == 0);
    WARD_CHECK(counters().faults == before.faults + 1 && counters().patches == before.patches + 1);
    WARD_CHECK(length_of(path) == len);
    CHECK(sigward_map_close(map) == 0 && counters().maps == 0);
}

static void lengths(void) {
    static const struct row rows[] = {
        {"the last page", cut_to, 16 * PAGE}, {"between two pages", cut_to, 8 * PAGE},
        {"within a page", cut_to, 8 * PAGE + 100}, {"one byte into a page", cut_to, 8 * PAGE + 1},
        {"one byte before a page", cut_to, 8 * PAGE - 1}, {"one page", cut_to, PAGE},
        {"one byte", cut_to, 1}, {"nothing", cut_to, 0},
    };
    ROWS(rows);
}

/* A read that meets the end first, with no fault before it. */
static void read_first(long len) {
    const char *path = new_file("cut", LENGTH);
    sigward_map *map = open_map(path, NULL);
    static unsigned char copy[LENGTH];
    CHECK(truncate(path, len) == 0);
    CHECK(sigward_map_read_at(map, 0, copy, LENGTH) == (len ? len : -EFAULT));
    for (long i = 0; i < len; i++) CHECK(copy[i] == content((uint64_t)i));
    lost_from(map, 0, (uint64_t)len);
}

static void populate_first(long len) {
    const char *path = new_file("cut", LENGTH);
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, len) == 0);
    WARD_CHECK(sigward_map_populate(map, 0, (uint64_t)len) == 0);
    CHECK(sigward_map_populate(map, 0, LENGTH) == -EFAULT);
    lost_from(map, 0, (uint64_t)len);
}

static void reads(void) {
    static const struct row rows[] = {
        {"read to the end of a page", read_first, 8 * PAGE},
        {"read to within a page", read_first, 8 * PAGE + 7},
        {"read nothing", read_first, 0},
        {"populate", populate_first, 8 * PAGE + 7},
    };
    ROWS(rows);
}

/* ---- other ways to lose bytes ---- */

static void cut_again(long unused) {
    const char *path = new_file("again", LENGTH);
    sigward_map *map = open_map(path, NULL);
    (void)unused;
    name_thread();
    CHECK(truncate(path, 12 * PAGE) == 0 && touch(map, 13 * PAGE) == 0);
    WARD_CHECK(poison(map) == 12 * PAGE);
    CHECK(truncate(path, 4 * PAGE + 7) == 0 && touch(map, 8 * PAGE) == 0);
    status_says(map, 4 * PAGE + 7, 4 * PAGE + 7, (uint64_t)(uintptr_t)bytes(map) + 8 * PAGE, false);
    lost_from(map, 0, 4 * PAGE + 7);
    WARD_CHECK(counters().faults == 2);
}

/* What a patch covers stays lost, though the file has bytes there again; refresh maps them. */
static void regrown_after(long unused) {
    const char *path = new_file("regrown", LENGTH);
    sigward_map *map = open_map(path, NULL);
    (void)unused;
    CHECK(truncate(path, 8 * PAGE) == 0 && touch(map, 9 * PAGE) == 0);
    int fd = open(path, O_RDWR);
    fill(fd, 0, LENGTH + 2 * PAGE);
    lost_from(map, 0, 8 * PAGE);
    WARD_CHECK(sigward_map_refresh(map) == 0);
    WARD_CHECK(poison(map) == INTACT && sigward_map_verify(map) == 0);
    sigward_fault fault;
    CHECK(sigward_map_status(map, &fault) == 0);
    WARD_CHECK(sigward_map_len(map) == LENGTH + 2 * PAGE);
    holds(map, 0, 0, sigward_map_len(map));
    /* And the fresh map is as well guarded. */
    CHECK(ftruncate(fd, PAGE) == 0 && touch(map, 2 * PAGE) == 0);
    lost_from(map, 0, PAGE);
}

/* cp writes into the file that is there: open(O_TRUNC), then the new bytes. */
static void copied_over(long unused) {
    const char *path = new_file("target", LENGTH), *other = new_file("source", 5 * PAGE + 17);
    char command[3 * PATH_MAX];
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    snprintf(command, sizeof command, "cp '%s' '%s'", other, path);
    CHECK(system(command) == 0);
    CHECK(touch(map, LENGTH - 1) == 0);
    lost_from(map, 0, 5 * PAGE + 17);
}

static void *reopen(void *path) {
    int fd = open(path, O_WRONLY | O_TRUNC);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
    return NULL;
}

static void reopened(long unused) {
    char *path = (char *)new_file("reopened", LENGTH);
    sigward_map *map = open_map(path, NULL);
    pthread_t thread;
    unsigned char byte;
    (void)unused;
    CHECK(pthread_create(&thread, NULL, reopen, path) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(touch(map, PAGE) == 0);
    WARD_CHECK(poison(map) == 1 && status_of(map).len_now == 1);
    WARD_CHECK(sigward_map_read_at(map, 0, &byte, 1) == 1 && byte == 'x');
}

/* Without a name, and another file under the old one: the map's own file counts. */
static void renamed_over(long unused) {
    const char *path = new_file("old", LENGTH), *other = new_file("new", LENGTH);
    int fd = open(path, O_RDWR);
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    CHECK(rename(other, path) == 0);
    WARD_CHECK(sigward_map_verify(map) == -ESTALE);
    CHECK(ftruncate(fd, 2 * PAGE + 5) == 0 && touch(map, 3 * PAGE) == 0);
    lost_from(map, 0, 2 * PAGE + 5);
    WARD_CHECK(status_of(map).len_now == 2 * PAGE + 5 && length_of(path) == LENGTH);
    WARD_CHECK(sigward_map_refresh(map) == 0 && sigward_map_verify(map) == 0);
    holds(map, 0, 0, LENGTH);
}

static void memory_file(long unused) {
    int fd = memfd_create("maps", 0);
    sigward_map *map = NULL;
    (void)unused;
    fill(fd, 0, LENGTH);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0);
    CHECK(ftruncate(fd, 3 * PAGE + 1) == 0);
    close(fd); /* the map keeps its own */
    CHECK(touch(map, LENGTH - 1) == 0);
    lost_from(map, 0, 3 * PAGE + 1);
    WARD_CHECK(status_of(map).len_now == 3 * PAGE + 1);
}

/* Nothing is known of the file: the byte that faulted tells no more than its page. */
static void no_descriptor(long unused) {
    const char *path = new_file("closed", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, OPTIONS(.no_descriptor = 1));
    CHECK(truncate(path, 8 * PAGE) == 0 && touch(map, 9 * PAGE + 50) == 0);
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_UNKNOWN && status_of(map).error == EFAULT);
    WARD_CHECK(poison(map) == 9 * PAGE);
    CHECK(touch(map, 8 * PAGE + 50) == 0);
    WARD_CHECK(poison(map) == 8 * PAGE);
    holds(map, 0, 0, 8 * PAGE);
}

static void part(long offset) {
    const char *path = new_file("part", LENGTH);
    uint64_t start = (uint64_t)offset;
    sigward_map *map = open_map(path, OPTIONS(.offset = start));
    CHECK(sigward_map_len(map) == LENGTH - start);
    holds(map, start, 0, LENGTH - start);
    CHECK(truncate(path, 9 * PAGE + 33) == 0 && touch(map, LENGTH - start - 1) == 0);
    lost_from(map, start, 9 * PAGE + 33 - start);
    WARD_CHECK(status_of(map).len_now == 9 * PAGE + 33);
}

static void part_with_length(long offset) {
    const char *path = new_file("part", LENGTH);
    uint64_t start = (uint64_t)offset;
    sigward_map *map = open_map(path, OPTIONS(.offset = start, .len = 5 * PAGE + 1));
    CHECK(sigward_map_len(map) == 5 * PAGE + 1);
    /* A cut beyond its end is none of its business. */
    CHECK(truncate(path, offset + 6 * PAGE) == 0);
    holds(map, start, 0, 5 * PAGE + 1);
    CHECK(poison(map) == INTACT);
    /* One below its start leaves it nothing. */
    CHECK(truncate(path, PAGE) == 0 && touch(map, 0) == 0);
    lost_from(map, start, 0);
    WARD_CHECK(status_of(map).len_now == PAGE);
}

static void copied_pages(long unused) {
    const char *path = new_file("private", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, OPTIONS(.writable = 1, .copy_on_write = 1));
    bytes(map)[2 * PAGE + 5] = 77;
    bytes(map)[10 * PAGE + 5] = 88;
    CHECK(truncate(path, 4 * PAGE + 9) == 0);
    CHECK(touch(map, 10 * PAGE + 5) == 0); /* lost though it had been copied */
    WARD_CHECK(poison(map) == 4 * PAGE + 9);
    CHECK(bytes(map)[2 * PAGE + 5] == 77);
    int fd = open(path, O_RDONLY);
    unsigned char byte;
    CHECK(pread(fd, &byte, 1, 2 * PAGE + 5) == 1 && byte == content(2 * PAGE + 5));
    WARD_CHECK(sigward_map_flush(map) == -EFAULT);
}

/* A lost byte takes what is written, for nothing: flush says so, as often as it is asked. */
static void written(long unused) {
    const char *path = new_file("written", LENGTH);
    (void)unused;
    name_thread();
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    bytes(map)[3] = 99;
    CHECK(sigward_map_flush(map) == 0);
    CHECK(truncate(path, 8 * PAGE) == 0);
    bytes(map)[10 * PAGE + 5] = 88;
    status_says(map, 8 * PAGE, 8 * PAGE, (uint64_t)(uintptr_t)bytes(map) + 10 * PAGE + 5, true);
    WARD_CHECK(sigward_map_flush(map) == -EFAULT && sigward_map_flush(map) == -EFAULT);
    WARD_CHECK(length_of(path) == 8 * PAGE);
    /* What lies below still reaches the file. */
    bytes(map)[7 * PAGE] = 98;
    WARD_CHECK(sigward_map_flush(map) == -EFAULT);
    int fd = open(path, O_RDONLY);
    unsigned char byte;
    CHECK(pread(fd, &byte, 1, 3) == 1 && byte == 99 && pread(fd, &byte, 1, 7 * PAGE) == 1);
    CHECK(byte == 98);
}

static void write_at(long unused) {
    const char *path = new_file("written", LENGTH);
    static const unsigned char new[20] = "nineteen characters";
    unsigned char back[20];
    (void)unused;
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    CHECK(sigward_map_write_at(map, 100, new, 20) == 20);
    CHECK(truncate(path, 8 * PAGE) == 0);
    CHECK(sigward_map_write_at(map, 8 * PAGE - 10, new, 20) == 10);
    WARD_CHECK(sigward_map_write_at(map, 8 * PAGE, new, 20) == -EFAULT);
    WARD_CHECK(status_of(map).write == 1 && poison(map) == 8 * PAGE);
    CHECK(sigward_map_write_at(map, 200, new, 20) == 20);
    int fd = open(path, O_RDONLY);
    CHECK(pread(fd, back, 20, 8 * PAGE - 10) == 10 && memcmp(back, new, 10) == 0);
    CHECK(pread(fd, back, 20, 200) == 20 && memcmp(back, new, 20) == 0);
}

static void populated(long unused) {
    const char *path = new_file("populated", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, OPTIONS(.populate = 1));
    CHECK(truncate(path, 8 * PAGE) == 0 && touch(map, 9 * PAGE) == 0);
    lost_from(map, 0, 8 * PAGE);
}

static void ways(void) {
    static const struct row rows[] = {
        {"cut again", cut_again, 0},
        {"regrown after the fault", regrown_after, 0},
        {"cp over it", copied_over, 0},
        {"reopened by a thread", reopened, 0},
        {"replaced, then cut", renamed_over, 0},
        {"memfd", memory_file, 0},
        {"no descriptor", no_descriptor, 0},
        {"from a page on", part, 3 * PAGE},
        {"from a byte on", part, 3 * PAGE + 1000},
        {"part from a page on", part_with_length, 3 * PAGE},
        {"part from a byte on", part_with_length, 3 * PAGE + 1000},
        {"copied pages", copied_pages, 0},
        {"written to", written, 0},
        {"write_at", write_at, 0},
        {"populated", populated, 0},
    };
    ROWS(rows);
}

SCENARIOS({"lengths", lengths}, {"reads", reads}, {"ways", ways})
