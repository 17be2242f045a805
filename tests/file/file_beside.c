/* Writers beside reservations that fail, on a small file system: threads and processes, through
 * maps and descriptors, inside the file's length and at its end. Whatever a write has answered for
 * has to be there afterwards. Arguments: the folder, how many failures. Bare: a reservation that
 * takes back what was a hole before. */
#include "disk.h"

enum { PAGES = 1024, WRITERS = 4, RECORD = 512, RECORDS = 400 };
#define LENGTH ((uint64_t)PAGES * PAGE)

/* What was answered for, by all processes. */
static struct {
    _Atomic unsigned char page[PAGES];
    _Atomic unsigned long appended;
    _Atomic unsigned done; /* writers that have finished */
} *answered;
static unsigned round_number;

static unsigned char value(unsigned page) {
    return (unsigned char)(1 + (page * 7 + round_number) % 251);
}

#ifdef BARE
/* Which moments are met is luck, with one processor above all: as long as it takes. */
enum { until_it_fails = true };
/* Check, then punch. */
static int sigward_reserve(int fd, uint64_t offset, uint64_t len) {
    static off_t holes[2 * PAGES];
    int count = 0, status = 0;
    struct stat before;
    CHECK(fstat(fd, &before) == 0);
    for (off_t at = 0; at < (off_t)LENGTH && count < 2 * PAGES;) {
        off_t from = lseek(fd, at, SEEK_HOLE), to;
        if (from < 0 || from >= (off_t)LENGTH) break;
        if ((to = lseek(fd, from, SEEK_DATA)) < 0 || to > (off_t)LENGTH) to = LENGTH;
        holes[count++] = from, holes[count++] = at = to;
    }
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) != 0) status = errno;
    if (status == EOPNOTSUPP) {
        static const char zeros[65536];
        for (int i = 0; i < count; i += 2)
            for (off_t at = holes[i]; at < holes[i + 1]; at += PAGE)
                (void)!pwrite(fd, zeros, PAGE, at);
        status = ENOSPC;
    }
    for (int i = 0; i < count && status != 0; i += 2)
        (void)fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, holes[i],
                        holes[i + 1] - holes[i]);
    if (status != 0) CHECK(ftruncate(fd, before.st_size) == 0);
    return -status;
}
#define sigward_reserve_slowly sigward_reserve
#else
enum { until_it_fails = false };
static sigward_map *map;
static bool slowly;
static sigward_map *open_map(void) {
    sigward_map_options options = {
        .size = sizeof options, .writable = 1, .capacity = (uint64_t)1 << 32, .reserve_slowly = 1};
    sigward_map *opened = NULL;
    CHECK(sigward_map_open(path_of("file"), &options, &opened) == 0);
    return opened;
}
#endif

/* Every fourth page, in an order of its own. */
static void write_pages(unsigned writer) {
    static _Thread_local unsigned char page[4096];
    int fd = open(path_of("file"), O_RDWR);
    CHECK(fd >= 0);
#ifndef BARE
    sigward_map *own = writer == 2 ? open_map() : map;
#endif
    for (unsigned i = 0; i < PAGES; i++) {
        unsigned at = i * 389 % PAGES;
        if (at % WRITERS != writer) continue;
        memset(page, value(at), PAGE);
        ssize_t done;
#ifndef BARE
        if (writer % 2 == 0) done = sigward_map_write_at(own, at * PAGE, page, PAGE);
        else
#endif
            done = pwrite(fd, page, PAGE, (off_t)(at * PAGE));
        if (done == (ssize_t)PAGE) answered->page[at] = value(at);
        if (i % 8 == writer) usleep(50);
    }
    close(fd);
    answered->done++;
}

static void append_records(void) {
    unsigned char record[RECORD];
    int fd = open(path_of("file"), O_WRONLY | O_APPEND);
    CHECK(fd >= 0);
    for (unsigned long i = 0; i < RECORDS; i++) {
        memset(record, (int)(1 + i % 250), sizeof record);
        memcpy(record, &i, sizeof i);
        if (write(fd, record, sizeof record) != (ssize_t)sizeof record) break;
        answered->appended++;
        if (i % 4 == 0) usleep(100);
    }
    close(fd);
    answered->done++;
}

static void *in_thread(void *writer) {
    write_pages((unsigned)(uintptr_t)writer);
    return NULL;
}

