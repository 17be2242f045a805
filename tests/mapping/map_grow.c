/* Maps that grow, on a small file system that is filled to the last block. The first argument is
 * its folder. Bare: mmap(2) beyond the file's end, ftruncate(2), and hope; where that has no room,
 * mremap(2). */
#include "disk.h"
#include <sys/prctl.h>
#include <sys/resource.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#ifdef BARE
typedef struct sigward_map_options {
    size_t size;
    uint64_t offset, len;
    uint32_t writable, copy_on_write, populate, no_descriptor;
    uint64_t capacity;
    uint32_t reserve_slowly, reserved;
} sigward_map_options;
typedef struct sigward_map {
    unsigned char *data;
    size_t len, room;
    int fd;
} sigward_map;
typedef struct sigward_bytes {
    const void *data;
    size_t len;
    const uint64_t *poison;
} sigward_bytes;

static int sigward_map_open(const char *path, const sigward_map_options *options,
                            sigward_map **out) {
    struct stat file;
    int access = options->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    sigward_map *map = *out = malloc(sizeof *map);
    CHECK((map->fd = open(path, options->writable ? O_RDWR : O_RDONLY)) >= 0 &&
          fstat(map->fd, &file) == 0);
    map->len = (size_t)file.st_size;
    map->room = options->capacity > map->len ? options->capacity : map->len;
    map->data = mmap(NULL, map->room, access, MAP_SHARED, map->fd, 0);
    return map->data == MAP_FAILED ? -errno : 0;
}
static int sigward_map_grow(sigward_map *map, uint64_t len) {
    if (ftruncate(map->fd, (off_t)len) != 0) return -errno;
    if (len > map->room) {
        void *there =
            mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        map->data = mremap(map->data, map->room, 2 * len, MREMAP_MAYMOVE | MREMAP_FIXED, there);
        if (map->data == MAP_FAILED) return -errno;
        map->room = 2 * len;
    }
    __atomic_store_n(&map->len, len, __ATOMIC_RELEASE);
    return 0;
}
static int sigward_map_look(const sigward_map *map, sigward_bytes *out) {
    static const uint64_t intact = UINT64_MAX;
    *out = (sigward_bytes){map->data, __atomic_load_n(&map->len, __ATOMIC_ACQUIRE), &intact};
    return 0;
}
static size_t sigward_map_len(const sigward_map *map) {
    return __atomic_load_n(&map->len, __ATOMIC_ACQUIRE);
}
static int sigward_map_follow(sigward_map *map) {
    struct stat file;
    CHECK(fstat(map->fd, &file) == 0);
    __atomic_store_n(&map->len, (size_t)file.st_size, __ATOMIC_RELEASE);
    return 0;
}
static ssize_t sigward_map_read_at(const sigward_map *map, uint64_t at, void *to, size_t len) {
    memcpy(to, map->data + at, len);
    return (ssize_t)len;
}
static int sigward_map_flush(sigward_map *map) { return msync(map->data, map->len, MS_SYNC); }
static int sigward_map_close(sigward_map *map) { return munmap(map->data, map->room); }
static int sigward_reserve(int fd, uint64_t at, uint64_t len) {
    return (void)fd, (void)at, (void)len, 0;
}
#endif

#define OPTIONS(...) (&(sigward_map_options){.size = sizeof(sigward_map_options), __VA_ARGS__})

/* What this file system needs and promises: see `ask`. */
static uint32_t slowly;
static bool first_write_only;

static int new_file(const char *name) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    return fd;
}

static sigward_map *open_map(const char *name, const sigward_map_options *options) {
    sigward_map *map = NULL;
    int status = sigward_map_open(path_of(name), options, &map);
    if (status != 0) fprintf(stderr, "%s: %s\n", name, strerror(-status));
    CHECK(status == 0 && map != NULL);
    return map;
}

