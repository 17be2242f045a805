/* The bytes of one moment, on a file system of the test's own: the first argument is its folder.
 * Bare: a plain map of the file, or a plain copy into memory. */
#include "disk.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { LENGTH = 1 << 20 | 123 };

#ifdef BARE
typedef struct { void *data; size_t len; } sigward_map;

static int sigward_snapshot(const char *path, sigward_map **out) {
    static sigward_map map;
    struct stat file;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &file) == 0);
    map.len = (size_t)file.st_size;
    map.data = mmap(NULL, map.len, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map.data != MAP_FAILED);
    close(fd);
    *out = &map;
    return 0;
}
static const void *sigward_map_data(const sigward_map *map) { return map->data; }
static size_t sigward_map_len(const sigward_map *map) { return map->len; }
static int sigward_map_close(sigward_map *map) { return munmap(map->data, map->len); }
#else
static const char *kind_name(uint32_t kind) {
    return kind == SIGWARD_SNAPSHOT_CLONE    ? "clone"
           : kind == SIGWARD_SNAPSHOT_MEMORY ? "memory"
                                             : "?";
}
#endif

static int new_file(const char *name) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    fill(fd, 0, LENGTH);
    CHECK(fsync(fd) == 0);
    return fd;
}

static void is_whole(const sigward_map *map) {
    const unsigned char *bytes = sigward_map_data(map);
    CHECK(sigward_map_len(map) == LENGTH);
    for (uint64_t at = 0; at < LENGTH; at++) CHECK(bytes[at] == content(at));
}

static void truncated(int fd) { CHECK(ftruncate(fd, 0) == 0); }
static void overwritten(int fd) {
    static const unsigned char other[LENGTH] = {1};
    CHECK(pwrite(fd, other, sizeof other, 0) == sizeof other);
}
static void regrown(int fd) { CHECK(ftruncate(fd, 100) == 0 && ftruncate(fd, 2 * LENGTH) == 0); }
static void stored(int fd) {
    unsigned char *map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    memset(map, 0x55, LENGTH);
    CHECK(msync(map, LENGTH, MS_SYNC) == 0 && munmap(map, LENGTH) == 0);
}
static void replaced(int fd) {
    int other = open(path_of("other"), O_RDWR | O_CREAT, 0644);
    CHECK(write(other, "other", 5) == 5 && rename(path_of("other"), path_of("source")) == 0);
    truncated(fd);
    close(other);
}
static void removed(int fd) {
    CHECK(unlink(path_of("source")) == 0);
    truncated(fd);
}

/* Whatever is done to the file, the bytes stay. A reader that has seen them, and one that has
 * not. */
static void kept(void) {
    void (*const damages[])(int) = {truncated, overwritten, regrown, stored, replaced, removed};
    for (unsigned i = 0; i < 2 * sizeof damages / sizeof *damages; i++) {
        sigward_map *map;
        int fd = new_file("source");
        CHECK(sigward_snapshot(path_of("source"), &map) == 0);
        if (i % 2) is_whole(map);
        damages[i / 2](fd);
        is_whole(map);
#ifndef BARE
        sigward_fault fault;
        CHECK(sigward_map_verify(map) == 0 && sigward_map_refresh(map) == 0);
        CHECK(sigward_map_status(map, &fault) == 0);
        is_whole(map);
#endif
        CHECK(sigward_map_close(map) == 0);
        close(fd);
    }
}

/* RLIMIT_FSIZE counts for files in memory. Bare dies of SIGXFSZ. */
static void size_limit(void) {
    enum { HALF = 400 << 10 }; /* of it; whole pages, whatever they are */
    struct rlimit limit = {HALF, RLIM_INFINITY};
    int fd = new_file("source");
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
#ifdef BARE
    unsigned char block[4096];
    int memory = memfd_create("copy", 0);
    for (off_t at = 0; pread(fd, block, sizeof block, at) > 0; at += sizeof block)
        CHECK(pwrite(memory, block, sizeof block, at) == sizeof block);
#else
    sigset_t pending;
    sigward_map *map = (void *)1;
    sigward_snapshot_options options = {.size = sizeof options};
    for (options.memory_only = 0; options.memory_only < 2; options.memory_only++) {
        int status = sigward_snapshot_with(path_of("source"), &options, &map, NULL);
        CHECK(status == -EFBIG && map == NULL);
    }
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
    CHECK(ftruncate(fd, HALF) == 0 && sigward_snapshot(path_of("source"), &map) == 0);
    CHECK(sigward_map_len(map) == HALF && sigward_map_close(map) == 0);
#endif
}