static pid_t in_process(void (*work)(void)) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    _exit(0);
}
static void write_second(void) { write_pages(2); }
static void write_third(void) { write_pages(3); }

/* How many were lost. */
static unsigned compare(int fd) {
    static unsigned char page[4096];
    unsigned lost = 0;
    CHECK(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    for (unsigned at = 0; at < PAGES; at++) {
        unsigned char wanted = answered->page[at], bad = 0;
        if (pread(fd, page, PAGE, (off_t)(at * PAGE)) != (ssize_t)PAGE) lost++;
        else if (wanted != 0) {
            for (unsigned i = 0; i < PAGE; i++) bad |= page[i] != wanted;
            lost += bad;
        }
    }
    unsigned long next = 0;
    ssize_t got;
    for (off_t from = LENGTH;
         next < answered->appended && (got = pread(fd, page, sizeof page, from)) > 0; from += got)
        for (ssize_t i = 0; i + RECORD <= got && next < answered->appended; i += RECORD) {
            unsigned long number;
            memcpy(&number, page + i, sizeof number);
            if (number == next && page[i + RECORD - 1] == 1 + next % 250) next++;
        }
    return lost + (unsigned)(answered->appended - next);
}

/* Alternately far more than the disk has, and nearly what it has: that is refused only when blocks
 * have been taken. */
static int fail(int fd, unsigned attempt) {
    struct statvfs disk;
    struct stat file;
    CHECK(fstatvfs(fd, &disk) == 0 && fstat(fd, &file) == 0);
    uint64_t near = (uint64_t)disk.f_bfree * disk.f_frsize + (uint64_t)file.st_blocks * 512,
             far = larger_than_the_disk();
#ifndef BARE
    if (attempt % 3 == 1) return sigward_map_grow(map, far);
    if (slowly) return sigward_reserve_slowly(fd, attempt % 3 * LENGTH / 4, far);
#endif
    return sigward_reserve(fd, attempt % 3 * LENGTH / 4, attempt % 16 == 15 ? near : far);
}

static void beside(void) {
    long wanted = atol(arguments[1]);
    unsigned failures = 0, lost = 0, written = 0;
    answered =
        mmap(NULL, sizeof *answered, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(answered != MAP_FAILED);
    /* Also until enough has been written, by writers that find the disk full now and then. */
    for (round_number = 0;
         round_number < 3 || (long)failures < wanted || written <= PAGES / 2 || until_it_fails;
         round_number++) {
        pthread_t threads[2];
        memset((void *)answered, 0, sizeof *answered);
        /* btrfs has no room for a new name after a refusal: so always the same file. */
        int fd = open(path_of("file"), O_RDWR | O_CREAT, 0644), status;
        CHECK(fd >= 0);
        /* And a full btrfs may have no room to note that a file is shorter, for a while. */
        for (int again = 0; (status = ftruncate(fd, 0)) != 0 && again < 1500; again++) {
            CHECK(errno == ENOSPC && syncfs(fd) == 0);
            usleep(20000);
        }
        CHECK(status == 0 && fsync(fd) == 0 && ftruncate(fd, LENGTH) == 0);
#ifndef BARE
        map = open_map();
        slowly = sigward_reserve(fd, 0, 1) == -EOPNOTSUPP;
#endif
        pid_t children[] = {in_process(write_second), in_process(write_third),
                            in_process(append_records)};
        for (uintptr_t i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, in_thread, (void *)i) == 0);
        for (unsigned attempt = 0; answered->done < WRITERS + 1; attempt++) {
            status = fail(fd, attempt);
            if (status == -ENOSPC) failures++;
            else if (status < 0) fprintf(stderr, "%s\n", strerror(-status));
            CHECK(status >= 0 || status == -ENOSPC);
        }
        for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        for (int i = 0; i < 3; i++)
            CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
        lost += compare(fd);
        for (unsigned at = 0; at < PAGES; at++) written += answered->page[at] != 0;
#ifndef BARE
        CHECK(sigward_map_close(map) == 0);
#else
        if (lost > 0) break;
#endif
        CHECK(close(fd) == 0);
    }
    fprintf(stderr, "%u rounds, %u failures, %u pages\n", round_number, failures, written);
    SAY("%s\n", lost > 0 ? "lost" : "all there");
    if (lost > 0) fprintf(stderr, "%u lost\n", lost);
}

SCENARIOS({"beside", beside})