static void ask(void) {
    int fd = new_file("asked");
    sigward_map *map = open_map("asked", OPTIONS(.writable = 1, .capacity = PAGE));
    int status = sigward_map_grow(map, 1);
    CHECK(status == 0 || status == -EOPNOTSUPP);
    slowly = status != 0;
    struct stat file;
    CHECK(fstat(fd, &file) == 0 && file.st_size == (slowly ? 0 : 1) &&
          sigward_map_len(map) == (size_t)file.st_size);
    first_write_only = !slowly && sigward_reserve(fd, 0, PAGE) == 1;
    CHECK(sigward_map_close(map) == 0 && close(fd) == 0 && unlink(path_of("asked")) == 0);
}

static volatile unsigned char *data(const sigward_map *map) {
    sigward_bytes now;
    CHECK(sigward_map_look(map, &now) == 0);
    return (volatile unsigned char *)now.data;
}

static uint64_t poison(const sigward_map *map) {
    sigward_bytes now;
    CHECK(sigward_map_look(map, &now) == 0);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(now.poison, __ATOMIC_ACQUIRE);
}

/* A byte in each page of a range. */
static void store(const sigward_map *map, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at = (at / PAGE + 1) * PAGE) data(map)[at] = content(at);
}

static void stored(const sigward_map *map, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at = (at / PAGE + 1) * PAGE)
        CHECK(data(map)[at] == content(at));
}

static uint64_t length_of(const char *name) {
    struct stat file;
    CHECK(stat(path_of(name), &file) == 0);
    return (uint64_t)file.st_size;
}

/* ---- a full disk ---- */

/* A file with holes, large folios of the page cache over them, and no room for anything. A refusal
 * changes nothing, and after the room has come back it goes on. */
static void full(void) {
    enum { HEAD = 5 * 4096 + 33 };
    const uint64_t before = 3 * MIB + 5, after = 4 * MIB + 777;
    ask();
    CHECK(close(new_file("ballast")) == 0); /* btrfs has no room for a new name after a refusal */
    int fd = new_file("log");
    CHECK(ftruncate(fd, (off_t)before) == 0);
    fill(fd, 0, HEAD);
    CHECK(fsync(fd) == 0);
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = 2 * larger_than_the_disk(),
                                .reserve_slowly = slowly));
    volatile unsigned char *start = data(map);
    unsigned sum = 0;
    for (uint64_t at = 0; at < before; at += PAGE) sum += start[at];
    CHECK(sum > 0 && sigward_map_len(map) == before);
    CHECK(sigward_map_grow(map, after) == 0 && sigward_map_len(map) == after &&
          length_of("log") == after);
    fill_disk();
    /* Each page that never held anything (btrfs writes zeros into the one where the file ended);
     * then, where that is promised, all. */
    store(map, HEAD / PAGE * PAGE + PAGE, before / PAGE * PAGE);
    store(map, before / PAGE * PAGE + PAGE, after);
    if (!first_write_only) store(map, 0, after);
    CHECK(sigward_map_flush(map) == 0);
    stored(map, HEAD / PAGE * PAGE + PAGE, before / PAGE * PAGE);
    stored(map, before / PAGE * PAGE + PAGE, after);
    if (!first_write_only) store(map, 0, after);
    CHECK(poison(map) == UINT64_MAX);
    CHECK(fsync(fd) == 0);
    usleep(20000); /* the next tick of the file system's clock */
    struct look was = look(fd);
    for (int again = 0; again < 3; again++) {
        uint64_t wanted = again == 1 ? after + 2 * MIB : larger_than_the_disk();
        int status = sigward_map_grow(map, wanted);
        if (status != -ENOSPC) fprintf(stderr, "%d\n", status);
        CHECK(status == -ENOSPC && sigward_map_len(map) == after && data(map) == start);
        struct look is = look(fd);
        is.status.st_mtim = was.status.st_mtim; /* moves with the attempt */
        same(&was, &is);
    }
    holds(fd, 0, HEAD, false);
    CHECK(truncate(path_of("ballast"), 0) == 0 && syncfs(fd) == 0);
    CHECK(sigward_map_grow(map, after + 2 * MIB) == 0 && data(map) == start);
    fill_disk();
    store(map, after / PAGE * PAGE + PAGE, after + 2 * MIB);
    CHECK(sigward_map_flush(map) == 0);
    stored(map, after / PAGE * PAGE + PAGE, after + 2 * MIB);
    holds(fd, 0, HEAD, false);
    CHECK(poison(map) == UINT64_MAX && sigward_map_close(map) == 0);
}