/* The disk goes away (xfs): what was copied is there, of a clone the unread pages are lost, and
 * that is told. Bare dies. */
static void disk_lost(void) {
    int fd = new_file("source");
    uint32_t at_once = 2;
    sigward_map *map;
#ifndef BARE
    sigward_map *memory, *read;
    sigward_snapshot_options options = {.size = sizeof options, .memory_only = 1},
                             populate = {.size = sizeof populate, .populate = 1};
    CHECK(sigward_snapshot_with(path_of("source"), &options, &memory, NULL) == 0);
    CHECK(sigward_snapshot_with(path_of("source"), &populate, &read, NULL) == 0);
#endif
    CHECK(sigward_snapshot(path_of("source"), &map) == 0);
    CHECK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    CHECK(ioctl(fd, _IOR('X', 125, uint32_t), &at_once) == 0); /* XFS_IOC_GOINGDOWN */
#ifdef BARE
    is_whole(map);
#else
    char byte;
    sigward_fault fault;
    is_whole(memory);
    is_whole(read); /* its pages were not given up in between */
    CHECK(sigward_map_status(memory, &fault) == 0 && sigward_map_status(read, &fault) == 0);
    CHECK(sigward_map_read_at(map, 0, &byte, 1) == -EFAULT);
    CHECK(sigward_map_status(map, &fault) == 1);
    /* UNKNOWN where not even fstat(2) answers any more. */
    CHECK(fault.offset == 0);
    CHECK((fault.cause == SIGWARD_CAUSE_IO || fault.cause == SIGWARD_CAUSE_UNKNOWN));
    CHECK(sigward_map_verify(map) == -EFAULT && *(const char *)sigward_map_data(map) == 0);
#endif
}

/* Whether the bytes are of one generation. */
static bool is_one(const sigward_map *map, size_t size) {
    const unsigned char *bytes = sigward_map_data(map);
    CHECK(sigward_map_len(map) == size);
    for (size_t at = 0; at < size; at++)
        if (bytes[at] != bytes[0]) return false;
    return true;
}

#ifndef BARE
/* Whether the write that was at work when the first reading began was so when it ended. */
typedef struct {
    generations_t *all;
    unsigned long number;
    bool halts;
} write_at_work;

static int note_write(void *context, uint64_t done, uint64_t total) {
    write_at_work *write = context;
    unsigned long ended = write->all->ended;
    (void)total;
    if (done == 0) {
        write->number = write->all->begun;
        write->halts = true;
    }
    write->halts = write->halts && ended < write->number;
    return 0;
}
#endif

/* Somebody writes all the time, each generation in one write: a snapshot is one of them, or an
 * error. The second argument is where the writer finds the file, if not where we do. Nobody can
 * tell then of a write that waits for the processor in its middle while the file is read twice:
 * that may be a mixture, and is unproven. Bare tears. */
static void generations(void) {
    enum { SIZE = 1 << 20, ROUNDS = 25, BARE_ROUNDS = 20000 };
    static unsigned char block[SIZE];
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.3000s/source", arguments[1] ? arguments[1] : arguments[0]);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    CHECK(pwrite(fd, block, SIZE, 0) == SIZE);
    generations_t *all = write_generations(fd, block, SIZE);
    sigward_map *map;
#ifdef BARE
    unsigned round = 0;
    for (; round < BARE_ROUNDS; round++) {
        CHECK(sigward_snapshot(path_of("source"), &map) == 0);
        bool torn = !is_one(map, SIZE);
        CHECK(sigward_map_close(map) == 0);
        if (torn) break;
    }
    end_generations(all);
    CHECK(round < BARE_ROUNDS);
    SAY("torn\n");
#else
    unsigned whole[3] = {0}, changed = 0, distinct = 0, unproven = 0;
    /* Clones succeed whatever happens: so many, and until the writer has had a processor. */
    unsigned last = 256;
    for (unsigned round = 0; round < ROUNDS || (whole[1] > 0 && distinct < 2); round++) {
        sigward_snapshot_report report;
        write_at_work written = {.all = all};
        sigward_snapshot_options options = {.size = sizeof options,
                                            .memory_only = round % 5 == 0,
                                            .progress = note_write,
                                            .context = &written};
        int status = sigward_snapshot_with(path_of("source"), &options, &map, &report);
        bool may_tear = arguments[1] && written.halts;
        CHECK(status == 0 || status == -ESTALE);
        changed += status != 0;
        if (status != 0) continue;
        CHECK(is_one(map, SIZE) || (may_tear && report.moment != SIGWARD_MOMENT_PROVEN));
        unsigned first = *(const unsigned char *)sigward_map_data(map);
        distinct += first != last;
        last = first;
        whole[report.kind]++;
        unproven += report.moment != SIGWARD_MOMENT_PROVEN;
        sigward_map_close(map);
    }
    end_generations(all);
    CHECK(whole[1] + whole[2] + changed >= ROUNDS);
    SAY("%u clones, %u copies, %u changed, %u unproven\n", whole[1], whole[2], changed, unproven);
#endif
}

