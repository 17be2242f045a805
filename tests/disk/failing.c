/* A disk that refuses writes for a while (device.c) and heals. "map", "replace" and "log" work on
 * it and print what they believe to be on the disk; "map_is", "live_is" and "log_is" look at the
 * same disk, mounted anew. Bare: as programs do that ask again after a failure. */
#include "host.h"
#include "device.h"
#include "disk.h"
#include "records.h"
#include <dirent.h>
#include <stdatomic.h>

enum { PAGES = 64 };
static struct control *control;

/* Before anything is written that is to fail: the kernel may write it at any moment. */
static void fail(uint64_t what) {
    __atomic_store_n(&control->failed, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&control->fails, what, __ATOMIC_SEQ_CST);
}
static uint64_t healed(void) {
    __atomic_store_n(&control->fails, 0, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&control->failed, __ATOMIC_SEQ_CST);
}

/* A page begins with the mark, and its generation follows. */
struct page {
    uint64_t mark, generation;
    char rest[4080];
};

static void put(struct page *pages, int from, int to, uint64_t generation) {
    for (int i = from; i < to; i++) {
        memset(pages[i].rest, (int)generation, sizeof pages[i].rest);
        pages[i].generation = generation;
    }
}

static bool is_whole(const struct page *page) {
    for (size_t i = 0; i < sizeof page->rest; i++)
        if (page->rest[i] != (char)page->generation) return false;
    return page->mark == MARK;
}

static int new_file(const char *name) {
    static struct page page = {.mark = MARK};
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    put(&page, 0, 1, 1);
    CHECK(fd >= 0);
    for (int i = 0; i < PAGES; i++)
        CHECK(pwrite(fd, &page, PAGE, i * (off_t)PAGE) == (ssize_t)PAGE);
    CHECK(fsync(fd) == 0 && syncfs(fd) == 0);
    return fd;
}

/* What the map shows after a flush that said so is on the disk: this much of it. */
static void believed(const struct page *pages) {
    for (int i = 0; i < PAGES; i++) SAY("%d ", is_whole(&pages[i]) ? (int)pages[i].generation : -1);
    SAY("\n");
}

#ifdef BARE
static struct page *pages;
static struct page *map_of(int fd) {
    struct page *map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && mlock(map, PAGES * PAGE) == 0); /* what only the page cache knows */
    return map;
}
static void open_map(void) { pages = map_of(open(path_of("mapped"), O_RDWR | O_CLOEXEC)); }
static int flush_of(struct page *map) {
    return msync(map, PAGES * PAGE, MS_SYNC) == 0 ? 0 : -errno;
}
static int flush(void) { return flush_of(pages); }
static int begin_anew(void) { return 0; }
#else
static sigward_map *map;
static struct page *pages;
static void open_map(void) {
    sigward_map_options writable = {.size = sizeof writable, .writable = 1};
    CHECK(sigward_map_open(path_of("mapped"), &writable, &map) == 0);
    pages = (struct page *)sigward_map_data(map);
}
static int flush(void) { return sigward_map_flush(map); }
static int begin_anew(void) {
    CHECK(sigward_map_flush(map) == -EIO); /* as long as nobody has looked what is there */
    int status = sigward_map_refresh(map);
    pages = (struct page *)sigward_map_data(map);
    return status;
}
#endif

#ifdef BARE
/* twice FOLDER CONTROL: of two maps of one descriptor the first is told. */
static void map_twice(void) {
    CHECK((control = control_of(arguments[1])) != NULL);
    int fd = new_file("mapped");
    struct page *first = map_of(fd), *second = map_of(dup(fd));
    fail(FAIL_MARKED);
    put(first, 0, PAGES / 2, 2);
    put(second, PAGES / 2, PAGES, 2);
    CHECK(flush_of(first) == -EIO && healed() > 0);
    while (flush_of(first) != 0) { /* btrfs may say it again a moment later */
    }
    CHECK(flush_of(second) == 0);
    believed(second);
}
#endif