/* In small steps, each of them used up on a full disk: what is around a step's end may lie in one
 * folio with the next. */
static void steps(void) {
    ask();
    new_file("log");
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    for (int step = 1; step <= 3; step++) {
        uint64_t from = sigward_map_len(map), to = from + 150 * PAGE + 100;
        CHECK(sigward_map_grow(map, to) == 0);
        fill_disk();
        store(map, first_write_only ? (from + PAGE - 1) / PAGE * PAGE : from, to);
        CHECK(sigward_map_flush(map) == 0 && poison(map) == UINT64_MAX);
        int fd = open(path_of("ballast"), O_RDWR);
        CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && syncfs(fd) == 0 && close(fd) == 0);
    }
    CHECK(sigward_map_close(map) == 0);
}

/* ---- readers ---- */

static sigward_map *read_map;
static sigward_bytes oldest;
/* Shared with the other process: up to where bytes are written, and the end of the matter. */
static struct progress {
    uint64_t written, done, rounds;
} *progress;

static uint64_t written(void) { return __atomic_load_n(&progress->written, __ATOMIC_ACQUIRE); }
static bool done(void) { return __atomic_load_n(&progress->done, __ATOMIC_ACQUIRE) != 0; }

static void compare(const volatile unsigned char *bytes, uint64_t upto, uint64_t step) {
    for (uint64_t at = upto % step; at < upto; at += step) CHECK(bytes[at] == content(at));
}

