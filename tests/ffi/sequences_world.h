/* What each thread of sequences.c has: files, descriptors, handles and memory, and a source of
 * numbers. */
#pragma once
#include "host.h"
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

enum { ROOM = 3 << 20, LONGEST_FILE = 2 << 20, VIEW = 65536, SLOTS = 4, GUARDS = 4, FDS = 20 };

/* Paths by their number. Up to INSIDE they may be written to, and all but LEASED are for all:
 * who opens that for writing would wait for its own lease. */
/* clang-format off */
enum {
    DATA, RECORDS, OTHER, FOLDER, FIFO, LINK, LOOP, DEVICE, INSIDE,
    GONE = INSIDE, DEEP, EMPTY, STATUS, MAPS, COMM, FULL, ROOT, NOWHERE, LEASED, PATHS
};
/* clang-format on */

/* Thread-safe functions are called with these by all threads, signal-safe ones by handlers, too. */
static sigward_map *shared_map;
static sigward_adopted *shared_adopted;
static sigward_lease *shared_lease;
static sigward_log *shared_log;
static atomic_bool segv_seat;

/* What a thread has. Its files are in a folder of its own, where others cut and replace them. */
struct world {
    uint64_t random;
    char paths[PATHS][PATH_MAX + 64];
    int fds[FDS], fd_count, leased;
    void *maps[SLOTS], *adopted[SLOTS], *leases[SLOTS], *logs[SLOTS], *readers[SLOTS],
        *replacements[SLOTS], *watches[SLOTS];
    void **fresh; /* where the last call was to put a handle */
    sigward_thread_guard guards[GUARDS], stray;
    int guards_entered;
    sigward_rows rows;
    uint64_t cursor, position;
    char *view; /* a mapping of the program's own, of the file `data` */
    char *buffer, *nowhere;
};

static uint64_t draw(struct world *w, uint64_t below) {
    w->random ^= w->random << 13, w->random ^= w->random >> 7, w->random ^= w->random << 17;
    return (w->random * 0x9e3779b97f4a7c15u >> 11) % below;
}
static bool once_in(struct world *w, uint64_t turns) { return draw(w, turns) == 0; }

static uint64_t pick(struct world *w, const uint64_t *from, size_t count) {
    return from[draw(w, count)];
}
#define ONE_OF(...)                                                                                \
    pick(w, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

static uint64_t number(struct world *w) {
    return once_in(w, 4) ? draw(w, UINT64_MAX >> draw(w, 64))
                         : ONE_OF(0, 1, 4095, 4096, 4097, 8192, 65536, LONGEST_FILE, INT32_MAX,
                                  1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX - 4095, UINT64_MAX);
}
static uint64_t near(struct world *w) { return once_in(w, 8) ? number(w) : draw(w, 70000); }
static size_t held(struct world *w) { return once_in(w, 8) ? draw(w, ROOM) : draw(w, 300); }
static int any_int(struct world *w) {
    return (int)ONE_OF(0, 1, 2, SIGPIPE, SIGBUS, SIGSEGV, SIGUSR1, 31, 32, 33, 64, 65, 4097,
                       INT_MAX, (uint64_t)-1, (uint64_t)-32, (uint64_t)-4097, (uint64_t)INT_MIN);
}

static const char *scratch; /* the folder of all */

static void write_file(const char *path, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);
    static const char bytes[4096] = "what is here is not what it was";
    if (fd < 0) return;
    for (size_t at = 0; at < length; at += sizeof bytes)
        if (pwrite(fd, bytes, sizeof bytes, (off_t)at) < 0) break;
    close(fd);
}

