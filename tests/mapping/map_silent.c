/* Changes of a mapped file that raise no signal: bare and warded both live, and only verify can
 * tell. */
#include "maps.h"

#define LENGTH (16 * PAGE + 123)

/* Some file systems, and all before Linux 6.13, tell no two times apart that lie within one tick of
 * the kernel's clock; one of ours has whole seconds only. Waits until this one's clock has gone on:
 * new files tell. */
static void next_tick(void) {
    struct stat first = {0}, now;
    const char *path = path_of("tick");
    do {
        usleep(2000);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        CHECK(fd >= 0 && fstat(fd, &now) == 0 && close(fd) == 0 && unlink(path) == 0);
        if (first.st_ctim.tv_sec == 0) first = now;
    } while (now.st_ctim.tv_sec == first.st_ctim.tv_sec &&
             now.st_ctim.tv_nsec == first.st_ctim.tv_nsec);
}

static void grown(long unused) {
    const char *path = new_file("grown", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, 20 * PAGE) == 0);
    holds(map, 0, 0, LENGTH);
    CHECK(poison(map) == INTACT);
    WARD_CHECK(sigward_map_refresh(map) == 0 && sigward_map_len(map) == 20 * PAGE);
    holds(map, 0, 0, LENGTH);
}

static void cut_in_last_page(long unused) {
    const char *path = new_file("last", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, 16 * PAGE + 50) == 0);
    CHECK(bytes(map)[16 * PAGE + 60] == 0 && poison(map) == INTACT);
    WARD_CHECK(sigward_map_verify(map) < 0);
}

static void regrown_between(long unused) {
    const char *path = new_file("between", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    next_tick();
    CHECK(truncate(path, 8 * PAGE) == 0 && truncate(path, LENGTH) == 0);
    CHECK(bytes(map)[9 * PAGE] == 0 && poison(map) == INTACT);
    WARD_CHECK(sigward_map_verify(map) == -ESTALE);
    WARD_CHECK(sigward_map_refresh(map) == 0 && sigward_map_verify(map) == 0);
}

/* The kernel's own copy stops at the lost page and says so; there is no signal, hence no poison. */
static void system_call(long unused) {
    const char *path = new_file("call", LENGTH);
    int ends[2];
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, 8 * PAGE) == 0 && pipe(ends) == 0);
    CHECK(write(ends[1], (char *)bytes(map) + 9 * PAGE, 10) == -1 && errno == EFAULT);
    CHECK(poison(map) == INTACT);
}

static void replaced(long unused) {
    const char *path = new_file("replaced", LENGTH), *other = new_file("other", 4 * PAGE);
    unsigned char byte = 0;
    int fd = open(other, O_RDWR);
    (void)unused;
    CHECK(pwrite(fd, "!", 1, 0) == 1);
    sigward_map *map = open_map(path, NULL);
    CHECK(rename(other, path) == 0);
    holds(map, 0, 0, LENGTH); /* the old file goes on for those who have it */
    CHECK(poison(map) == INTACT);
    WARD_CHECK(sigward_map_verify(map) == -ESTALE && sigward_map_refresh(map) == 0 &&
               sigward_map_len(map) == 4 * PAGE);
    WARD_CHECK(sigward_map_read_at(map, 0, &byte, 1) == 1 && byte == '!');
    WARD_CHECK(sigward_map_verify(map) == 0);
    /* A refresh that cannot be leaves all as it was. */
    CHECK(unlink(path) == 0);
    WARD_CHECK(sigward_map_refresh(map) == -ENOENT);
    holds(map, 0, 1, 4 * PAGE - 1);
    CHECK(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
    WARD_CHECK(sigward_map_refresh(map) == -ENODATA);
    holds(map, 0, 1, 4 * PAGE - 1);
    CHECK(sigward_map_close(map) == 0);
}

static void written_in_place(long unused) {
    const char *path = new_file("in-place", LENGTH);
    (void)unused;
    sigward_map *map = open_map(path, NULL);
    int fd = open(path, O_RDWR);
    next_tick();
    CHECK(pwrite(fd, "!", 1, 5 * PAGE) == 1);
    CHECK(touch(map, 5 * PAGE) == '!' && poison(map) == INTACT);
    WARD_CHECK(sigward_map_verify(map) == -ESTALE);
}

static void silent(void) {
    static const struct row rows[] = {
        {"grown", grown, 0},
        {"cut within the last page", cut_in_last_page, 0},
        {"regrown before any access", regrown_between, 0},
        {"lost page in a system call", system_call, 0},
        {"replaced", replaced, 0},
        {"written in place", written_in_place, 0},
    };
    ROWS(rows);
}

SCENARIOS({"silent", silent})