static void *by_pointer(void *which) {
    for (bool last = false; !last;) {
        last = done();
        uint64_t upto = written();
        sigward_bytes now;
        CHECK(sigward_map_look(read_map, &now) == 0 && now.len >= upto);
        compare(which ? oldest.data : now.data, which && oldest.len < upto ? oldest.len : upto,
                509);
        CHECK(__atomic_load_n(which ? oldest.poison : now.poison, __ATOMIC_ACQUIRE) == UINT64_MAX);
        __atomic_fetch_add(&progress->rounds, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void *by_calls(void *unused) {
    static __thread unsigned char copy[100000];
    for (bool last = false; !last;) {
        last = done();
        uint64_t upto = written(), at = upto < sizeof copy ? 0 : upto - sizeof copy;
        CHECK(sigward_map_read_at(read_map, at, copy, (size_t)(upto - at)) == (ssize_t)(upto - at));
        for (uint64_t i = at; i < upto; i++) CHECK(copy[i - at] == content(i));
    }
    return unused;
}

static void follower(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* of a map that moves the bare parent dies */
    sigward_map *map = open_map("log", OPTIONS(.capacity = GIB));
    volatile unsigned char *start = data(map);
    for (bool last = false; !last;) {
        last = done();
        uint64_t upto = written();
        CHECK(sigward_map_follow(map) == 0 && sigward_map_len(map) >= upto && data(map) == start);
        compare(start, upto, 509);
        CHECK(poison(map) == UINT64_MAX);
    }
#ifndef BARE
    CHECK(sigward_map_verify(map) == 0);
#endif
    CHECK(sigward_map_close(map) == 0);
    _exit(0);
}

static void grow_under_readers(uint64_t capacity, unsigned grows, uint64_t step, uint64_t jump) {
    pthread_t readers[4];
    int fd = new_file("log"), status;
    progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(progress != MAP_FAILED);
    fill(fd, 0, 100);
    progress->written = 100;
    read_map =
        open_map("log", OPTIONS(.writable = 1, .capacity = capacity, .reserve_slowly = slowly));
    CHECK(sigward_map_look(read_map, &oldest) == 0 && oldest.len == 100);
    pid_t other = fork();
    if (other == 0) follower();
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&readers[i], NULL, i < 2 ? by_pointer : by_calls,
                             i == 1 ? readers : NULL) == 0);
    for (unsigned i = 1; i <= grows; i++) {
        uint64_t from = written(), to = from + step;
        /* Further than what is written, so that the map meets the end of its room. */
        uint64_t length = to + (jump ? i * jump : 0);
        CHECK(sigward_map_grow(read_map, length) == 0 && sigward_map_len(read_map) == length);
        if (capacity) CHECK(data(read_map) == oldest.data);
        for (uint64_t at = from; at < to; at++) data(read_map)[at] = content(at);
        __atomic_store_n(&progress->written, to, __ATOMIC_RELEASE);
    }
    uint64_t rounds = __atomic_load_n(&progress->rounds, __ATOMIC_RELAXED);
    while (__atomic_load_n(&progress->rounds, __ATOMIC_RELAXED) < rounds + 4) sched_yield();
    __atomic_store_n(&progress->done, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++) CHECK(pthread_join(readers[i], NULL) == 0);
    CHECK(waitpid(other, &status, 0) == other && status == 0);
    if (!capacity) CHECK(data(read_map) != oldest.data);
    /* Old and new addresses are one. */
    ((volatile unsigned char *)oldest.data)[50] = 0;
    CHECK(data(read_map)[50] == 0);
    holds(fd, 51, written(), false);
    CHECK(sigward_map_flush(read_map) == 0 && sigward_map_close(read_map) == 0);
}

static void readers(void) {
    ask();
    grow_under_readers(GIB, slowly ? 100 : 400, 7000, 0);
}

static void moving(void) { grow_under_readers(0, 8, 300000, 20 * MIB); }

/* ---- limits ---- */

static void size_limit(void) {
    ask();
    new_file("log");
    sigset_t pending;
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){10 * PAGE, RLIM_INFINITY}) == 0);
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    CHECK(sigward_map_grow(map, 10 * PAGE) == 0);
    CHECK(sigward_map_grow(map, 10 * PAGE + 1) == -EFBIG); /* bare dies of SIGXFSZ */
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
    CHECK(sigward_map_len(map) == 10 * PAGE && length_of("log") == 10 * PAGE);
}

#ifndef BARE
static unsigned count(const char *path) {
    char line[4096];
    unsigned lines = 0;
    FILE *list = popen(path, "r");
    CHECK(list != NULL);
    while (fgets(line, sizeof line, list)) lines++;
    pclose(list);
    return lines;
}

/* Mappings of the file, and descriptors of it, that this process has. */
static unsigned held(void) {
    char command[200];
    /* Not what else is below a folder of such a name. */
    const char *format =
        "{ cat /proc/%d/maps; ls -l /proc/%d/fd; } | grep -aE '/log( .deleted.)?$'";
    snprintf(command, sizeof command, format, (int)getpid(), (int)getpid());
    return count(command);
}

static void addresses(void) {
    int fd = new_file("log");
    CHECK(close(fd) == 0);
    sigward_map *map = NULL;
    CHECK(sigward_map_open(path_of("log"), OPTIONS(.writable = 1, .capacity = (uint64_t)1 << 56),
                           &map) == -ENOMEM &&
          !map);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){GIB, GIB}) == 0);
    CHECK(sigward_map_open(path_of("log"), OPTIONS(.writable = 1, .capacity = 2 * GIB), &map) ==
              -ENOMEM &&
          !map);
    CHECK(held() == 0);
    /* A move takes less room where there is no more. */
    map = open_map("log", OPTIONS(.writable = 1, .capacity = PAGE));
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){48 * MIB, GIB}) == 0);
    CHECK(sigward_map_grow(map, MIB) == 0 && sigward_map_capacity(map) < 48 * MIB);
    CHECK(sigward_map_grow(map, GIB) == -ENOMEM && sigward_map_len(map) == MIB &&
          length_of("log") == MIB);
    CHECK(sigward_map_close(map) == 0);
}