#ifndef BARE
static sigward_map *taken(uint32_t memory_only, sigward_snapshot_report *report) {
    sigward_snapshot_options options = {.size = sizeof options, .memory_only = memory_only};
    sigward_map *map;
    int status = sigward_snapshot_with(path_of("source"), &options, &map, report);
    if (status != 0) fprintf(stderr, "%s\n", strerror(-status));
    CHECK(status == 0);
    return map;
}

static void kind(void) {
    sigward_snapshot_report report, copy;
    close(new_file("source"));
    is_whole(taken(0, &report));
    is_whole(taken(1, &copy));
    CHECK(copy.kind == SIGWARD_SNAPSHOT_MEMORY && copy.memory == (LENGTH + PAGE - 1) / PAGE * PAGE);
    CHECK(report.memory == (report.kind == SIGWARD_SNAPSHOT_CLONE ? 0 : copy.memory));
    SAY("%s\n", kind_name(report.kind));
}

/* Bytes of snapshots in memory that this process has mapped and touched. (Before Linux 6.17
 * RssShmem may be some dozen pages behind for each processor.) */
static uint64_t memory_used(void) {
    char line[512];
    unsigned long long kib, used = 0;
    bool ours = false;
    FILE *areas = fopen("/proc/self/smaps", "r");
    CHECK(areas);
    while (fgets(line, sizeof line, areas)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) ours = strstr(line, "memfd:sigward-");
        else if (ours && sscanf(line, "Rss: %llu kB", &kib) == 1) used += kib;
    }
    fclose(areas);
    return used * 1024;
}

/* What is reported against what the kernel counts. Reads everything through addresses, as a user
 * would. */
static void memory(void) {
    enum { COPIES = 20 };
    sigward_map *maps[COPIES];
    sigward_snapshot_report report;
    uint64_t claimed = 0, before = memory_used();
    close(new_file("source"));
    for (int i = 0; i < COPIES; i++) {
        maps[i] = taken(0, &report);
        claimed += report.memory;
        is_whole(maps[i]);
    }
    uint64_t used = memory_used() - before;
    CHECK(report.kind == SIGWARD_SNAPSHOT_CLONE ? claimed == 0
                                                : claimed >= (uint64_t)COPIES * LENGTH);
    CHECK(used <= claimed + COPIES * PAGE && used + COPIES * PAGE >= claimed);
    for (int i = 0; i < COPIES; i++) sigward_map_close(maps[i]);
    CHECK(memory_used() <= before + PAGE);
}

/* The descriptor whose link names this. */
static int descriptor_of(const char *name) {
    char link[64], text[PATH_MAX];
    for (int fd = 3; fd < 64; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        if (strstr(text, name)) return fd;
    }
    return -1;
}

static void sealed(void) {
    sigward_snapshot_report report;
    close(new_file("source"));
    sigward_map *map = taken(1, NULL);
    int fd = descriptor_of("memfd:sigward-snapshot");
    CHECK(fd >= 0);
    int seals = fcntl(fd, F_GET_SEALS),
        wanted = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    CHECK((seals & wanted) == wanted);
    CHECK(ftruncate(fd, 0) == -1 && errno == EPERM);
    CHECK(ftruncate(fd, 2 * LENGTH) == -1 && errno == EPERM);
    CHECK(pwrite(fd, "x", 1, 0) == -1 && errno == EPERM);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == -1);
    CHECK(errno == EPERM);
    CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    is_whole(map);
    sigward_map_close(map);

    map = taken(0, &report);
    if (report.kind == SIGWARD_SNAPSHOT_CLONE) {
        struct stat file;
        char link[64];
        fd = descriptor_of("/#");
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        CHECK(fd >= 0 && fstat(fd, &file) == 0 && file.st_nlink == 0);
        CHECK((file.st_mode & 07777) == 0);
        CHECK(linkat(AT_FDCWD, link, AT_FDCWD, path_of("named"), AT_SYMLINK_FOLLOW) == -1);
        CHECK(errno == ENOENT);
        if (geteuid() == 0) { /* root may open anything */
            CHECK(setresuid(65534, 65534, 65534) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
            CHECK(open(link, O_WRONLY) == -1 && errno == EACCES);
        }
        is_whole(map);
    }
    SAY("%s\n", kind_name(report.kind));
}