/* map FOLDER CONTROL: a flush fails, the disk heals, some pages are written again. */
static void map_fails(void) {
    CHECK((control = control_of(arguments[1])) != NULL);
    close(new_file("mapped"));
    open_map();
    fail(FAIL_MARKED);
    put(pages, 0, PAGES, 2);
    CHECK(flush() == -EIO);
    CHECK(healed() > 0);
    CHECK(begin_anew() == 0);
    put(pages, PAGES / 2, PAGES, 3);
    CHECK(flush() == 0);
    believed(pages);
}

#ifndef BARE
static atomic_bool told;

/* In place of the C library's: a failure is told late, so that another flush comes in between. */
int msync(void *start, size_t len, int flags) {
    int status = (int)syscall(SYS_msync, start, len, flags), error = errno;
    if (status != 0) {
        told = true;
        usleep(300000);
    }
    errno = error;
    return status;
}

static void *flush_fails(void *none) {
    CHECK(flush() == -EIO);
    return none;
}

/* A new map, and a thread whose flush of it has just failed and was not told so yet. */
static pthread_t fails_elsewhere(void) {
    pthread_t other;
    CHECK((control = control_of(arguments[1])) != NULL);
    close(new_file("mapped"));
    open_map();
    fail(FAIL_MARKED);
    put(pages, 0, PAGES, 2);
    CHECK(pthread_create(&other, NULL, flush_fails, NULL) == 0);
    while (!told) usleep(1000);
    return other;
}

/* Two flushes meet, and the kernel tells one of them: the other one fails as well. */
static void map_beside(void) {
    pthread_t other = fails_elsewhere();
    CHECK(flush() == -EIO);
    CHECK(pthread_join(other, NULL) == 0 && healed() > 0 && begin_anew() == 0);
    put(pages, PAGES / 2, PAGES, 3);
    CHECK(flush() == 0);
    believed(pages);
}

/* The flush that is at work fails; a move waits for it, so that the next one knows. */
static void map_moves(void) {
    pthread_t other = fails_elsewhere();
    CHECK(sigward_map_grow(map, (PAGES + 1) * PAGE) == 0);
    CHECK((struct page *)sigward_map_data(map) != pages && flush() == -EIO);
    CHECK(pthread_join(other, NULL) == 0 && healed() > 0 && begin_anew() == 0);
    put(pages, PAGES / 2, PAGES, 3);
    CHECK(flush() == 0);
    believed(pages);
}

/* Two maps of one descriptor: what the kernel tells of one, the other says as well; at once, after
 * the disk has healed, and if a refresh was told. */
static void map_twice(void) {
    sigward_map *first, *second;
    pthread_t other;
    CHECK((control = control_of(arguments[1])) != NULL);
    int fd = new_file("mapped");
    const sigward_map_options writable = {.size = sizeof writable, .writable = 1};
    CHECK(sigward_map_fd(fd, &writable, &first) == 0);
    CHECK(sigward_map_fd(dup(fd), &writable, &second) == 0);
    struct page *lower = (struct page *)sigward_map_data(first);
    struct page *upper = (struct page *)sigward_map_data(second);
    fail(FAIL_MARKED);
    put(lower, 0, PAGES / 2, 2);
    put(upper, PAGES / 2, PAGES, 2);
    map = first;
    CHECK(pthread_create(&other, NULL, flush_fails, NULL) == 0);
    while (!told) usleep(1000);
    CHECK(sigward_map_flush(second) == -EIO);
    CHECK(pthread_join(other, NULL) == 0 && healed() > 0);
    CHECK(sigward_map_flush(first) == -EIO && sigward_map_flush(second) == -EIO);
    /* Each has the other's pages, too: so long nobody can look at the disk. */
    CHECK(sigward_map_close(second) == 0 && sigward_map_refresh(first) == 0);
    CHECK(sigward_map_fd(fd, &writable, &second) == 0 && sigward_map_flush(second) == 0);
    upper = (struct page *)sigward_map_data(second);
    put(upper, PAGES / 2, PAGES, 3);
    CHECK(sigward_map_flush(second) == 0 && sigward_map_flush(first) == 0);
    /* The second fails, and then the refresh of the first is told of what follows. */
    fail(FAIL_MARKED);
    put(upper, 0, PAGES / 4, 4);
    CHECK(sigward_map_flush(second) == -EIO && sigward_map_flush(first) == -EIO);
    CHECK(sigward_map_close(second) == 0);
    CHECK(sigward_map_fd(fd, &writable, &second) == 0);
    upper = (struct page *)sigward_map_data(second);
    put(upper, PAGES / 4, PAGES / 2, 5);
    CHECK(sigward_map_refresh(first) == -EIO && healed() > 0);
    CHECK(sigward_map_flush(second) == -EIO && sigward_map_close(second) == 0);
    CHECK(sigward_map_refresh(first) == 0 && sigward_map_flush(first) == 0);
    believed((struct page *)sigward_map_data(first));
}