/* What is locked in memory is what the file has, not what it may have. */
static void locked(void) {
    struct rusage use;
    int fd = new_file("log");
    fill(fd, 0, 16 * PAGE);
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    sigward_map *map = open_map("log", OPTIONS(.writable = 1, .capacity = 1024 * GIB));
    CHECK(sigward_map_grow(map, MIB) == 0);
    store(map, 0, MIB);
    CHECK(ftruncate(fd, PAGE) == 0);
    CHECK(data(map)[5 * PAGE] == 0 && poison(map) == PAGE);
    CHECK(getrusage(RUSAGE_SELF, &use) == 0 && use.ru_maxrss < 256 * 1024);
    CHECK(sigward_map_close(map) == 0 && munlockall() == 0);
    /* Who may not lock so much is told. */
    pid_t child = fork();
    int status;
    if (child == 0) {
        CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){8 * MIB, 8 * MIB}) == 0);
        CHECK(mlockall(MCL_FUTURE) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
        int own = (int)syscall(SYS_memfd_create, "log", 0);
        CHECK(sigward_map_fd(own, OPTIONS(.writable = 1, .capacity = GIB), &map) == -EAGAIN);
        CHECK(sigward_map_fd(own, OPTIONS(.writable = 1, .capacity = PAGE), &map) == 0 &&
              sigward_map_grow(map, MIB) == 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* ---- what somebody else does ---- */

static void cut(void) {
    ask();
    int fd = new_file("log");
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    CHECK(sigward_map_grow(map, 20 * PAGE) == 0);
    fill(fd, 0, 20 * PAGE);
    sigward_map *reader = open_map("log", OPTIONS(.capacity = GIB));
    CHECK(ftruncate(fd, 7 * PAGE + 9) == 0);
    CHECK(sigward_map_grow(map, 30 * PAGE) == -EFAULT && length_of("log") == 7 * PAGE + 9);
    CHECK(sigward_map_follow(reader) == -EFAULT && sigward_map_verify(reader) == -EFAULT);
    /* A page that is lost, and one that was made anew. */
    CHECK(data(map)[10 * PAGE] == 0 && poison(map) == 7 * PAGE + 9);
    CHECK(ftruncate(fd, 40 * PAGE) == 0);
    CHECK(sigward_map_grow(map, 30 * PAGE) == -EFAULT && sigward_map_len(map) == 20 * PAGE);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_len(map) == 40 * PAGE &&
          sigward_map_capacity(map) == GIB);
    CHECK(sigward_map_grow(map, 50 * PAGE) == 0);
    store(map, 8 * PAGE, 50 * PAGE);
    CHECK(sigward_map_flush(map) == 0);
    holds(fd, 0, 7 * PAGE + 9, false);
    CHECK(sigward_map_refresh(reader) == 0 && sigward_map_len(reader) == 50 * PAGE);
    CHECK(sigward_map_close(map) == 0 && sigward_map_close(reader) == 0);
}

/* Cut and made as long again, with what was written gone; unlinked; another put in its place. */
static void same_length(void) {
    ask();
    int fd = new_file("log"), status;
    sigward_map *map = open_map(
        "log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    CHECK(sigward_map_grow(map, 600 * PAGE) == 0);
    store(map, 0, 600 * PAGE);
    CHECK(sigward_map_flush(map) == 0 && sigward_map_verify(map) == 0);
    CHECK(ftruncate(fd, 100 * PAGE) == 0 && ftruncate(fd, 600 * PAGE) == 0);
    status = sigward_map_flush(map);
    /* Where blocks move with what is written (btrfs) their number says nothing. */
    CHECK(status == (first_write_only ? 0 : -ESTALE));
    CHECK(sigward_map_verify(map) == status && sigward_map_grow(map, 601 * PAGE) == status);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_grow(map, 602 * PAGE) == 0);
    store(map, 0, 602 * PAGE);
    CHECK(sigward_map_flush(map) == 0 && sigward_map_grow(map, 603 * PAGE) == 0);

    /* Another name will do; none will not. */
    CHECK(link(path_of("log"), path_of("second")) == 0 && unlink(path_of("log")) == 0);
    CHECK(sigward_map_flush(map) == 0 && sigward_map_grow(map, 604 * PAGE) == 0);
    CHECK(rename(path_of("second"), path_of("third")) == 0 && sigward_map_flush(map) == 0);
    CHECK(close(open(path_of("other"), O_RDWR | O_CREAT, 0644)) == 0);
    CHECK(rename(path_of("other"), path_of("third")) == 0);
    CHECK(sigward_map_flush(map) == -ESTALE && sigward_map_grow(map, 605 * PAGE) == -ESTALE);
    stored(map, 0, 602 * PAGE);
    CHECK(sigward_map_close(map) == 0);

    /* A file that never had one. */
    sigward_map *nameless = NULL;
    CHECK(sigward_map_fd(fd, OPTIONS(.writable = 1), &nameless) == 0);
    CHECK(sigward_map_flush(nameless) == 0 && sigward_map_close(nameless) == 0);
}

/* Behind the length, below the capacity: nobody has business there, and who goes there all the same
 * does not die. */
static void behind(void) {
    ask();
    new_file("log");
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    CHECK(sigward_map_grow(map, 2 * PAGE) == 0);
    data(map)[GIB - 1] = 1;
    CHECK(poison(map) == 2 * PAGE && sigward_map_grow(map, 3 * PAGE) == -EFAULT);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_grow(map, 3 * PAGE) == 0 &&
          sigward_map_close(map) == 0);
}