static int opened(struct world *w, int kind) {
    int ends[2];
    switch (kind) {
    case 0: return open(w->paths[DATA], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    case 1: return open(w->paths[DATA], O_RDONLY | O_CLOEXEC);
    case 2: return open(w->paths[OTHER], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    case 3: return open(w->paths[FOLDER], O_RDONLY | O_CLOEXEC);
    case 4: return open(w->paths[FOLDER], O_PATH | O_CLOEXEC);
    case 5: return open("/dev/full", O_RDWR | O_CLOEXEC);
    case 6: return open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    case 7: return open(w->paths[FIFO], O_RDWR | O_NONBLOCK | O_CLOEXEC);
    case 8: return broken_pipe();
    case 9: return memfd_create("sequences", MFD_CLOEXEC);
    case 10: return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    case 11:
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
        return close(ends[1]), ends[0];
    default: { /* its own peer */
        struct sockaddr_un own = {.sun_family = AF_UNIX};
        socklen_t length = sizeof own;
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        CHECK(fd >= 0 && bind(fd, (void *)&own, sizeof own.sun_family) == 0);
        CHECK(getsockname(fd, (void *)&own, &length) == 0);
        CHECK(connect(fd, (void *)&own, length) == 0);
        return fd;
    }
    }
}
enum { KINDS = 13, NONE = 4 };

static void map_view(struct world *w) {
    int fd = open(w->paths[DATA], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK(mmap(w->view, VIEW, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == w->view);
    close(fd);
}

static char *mapped(size_t length, int protection) {
    void *at = mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

/* The number of a folder says whose it is. */
static void prepare(struct world *w, uint64_t seed, int who) {
    static const char *const inside_names[] = {"data", "log",  "other",  "folder", "fifo",
                                               "link", "loop", "device", "gone",   "deep"};
    static const char *const outside[] = {
        "",  "/proc/self/status", "/proc/self/maps", "/proc/self/comm", "/dev/full",
        "/", "/nowhere/at/all"};
    char folder[256];
    w->random = seed * 0x2545f4914f6cdd1du + (uint64_t)who * 0x9e3779b97f4a7c15u + 1;
    snprintf(folder, sizeof folder, "%s/%d", scratch, who);
    CHECK(mkdir(folder, 0755) == 0);
    for (int i = 0; i <= DEEP; i++)
        snprintf(w->paths[i], sizeof *w->paths, "%s/%s", folder, inside_names[i]);
    memset(w->paths[DEEP] + strlen(folder) + 1, 'd', PATH_MAX);
    for (int i = EMPTY; i < LEASED; i++) strcpy(w->paths[i], outside[i - EMPTY]);
    snprintf(w->paths[LEASED], sizeof *w->paths, "%s/leased", folder);
    for (int i = 0; i <= OTHER; i++) write_file(w->paths[i], i == RECORDS ? 0 : draw(w, VIEW * 2));
    write_file(w->paths[LEASED], PATH_MAX);
    CHECK(mkdir(w->paths[FOLDER], 0755) == 0 && mkfifo(w->paths[FIFO], 0644) == 0);
    CHECK(symlink("data", w->paths[LINK]) == 0 && symlink("loop", w->paths[LOOP]) == 0);
    if (mknod(w->paths[DEVICE], S_IFCHR | 0644, makedev(1, 7)) != 0) CHECK(errno == EPERM);
    const int none[NONE] = {-1, INT_MIN, INT_MAX, 999};
    memcpy(w->fds, none, sizeof none);
    w->fd_count = FDS;
    for (int i = NONE; i < FDS; i++) w->fds[i] = opened(w, (i - NONE) % KINDS);
    CHECK((w->leased = open(w->paths[LEASED], O_RDONLY | O_CLOEXEC)) >= 0);
    w->buffer = mapped(ROOM, PROT_READ | PROT_WRITE);
    w->nowhere = mapped(4096, PROT_NONE);
    w->view = mapped(VIEW, PROT_NONE);
    map_view(w);
}

/* Takes away what the calls have left, by the functions that the manual names. */
static void close_handles(struct world *w) {
    for (int i = 0; i < SLOTS; i++) {
        CHECK((sigward_map_close)(w->maps[i]) == 0);
        CHECK((sigward_adopted_close)(w->adopted[i]) == 0);
        (void)(sigward_lease_release)(w->leases[i]);
        (void)(sigward_log_close)(w->logs[i]);
        CHECK((sigward_log_reader_close)(w->readers[i]) == 0);
        CHECK((sigward_watch_stop)(w->watches[i]) == 0);
        if (w->replacements[i] != NULL) CHECK(sigward_replacement_abort(w->replacements[i]) == 0);
    }
    while (w->guards_entered > 0)
        CHECK(sigward_thread_guard_leave(&w->guards[--w->guards_entered]) == 0);
    while (sigward_quiet_thread_leave() == 0) {}
}

static void finish(struct world *w) {
    close_handles(w);
    for (int i = NONE; i < FDS; i++)
        if (w->fds[i] >= 0) close(w->fds[i]);
    close(w->leased);
    CHECK(munmap(w->buffer, ROOM) == 0 && munmap(w->nowhere, 4096) == 0);
    CHECK(munmap(w->view, VIEW) == 0);
}