struct told {
    uint64_t last, calls, stop_at;
};

static int tell(void *context, uint64_t done, uint64_t total) {
    struct told *told = context;
    CHECK(total == LENGTH && done <= total && (done >= told->last || done == 0));
    told->last = done;
    told->calls++;
    return done >= told->stop_at;
}

static void limits(void) {
    sigward_map *map = (void *)1;
    sigward_snapshot_report report;
    close(new_file("source"));
    for (uint32_t memory_only = 0; memory_only < 2; memory_only++) {
        struct told told = {0, 0, UINT64_MAX};
        sigward_snapshot_options options = {.size = sizeof options,
                                            .memory_only = memory_only,
                                            .limit = LENGTH,
                                            .progress = tell,
                                            .context = &told};
        CHECK(sigward_snapshot_with(path_of("source"), &options, &map, &report) == 0);
        CHECK(told.last == LENGTH);
        CHECK(told.calls >= (report.kind == SIGWARD_SNAPSHOT_CLONE ? 1 : LENGTH >> 18));
        is_whole(map);
        sigward_map_close(map);
        options.limit = LENGTH - 1;
        told = (struct told){0, 0, UINT64_MAX};
        CHECK(sigward_snapshot_with(path_of("source"), &options, &map, &report) == -EFBIG);
        CHECK(map == NULL);
        CHECK(told.calls == 0 && report.kind == 0 && report.memory == 0);
        options.limit = 0;
        for (uint64_t stop = 0; stop <= LENGTH; stop += LENGTH / 2) {
            told = (struct told){0, 0, stop};
            map = (void *)1;
            CHECK(sigward_snapshot_with(path_of("source"), &options, &map, &report) == -ECANCELED);
            CHECK(map == NULL);
            CHECK(told.last >= stop);
        }
    }
    CHECK(strlen(sigward_strerror(-ECANCELED)) > 20 && descriptor_of("sigward-snapshot") == -1);
}

struct changing {
    int fd;
    unsigned begun, changes;
};

static int change(void *context, uint64_t done, uint64_t total) {
    static unsigned char block[1 << 20];
    struct changing *changing = context;
    changing->begun += done == 0;
    if (done != total / 2 || changing->begun > changing->changes) return 0;
    memset(block, (int)changing->begun, sizeof block);
    CHECK(pwrite(changing->fd, block, sizeof block, 0) == sizeof block);
    return 0;
}

/* A copy is taken again when the file was written to meanwhile, and given up when that happens
 * every time. */
static void changes(void) {
    int fd = open(path_of("source"), O_RDWR | O_CREAT, 0644);
    CHECK(ftruncate(fd, 1 << 20) == 0);
    const unsigned times[] = {1, 9, 100};
    for (int i = 0; i < 3; i++) {
        sigward_map *map;
        struct changing changing = {fd, 0, times[i]};
        sigward_snapshot_options options = {
            .size = sizeof options, .memory_only = 1, .progress = change, .context = &changing};
        int status = sigward_snapshot_with(path_of("source"), &options, &map, NULL);
        CHECK(status == (i == 2 ? -ESTALE : 0) && changing.begun == (i == 2 ? 10 : times[i] + 1));
        if (status != 0) continue;
        const unsigned char *bytes = sigward_map_data(map);
        for (size_t at = 0; at < 1 << 20; at++) CHECK(bytes[at] == times[i]);
        sigward_map_close(map);
    }
}

/* Written to just before, and once more meanwhile: in one tick of the clock, before Linux 6.13
 * under one time. The copy is taken again all the same. */