/* A file that another map has made longer; and two processes at once, one of which asks for more
 * than there is. */
static void others(void) {
    ask();
    new_file("log");
    sigward_map *map =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    sigward_map *other =
        open_map("log", OPTIONS(.writable = 1, .capacity = GIB, .reserve_slowly = slowly));
    CHECK(sigward_map_grow(other, 50 * PAGE) == 0);
    CHECK(sigward_map_grow(map, 20 * PAGE) == 0 && sigward_map_len(map) == 20 * PAGE &&
          length_of("log") == 50 * PAGE);
    CHECK(sigward_map_follow(map) == 0 && sigward_map_len(map) == 50 * PAGE);
    CHECK(sigward_map_close(other) == 0);
    if (slowly) return; /* zeros that one has written are nobody's, for the other */
    pid_t greedy = fork();
    int status;
    if (greedy == 0)
        for (;;) CHECK(sigward_map_grow(map, larger_than_the_disk()) == -ENOSPC);
    unsigned grown = 0;
    /* As often as that, and until some of it has come to something. */
    for (int i = 0; i < 600 || grown < 10; i++) {
        uint64_t to = sigward_map_len(map) + 300;
        status = sigward_map_grow(map, to);
        CHECK(status == 0 || status == -ENOSPC);
        grown += status == 0;
        if (status == 0) data(map)[to - 1] = content(to - 1);
        CHECK(length_of("log") >= sigward_map_len(map));
    }
    CHECK(kill(greedy, SIGKILL) == 0 && waitpid(greedy, &status, 0) == greedy);
    CHECK(sigward_map_flush(map) == 0 && poison(map) == UINT64_MAX);
    for (unsigned i = 1; i <= grown; i++)
        CHECK(data(map)[50 * PAGE + i * 300 - 1] == content(50 * PAGE + i * 300 - 1));
}

/* ---- growers at once, and forked children ---- */