/* As long as another process has the pages, too, nobody can look at the disk: nothing counts. */
static void map_is_shared(void) {
    int ready[2], end[2];
    char byte = 0;
    CHECK((control = control_of(arguments[1])) != NULL && pipe(ready) == 0 && pipe(end) == 0);
    close(new_file("mapped"));
    pid_t other = fork();
    if (other == 0) {
        int fd = open(path_of("mapped"), O_RDONLY);
        const struct page *its = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
        CHECK(its != MAP_FAILED);
        for (int i = 0; i < PAGES; i++) CHECK(is_whole(&its[i]));
        CHECK(write(ready[1], &byte, 1) == 1 && read(end[0], &byte, 1) == 1);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    open_map();
    fail(FAIL_MARKED);
    put(pages, 0, PAGES, 2);
    CHECK(flush() == -EIO && healed() > 0);
    CHECK(begin_anew() == -EIO && flush() == -EIO);
    CHECK(write(end[1], &byte, 1) == 1 && waitpid(other, NULL, 0) == other);
    CHECK(begin_anew() == 0 && flush() == 0);
    believed(pages);
}
#endif

__attribute__((unused)) static unsigned hidden_names(void) {
    unsigned count = 0;
    DIR *folder = opendir(arguments[0]);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        count += strncmp(entry->d_name, ".sigward-", 9) == 0;
    closedir(folder);
    return count;
}

/* New contents of this generation; 0, or why not. */
static int replace(uint64_t generation) {
    static struct page all[PAGES];
    for (int i = 0; i < PAGES; i++) all[i].mark = MARK;
    put(all, 0, PAGES, generation);
#ifdef BARE
    int fd = open(path_of("new"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, all, sizeof all) != sizeof all) return -errno;
    fsync(fd); /* and who looks at what that says? */
    close(fd);
    return rename(path_of("new"), path_of("live")) == 0 ? 0 : -errno;
#else
    sigward_replacement *new;
    int status = sigward_replacement_open(path_of("live"), NULL, &new);
    if (status != 0) return status;
    ssize_t written = sigward_replacement_write(new, all, sizeof all);
    if (written != sizeof all) return sigward_replacement_abort(new), -EIO;
    return sigward_replacement_commit(new);
#endif
}

/* -1: there are two generations in it, or half of one. */
static int generation_of_live(void) {
    static struct page all[PAGES];
    int fd = open(path_of("live"), O_RDONLY);
    if (fd < 0 || read(fd, all, sizeof all) != sizeof all) return -1;
    close(fd);
    for (int i = 0; i < PAGES; i++)
        if (!is_whole(&all[i]) || all[i].generation != all[0].generation) return -1;
    return (int)all[0].generation;
}

/* replace FOLDER CONTROL: prints what may be there, the newest that was acknowledged first. */
static void replace_fails(void) {
    CHECK((control = control_of(arguments[1])) != NULL);
    close(new_file("live"));
    fail(FAIL_MARKED);
    int status = replace(2);
    CHECK(healed() > 0);
#ifdef BARE
    SAY("%d\n", status == 0 ? 2 : 1);
#else
    CHECK(status == -EIO && generation_of_live() == 1 && hidden_names() == 0);
    CHECK(replace(3) == 0 && generation_of_live() == 3 && hidden_names() == 0);
    SAY("3");
    /* From here on the file system gives up. */
    const uint64_t failures[] = {FAIL_FLUSHES, FAIL_WRITES, FAIL_WRITES | FAIL_FLUSHES};
    for (uint64_t i = 0; i < 3; i++) {
        fail(failures[i]);
        status = replace(4 + i);
        healed();
        CHECK(status != 0);
        if (status == -SIGWARD_EUNSYNCED) SAY(" %d", 4 + (int)i);
    }
    SAY("\n");
#endif
}

/* log FOLDER CONTROL: the first write of all fails, the disk heals, whoever opens the log next
 * goes on, and then the power fails. Prints how many records were acknowledged. */
static void log_fails(void) {
    static struct page record = {.mark = MARK};
    put(&record, 0, 1, 1);
    CHECK((control = control_of(arguments[1])) != NULL);
    fail(FAIL_HEADERS | FAIL_MARKED);
#ifdef BARE
    int fd = open(path_of("log"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fallocate(fd, 0, 0, PAGES * PAGE) == 0);
    CHECK(pwrite(fd, &record, PAGE, 0) == (ssize_t)PAGE);
    keep(path_of("log"), PAGE);
    CHECK(fsync(fd) == -1 && healed() > 0);
    CHECK(pread(fd, &record, PAGE, 0) == (ssize_t)PAGE && record.mark == MARK);
    CHECK(pwrite(fd, &record, PAGE, PAGE) == (ssize_t)PAGE && fsync(fd) == 0);
#else
    sigward_log *log;
    CHECK(sigward_log_open(path_of("log"), NULL, NULL, &log) == -EIO && healed() > 0);
    CHECK(sigward_log_open(path_of("log"), NULL, NULL, &log) == 0);
    CHECK(sigward_log_append(log, &record, sizeof record, NULL) == 0);
    CHECK(sigward_log_flush(log, NULL) == 0);
#endif
    fail(LOSE);
    SAY("1\n");
    _exit(0);
}

/* log_is FOLDER: how many records there are. */
static void log_is(void) {
    static struct page record;
    int count = 0;
#ifdef BARE
    int fd = open(path_of("log"), O_RDONLY);
    while (pread(fd, &record, PAGE, count * (off_t)PAGE) == (ssize_t)PAGE && is_whole(&record))
        count++;
    count -= count > 0; /* the header */
#else
    sigward_log_reader *reader;
    if (sigward_log_reader_open(path_of("log"), &reader) == 0) {
        ssize_t whole = sizeof record;
        while (sigward_log_reader_next(reader, &record, sizeof record, NULL) == whole)
            count += is_whole(&record);
    }
#endif
    SAY("%d\n", count);
}

/* live_is FOLDER */
static void live_is(void) { SAY("%d\n", generation_of_live()); }

/* map_is FOLDER: of each page. */
static void map_is(void) {
    int fd = open(path_of("mapped"), O_RDONLY);
    const struct page *there = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(there != MAP_FAILED);
    believed(there);
}

SCENARIOS({"map", map_fails}, {"map_is", map_is}, {"replace", replace_fails},
          {"live_is", live_is}, {"log", log_fails}, {"log_is", log_is}, {"map_twice", map_twice},
#ifndef BARE
          {"map_shared", map_is_shared}, {"map_beside", map_beside}, {"map_moves", map_moves},
#endif
)