static void same_tick(void) {
    int fd = open(path_of("source"), O_RDWR | O_CREAT, 0644);
    CHECK(ftruncate(fd, 1 << 20) == 0);
    for (int round = 0; round < 50; round++) {
        sigward_map *map;
        struct changing changing = {fd, 0, 1};
        sigward_snapshot_options options = {
            .size = sizeof options, .memory_only = 1, .progress = change, .context = &changing};
        CHECK(pwrite(fd, "", 1, 0) == 1);
        CHECK(sigward_snapshot_with(path_of("source"), &options, &map, NULL) == 0);
        CHECK(changing.begun == 2);
        sigward_map_close(map);
    }
}

/* A disk without room for anything: a clone takes none, or memory is taken. */
static void full(void) {
    sigward_snapshot_report report;
    int fd = new_file("source");
    fill_disk();
    sigward_map *map = taken(0, &report);
    CHECK(ftruncate(fd, 0) == 0);
    is_whole(map);
    SAY("%s\n", kind_name(report.kind));
}

static unsigned lines_of(const char *path) {
    unsigned lines = 0;
    int byte;
    FILE *file = fopen(path, "r");
    CHECK(file);
    while ((byte = fgetc(file)) != EOF) lines += byte == '\n';
    fclose(file);
    return lines;
}

static unsigned descriptors(void) {
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static int stop(void *context, uint64_t done, uint64_t total) {
    (void)context;
    return done > 0 && total > 0;
}

static void leaks(void) {
    unsigned before[2] = {0};
    close(new_file("source"));
    for (int round = 0; round < 60; round++) {
        for (uint32_t memory_only = 0; memory_only < 2; memory_only++) {
            sigward_snapshot_options options = {
                .size = sizeof options, .memory_only = memory_only, .limit = round % 2};
            sigward_map *map = taken(memory_only, NULL);
            sigward_map_close(map);
            options.progress = round % 2 ? NULL : stop;
            CHECK(sigward_snapshot_with(path_of("source"), &options, &map, NULL) ==
                  (round % 2 ? -EFBIG : -ECANCELED));
            CHECK(sigward_snapshot(arguments[0], &map) == -EISDIR);
        }
        if (round == 0) before[0] = descriptors(), before[1] = lines_of("/proc/self/maps");
    }
    CHECK(descriptors() == before[0] && lines_of("/proc/self/maps") <= before[1] + 1);
    /* Neither descriptors nor addresses to be had. */
    enum { LAST = 60 };
    struct rlimit limit;
    sigward_map *map;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = LAST + 1;
    for (int fd = 0; fd < LAST;) CHECK((fd = dup(0)) >= 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    for (int free = 0; free < 2; free++) {
        CHECK(sigward_snapshot(path_of("source"), &map) == -EMFILE && map == NULL);
        CHECK(dup(0) == (free ? LAST : -1));
        close(LAST);
    }
    close(LAST - 1);
    struct rlimit small = {1 << 20, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &small) == 0);
    CHECK(sigward_snapshot(path_of("source"), &map) == -ENOMEM && map == NULL);
    CHECK(dup(0) == LAST - 1 && dup(0) == LAST);
}

static void *take_many(void *unused) {
    for (int i = 0; i < 20; i++) {
        sigward_map *map;
        CHECK(sigward_snapshot(path_of("source"), &map) == 0);
        is_whole(map);
        CHECK(sigward_map_close(map) == 0);
    }
    return unused;
}

static void threads(void) {
    pthread_t thread[6];
    close(new_file("source"));
    usleep(20000);
    for (int i = 0; i < 6; i++) CHECK(pthread_create(&thread[i], NULL, take_many, NULL) == 0);
    for (int i = 0; i < 6; i++) CHECK(pthread_join(thread[i], NULL) == 0);
}

static void refuses(int expected, const char *path) {
    sigward_map *map = (void *)1;
    int status = sigward_snapshot(path, &map);
    if (status != -expected) fprintf(stderr, "%s: expected %d, got %d\n", path, expected, -status);
    CHECK(status == -expected && map == NULL);
}

static void bad(void) {
    sigward_map *map = (void *)1;
    sigward_snapshot_options options = {.size = sizeof options - 1};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    close(new_file("source"));
    refuses(EINVAL, NULL);
    CHECK(sigward_snapshot(path_of("source"), NULL) == -EINVAL);
    CHECK(sigward_snapshot_with(path_of("source"), &options, &map, NULL) == -EINVAL && map == NULL);
    options = (sigward_snapshot_options){.size = sizeof options, .memory_only = 2};
    CHECK(sigward_snapshot_with(path_of("source"), &options, &map, NULL) == -EINVAL && map == NULL);
    refuses(ENOENT, "");
    refuses(ENOENT, path_of("missing"));
    refuses(ENOTDIR, path_of("source/below"));
    refuses(EISDIR, arguments[0]);
    refuses(ENODEV, "/dev/null");
    CHECK(mkfifo(path_of("fifo"), 0600) == 0);
    refuses(ENODEV, path_of("fifo")); /* and does not wait */
    snprintf(name.sun_path, sizeof name.sun_path, "%.100s", path_of("socket"));
    if (bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name) == 0)
        refuses(ENODEV, path_of("socket"));
    CHECK(symlink("loop", path_of("loop")) == 0);
    refuses(ELOOP, path_of("loop"));
    /* A link is followed, also to another file system. */
    CHECK(symlink("/proc/version", path_of("link")) == 0);
    CHECK(sigward_snapshot(path_of("link"), &map) == 0 && sigward_map_len(map) > 10);
    char text[4096];
    int fd = open("/proc/version", O_RDONLY);
    CHECK(read(fd, text, sizeof text) == (ssize_t)sigward_map_len(map));
    CHECK(memcmp(text, sigward_map_data(map), sigward_map_len(map)) == 0);
    CHECK(sigward_map_close(map) == 0);
    /* Nothing is something, too. */
    CHECK(close(open(path_of("empty"), O_CREAT | O_WRONLY, 0644)) == 0);
    sigward_snapshot_report report = {.memory = 1, .kind = 1};
    CHECK(sigward_snapshot_with(path_of("empty"), NULL, &map, &report) == 0);
    CHECK(sigward_map_len(map) == 0);
    CHECK(report.memory == 0 && report.kind == SIGWARD_SNAPSHOT_MEMORY);
    CHECK(sigward_map_read_at(map, 0, text, 1) == 0 && sigward_map_data(map) != NULL);
    CHECK(sigward_map_verify(map) == 0 && sigward_map_refresh(map) == 0);
    CHECK(sigward_map_status(map, NULL) == 0);
    CHECK(sigward_map_populate(map, 0, 0) == 0 && sigward_map_flush(map) == 0);
    CHECK(sigward_map_close(map) == 0);
    /* Nobody writes to a snapshot. */
    CHECK(sigward_snapshot(path_of("source"), &map) == 0);
    CHECK(sigward_map_write_at(map, 0, "x", 1) == -EBADF);
    CHECK(sigward_map_close(map) == 0);
    /* Larger than all memory: at once, and nobody is killed for it. */
    fd = open(path_of("huge"), O_CREAT | O_RDWR, 0644);
    if (ftruncate(fd, (off_t)1 << 43) == 0 || ftruncate(fd, (off_t)1 << 41) == 0) {
        options = (sigward_snapshot_options){.size = sizeof options, .memory_only = 1};
        CHECK(sigward_snapshot_with(path_of("huge"), &options, &map, NULL) == -ENOMEM);
        CHECK(map == NULL);
    }
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) == 0) {
        CHECK(chmod(path_of("source"), 0) == -1);
        refuses(EACCES, "/proc/1/environ");
    }
}
#endif