static void *grower(void *number) {
    for (uint64_t i = 1; i <= 100; i++) {
        uint64_t to = i * 10000 + (uint64_t)(uintptr_t)number * 1000;
        int status = sigward_map_grow(read_map, to);
        /* Another one may have come further. */
        CHECK(status == 0 || (status == -EINVAL && sigward_map_len(read_map) > to));
        CHECK(sigward_map_len(read_map) >= to);
        data(read_map)[to - 1] = 7;
    }
    return NULL;
}

static void growers(void) {
    pthread_t threads[4];
    ask();
    for (uint64_t capacity = 0; capacity <= GIB; capacity += GIB) {
        int fd = new_file("log");
        fill(fd, 0, 1);
        read_map =
            open_map("log", OPTIONS(.writable = 1, .capacity = capacity, .reserve_slowly = slowly));
        for (uintptr_t i = 0; i < 4; i++)
            CHECK(pthread_create(&threads[i], NULL, grower, (void *)i) == 0);
        /* A child that is forked while the lock is taken has it free. */
        for (int i = 0; i < 20; i++) {
            int status;
            pid_t child = fork();
            if (child == 0) {
                alarm(patience(100));
                status = sigward_map_grow(read_map, 2 * MIB + (uint64_t)i);
                CHECK(status == 0 || status == -EINVAL);
                CHECK(sigward_map_len(read_map) >= 2 * MIB);
                data(read_map)[2 * MIB - 1] = 9;
                _exit(0);
            }
            CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
        }
        for (int i = 0; i < 4; i++) CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(sigward_map_len(read_map) == 1003000 && length_of("log") == 2 * MIB + 19 &&
              data(read_map)[2 * MIB - 1 - PAGE] == 0);
        CHECK(poison(read_map) == UINT64_MAX && sigward_map_close(read_map) == 0);
        CHECK(close(fd) == 0 && held() == 0);
    }
}

/* ---- bad input, and nothing left behind ---- */

static void refuses(sigward_map *map, uint64_t to, int status) {
    size_t len = sigward_map_len(map);
    uint64_t length = length_of("log");
    int is = sigward_map_grow(map, to);
    if (is != status) fprintf(stderr, "%llu: %d, not %d\n", (unsigned long long)to, is, status);
    CHECK(is == status && sigward_map_len(map) == len && length_of("log") == length);
}