/* In a control group with less memory than the file is long (tests/file/snapshot.rs). */
static void grouped(void) {
    const size_t large = 256 << 20;
    int fd = open(path_of("large"), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)large) == 0);
#ifdef BARE
    char *all = malloc(large);
    CHECK(all != NULL && read(fd, all, large) == (ssize_t)large);
#else
    const size_t small = 8 << 20;
    sigward_snapshot_options options = {.size = sizeof options, .memory_only = 1};
    sigward_map *map = NULL;
    CHECK(sigward_snapshot_with(path_of("large"), &options, &map, NULL) == -ENOMEM && map == NULL);
    CHECK(ftruncate(fd, (off_t)small) == 0);
    CHECK(sigward_snapshot_with(path_of("large"), &options, &map, NULL) == 0);
    CHECK(sigward_map_len(map) == small && sigward_map_close(map) == 0);
#endif
    SAY("lives\n");
}

SCENARIOS({"kept", kept}, {"size_limit", size_limit}, {"disk_lost", disk_lost},
          {"grouped", grouped}, {"generations", generations},
#ifndef BARE
          {"kind", kind}, {"memory", memory}, {"sealed", sealed}, {"limits", limits},
          {"changes", changes}, {"same_tick", same_tick}, {"full", full}, {"leaks", leaks},
          {"threads", threads}, {"bad", bad},
#endif
)