static void bad(void) {
    ask();
    int fd = new_file("log");
    sigward_map *map = NULL;
    CHECK(sigward_map_open(path_of("log"), OPTIONS(.writable = 1), &map) == -ENODATA);
    CHECK(sigward_map_grow(NULL, 1) == -EINVAL && sigward_map_follow(NULL) == -EINVAL &&
          sigward_map_capacity(NULL) == 0);
    CHECK(sigward_map_look(NULL, NULL) == -EINVAL);
    fill(fd, 0, 2 * PAGE);
    const sigward_map_options *const wrong[] = {
        OPTIONS(.capacity = 1, .offset = 1),         OPTIONS(.capacity = 1, .len = 1),
        OPTIONS(.capacity = 1, .copy_on_write = 1),  OPTIONS(.capacity = 1, .no_descriptor = 1),
        OPTIONS(.capacity = 1, .reserve_slowly = 2), OPTIONS(.reserved = 1),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(sigward_map_open(path_of("log"), wrong[i], &map) == -EINVAL && map == NULL);
    CHECK(sigward_map_open(path_of("log"), OPTIONS(.capacity = UINT64_MAX), &map) == -EOVERFLOW);
    /* The options as they were before there was a capacity. */
    map = open_map(
        "log", &(sigward_map_options){.size = 40, .writable = 1, .capacity = 99, .reserved = 99});
    CHECK(sigward_map_capacity(map) == 2 * PAGE && sigward_map_look(map, NULL) == -EINVAL);
    refuses(map, 2 * PAGE - 1, -EINVAL);
    refuses(map, 0, -EINVAL);
    refuses(map, UINT64_MAX, -EOVERFLOW);
    refuses(map, (uint64_t)1 << 62, -ENOMEM);
    CHECK(sigward_map_close(map) == 0);
    const struct {
        const sigward_map_options *options;
        int status;
    } cannot[] = {
        {NULL, -EBADF},
        {OPTIONS(.capacity = GIB), -EBADF},
        {OPTIONS(.writable = 1, .offset = 1), -EINVAL},
        {OPTIONS(.writable = 1, .len = PAGE), -EINVAL},
        {OPTIONS(.writable = 1, .copy_on_write = 1), -EINVAL},
        {OPTIONS(.writable = 1, .no_descriptor = 1), -EINVAL},
    };
    for (size_t i = 0; i < sizeof cannot / sizeof *cannot; i++) {
        map = open_map("log", cannot[i].options);
        refuses(map, 4 * PAGE, cannot[i].status);
        int status = sigward_map_follow(map);
        CHECK(status == (i == 5 ? -EINVAL : 0) && sigward_map_close(map) == 0);
    }
    int memory = (int)syscall(SYS_memfd_create, "sealed", 2 /* MFD_ALLOW_SEALING */);
    CHECK(ftruncate(memory, PAGE) == 0 && fcntl(memory, F_ADD_SEALS, F_SEAL_GROW) == 0);
    CHECK(sigward_map_fd(memory, OPTIONS(.writable = 1, .capacity = GIB), &map) == 0);
    CHECK(sigward_map_grow(map, PAGE) == 0 && sigward_map_grow(map, PAGE + 1) == -EPERM &&
          sigward_map_len(map) == PAGE);
    CHECK(sigward_map_close(map) == 0);
    /* Where the file system cannot promise, nothing is begun. */
    map = open_map("log", OPTIONS(.writable = 1, .capacity = GIB));
    if (slowly) refuses(map, 4 * PAGE, -EOPNOTSUPP);
    CHECK(sigward_map_close(map) == 0);
}

/* A small btrfs gives back a while later what a refused reservation had found; until then it may
 * have no room even to cut a file. */
static void cut_to(off_t length) {
    for (unsigned turn = 0; truncate(path_of("log"), length) != 0; turn++) {
        CHECK(errno == ENOSPC && turn < patience(60) * 10);
        sync();
        usleep(100000);
    }
}

static void leaks(void) {
    ask();
    int fd = new_file("log");
    CHECK(close(fd) == 0);
    unsigned before = 0;
    for (int i = 0; i < (slowly ? 20 : 60); i++) {
        if (i == 10) before = count("cat /proc/$PPID/maps") + count("ls /proc/$PPID/fd");
        sigward_map *map = open_map("log", OPTIONS(.writable = 1, .capacity = i % 2 ? GIB : PAGE,
                                                   .reserve_slowly = slowly));
        if (sigward_map_len(map) < MIB) CHECK(sigward_map_grow(map, MIB) == 0);
        else CHECK(sigward_map_grow(map, MIB + (uint64_t)i) == 0);
        CHECK(sigward_map_grow(map, larger_than_the_disk() + 80 * MIB) == -ENOSPC);
        if (i % 3 == 0) {
            cut_to(PAGE);
            CHECK(sigward_map_refresh(map) == 0);
        }
        CHECK(held() > 0 && sigward_map_close(map) == 0 && held() == 0);
    }
    /* A map at addresses that never had one needs another table; a leak would be ten at least. */
    CHECK(count("cat /proc/$PPID/maps") + count("ls /proc/$PPID/fd") <= before + 4);
}
#define WARDED_ONLY                                                                                \
    , {"addresses", addresses}, {"locked", locked}, {"cut", cut}, {"behind", behind},              \
        {"others", others}, {"growers", growers}, {"bad", bad}, {"leaks", leaks}, {                \
        "same_length", same_length                                                                 \
    }
#else
#define WARDED_ONLY
#endif

SCENARIOS({"full", full}, {"steps", steps}, {"readers", readers}, {"moving", moving},
          {"size_limit", size_limit} WARDED_ONLY)
