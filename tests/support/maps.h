/* What the hosts of guarded maps share. Built bare, the names of sigward.h are plain mmap(2): what
 * a program has without us, so that the same lines die where the warded twin lives. */
#ifndef MAPS_H
#define MAPS_H

#include "host.h"
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define PAGE PAGE_BYTES
#define INTACT UINT64_MAX

#ifdef BARE
typedef struct sigward_map_options {
    size_t size;
    uint64_t offset, len;
    uint32_t writable, copy_on_write, populate, no_descriptor;
} sigward_map_options;
typedef struct sigward_fault {
    uint64_t offset, len_now, address, time_ns;
    int32_t cause, error, tid;
    uint32_t write;
    char thread[16];
} sigward_fault;
enum {
    SIGWARD_CAUSE_NONE,
    SIGWARD_CAUSE_TRUNCATED,
    SIGWARD_CAUSE_NO_SPACE,
    SIGWARD_CAUSE_IO,
    SIGWARD_CAUSE_HARDWARE,
    SIGWARD_CAUSE_UNKNOWN
};
typedef struct sigward_counters { uint64_t faults, patches, healed, maps; } sigward_counters;
typedef struct sigward_map {
    unsigned char *data;
    size_t len, before;
    int fd, writable;
} sigward_map;

static inline int sigward_map_fd(int fd, const sigward_map_options *options, sigward_map **out) {
    sigward_map_options all = {0};
    struct stat file;
    if (options == NULL) options = &all;
    if (fstat(fd, &file) != 0) return -errno;
    sigward_map map = {
        .fd = dup(fd), .before = options->offset % PAGE, .writable = (int)options->writable};
    map.len = options->len ? options->len : (size_t)file.st_size - options->offset;
    void *base =
        mmap(NULL, map.len + map.before, options->writable ? PROT_READ | PROT_WRITE : PROT_READ,
             options->copy_on_write ? MAP_PRIVATE : MAP_SHARED, fd,
             (off_t)(options->offset - map.before));
    if (base == MAP_FAILED) return -errno;
    map.data = (unsigned char *)base + map.before;
    *out = malloc(sizeof **out);
    **out = map;
    return 0;
}
static inline int sigward_map_open(const char *path, const sigward_map_options *options,
                                   sigward_map **out) {
    int fd = open(path, options && options->writable ? O_RDWR : O_RDONLY);
    int status = fd < 0 ? -errno : sigward_map_fd(fd, options, out);
    close(fd);
    return status;
}
typedef struct sigward_adopted { int unused; } sigward_adopted;
static inline int sigward_adopt_file(const char *path, sigward_adopted **out) {
    return (void)path, *out = NULL, 0;
}
static inline int sigward_adopt_range(const void *at, size_t len, int fd, off_t offset,
                                      sigward_adopted **out) {
    return (void)at, (void)len, (void)fd, (void)offset, *out = NULL, 0;
}
static inline int sigward_adopted_count(const sigward_adopted *adopted) { return (void)adopted, 0; }
static inline int sigward_adopted_status(const sigward_adopted *adopted, sigward_fault *out) {
    return (void)adopted, (void)out, 0;
}
static inline int sigward_adopted_take(sigward_adopted *adopted, sigward_fault *out) {
    return (void)adopted, (void)out, 0;
}
static inline int sigward_adopted_verify(const sigward_adopted *adopted) {
    return (void)adopted, 0;
}
static inline int sigward_adopted_sink(sigward_adopted *adopted, uint64_t bytes) {
    return (void)adopted, (void)bytes, 0;
}
static inline int sigward_adopted_heal(sigward_adopted *adopted) { return (void)adopted, 0; }
static inline int sigward_adopted_close(sigward_adopted *adopted) { return (void)adopted, 0; }
static inline int sigward_last_words(int fd) { return (void)fd, 0; }
static inline const void *sigward_map_data(const sigward_map *map) { return map->data; }
static inline size_t sigward_map_len(const sigward_map *map) { return map->len; }
static inline const uint64_t *sigward_map_poison_word(const sigward_map *map) {
    static const uint64_t intact = INTACT;
    return (void)map, &intact;
}
static inline ssize_t sigward_map_read_at(const sigward_map *map, uint64_t at, void *to,
                                          size_t len) {
    if (at >= map->len) return 0;
    if (len > map->len - at) len = map->len - at;
    memcpy(to, map->data + at, len);
    return (ssize_t)len;
}
static inline ssize_t sigward_map_write_at(sigward_map *map, uint64_t at, const void *from,
                                           size_t len) {
    if (len > map->len - at) len = map->len - at;
    memcpy(map->data + at, from, len);
    return (ssize_t)len;
}
static inline int sigward_map_status(const sigward_map *map, sigward_fault *out) {
    return (void)map, (void)out, 0;
}
static inline int sigward_map_verify(const sigward_map *map) { return (void)map, 0; }
static inline int sigward_map_refresh(sigward_map *map) { return (void)map, 0; }
static inline int sigward_map_populate(const sigward_map *map, uint64_t at, uint64_t len) {
    for (volatile unsigned char *next = map->data + at; next < map->data + at + len; next += PAGE)
        if (map->writable) *next = *next;
        else (void)*next;
    return 0;
}
static inline int sigward_map_flush(sigward_map *map) {
    return msync(map->data - map->before, map->len + map->before, MS_SYNC) == 0 ? 0 : -errno;
}
static inline int sigward_map_close(sigward_map *map) {
    munmap(map->data - map->before, map->len + map->before);
    close(map->fd);
    free(map);
    return 0;
}
static inline int sigward_sigbus_guard(void) { return 0; }
static inline int sigward_read_counters(sigward_counters *out) {
    *out = (sigward_counters){0};
    return 0;
}
#define WARDED 0
#else
#define WARDED 1
#endif

/* A condition that only the library can keep; a bare run that comes this far lives without it. */
#define WARD_CHECK(condition) CHECK(!WARDED || (condition))

/* ---- files ---- */

/* What stands at this offset of every file here: never zero, and no two pages alike. */
static inline unsigned char content(uint64_t offset) {
    return (unsigned char)(1 + (offset * 31 + offset / PAGE * 7) % 251);
}

static inline void fill(int fd, uint64_t from, uint64_t to) {
    unsigned char block[16 * PAGE];
    while (from < to) {
        size_t part = to - from < sizeof block ? (size_t)(to - from) : sizeof block;
        for (size_t i = 0; i < part; i++) block[i] = content(from + i);
        CHECK(pwrite(fd, block, part, (off_t)from) == (ssize_t)part);
        from += part;
    }
}

/* A path in the folder that is the first argument, of this process alone; the caller of the host
 * removes the folder. */
static inline const char *path_of(const char *name) {
    char *path = malloc(PATH_MAX); /* as long as the process */
    CHECK(arguments[0] != NULL && path != NULL);
    snprintf(path, PATH_MAX, "%s/%d-%s", arguments[0], (int)getpid(), name);
    return path;
}

/* A file of this length, filled. */
static inline const char *new_file(const char *name, uint64_t len) {
    const char *path = path_of(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    fill(fd, 0, len);
    close(fd);
    return path;
}

/* A descriptor of a file of this length, filled, without a name. */
static inline int nameless(uint64_t len) {
    char name[32];
    snprintf(name, sizeof name, "nameless-%d", (int)syscall(SYS_gettid));
    const char *path = new_file(name, len);
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && unlink(path) == 0);
    return fd;
}

/* ---- maps ---- */

static inline sigward_map *open_map(const char *path, const sigward_map_options *options) {
    sigward_map *map = NULL;
    int status = sigward_map_open(path, options, &map);
    if (status != 0) fprintf(stderr, "%s: %s\n", path, strerror(-status));
    CHECK(status == 0 && map != NULL);
    return map;
}

#define OPTIONS(...) (&(sigward_map_options){.size = sizeof(sigward_map_options), __VA_ARGS__})

static inline volatile unsigned char *bytes(const sigward_map *map) {
    return (volatile unsigned char *)sigward_map_data(map);
}

/* The word as a reader has to read it: after the data. */
static inline uint64_t poison(const sigward_map *map) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(sigward_map_poison_word(map), __ATOMIC_ACQUIRE);
}

/* Reads one byte by the pointer: a lost one is zero and leaves poison at or below it. */
static inline int touch(const sigward_map *map, uint64_t at) {
    int byte = bytes(map)[at];
    WARD_CHECK(byte != 0 || poison(map) <= at);
    return byte;
}

static inline sigward_fault status_of(const sigward_map *map) {
    sigward_fault fault = {0};
    int faulted = sigward_map_status(map, &fault);
    WARD_CHECK(faulted == 1);
    return fault;
}

static inline sigward_counters counters(void) {
    sigward_counters now = {0};
    CHECK(sigward_read_counters(&now) == 0);
    return now;
}

/* Bytes [at, at + len) of a map that begins at `start` of a file from above. */
static inline void holds(const sigward_map *map, uint64_t start, uint64_t at, size_t len) {
    unsigned char *copy = malloc(len + 1);
    CHECK(copy != NULL && sigward_map_read_at(map, at, copy, len) == (ssize_t)len);
    for (size_t i = 0; i < len; i++) CHECK(copy[i] == content(start + at + i));
    free(copy);
}

/* ---- mappings of others ---- */

static inline sigward_adopted *adopt(const void *data, size_t len, int fd, uint64_t offset) {
    sigward_adopted *adopted = NULL;
    CHECK(data != MAP_FAILED && sigward_adopt_range(data, len, fd, (off_t)offset, &adopted) == 0);
    return adopted;
}

/* The lowest lost offset in the file. */
static inline uint64_t loss_at(const sigward_adopted *adopted) {
    sigward_fault fault = {.offset = INTACT};
    return sigward_adopted_status(adopted, &fault) == 1 ? fault.offset : INTACT;
}

static inline sigward_fault loss_of(const sigward_adopted *adopted) {
    sigward_fault fault = {0};
    int lost = sigward_adopted_status(adopted, &fault);
    WARD_CHECK(lost == 1);
    return fault;
}

/* ---- huge pages ---- */

/* How large the kernel's are: 2 MiB, where pages are larger more. */
static inline size_t huge_page(void) {
    FILE *all = fopen("/proc/meminfo", "re");
    char line[128];
    size_t kib = 0;
    CHECK(all != NULL);
    while (kib == 0 && fgets(line, sizeof line, all) != NULL)
        (void)sscanf(line, "Hugepagesize: %zu kB", &kib);
    fclose(all);
    return kib << 10;
}

/* ---- losses ---- */

#define LOST_LENGTH (16 * PAGE)

/* A guarded map that has lost all but its first page. */
static inline sigward_map *lose(void) {
    const char *path = new_file("lost", LOST_LENGTH);
    sigward_map *map = open_map(path, NULL);
    CHECK(truncate(path, PAGE) == 0);
    return map;
}

/* A map that nobody guards; no byte of it is left. */
static inline unsigned char *foreign(void) {
    int fd = nameless(LOST_LENGTH);
    void *data = mmap(NULL, LOST_LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(data != MAP_FAILED && ftruncate(fd, 0) == 0);
    close(fd);
    return data;
}

static inline void survives(sigward_map *map) { CHECK(touch(map, 3 * PAGE) == 0); }

/* ---- handlers of the host's own ---- */

static volatile int calls __attribute__((unused));
static volatile siginfo_t seen __attribute__((unused));

static inline void note(int signal, siginfo_t *info, void *context) {
    CHECK(signal == SIGBUS && context != NULL);
    calls++, seen = *info;
}

/* As Rust's standard library: what it does not know gets its default back, and the instruction
 * another try. */
static inline void give_up(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    signal(number, SIG_DFL);
}

/* ---- one process for each row of a table ---- */

struct row {
    const char *name;
    void (*run)(long);
    long with;
};

/* Says of each row how its process ended: "NAME: exit 0", "NAME: signal 7". A row that hangs ends
 * with 14. */
static inline void run_rows(const struct row *rows, size_t count) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    for (size_t i = 0; i < count; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(patience(120));
            rows[i].run(rows[i].with);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        SAY("%s: %s %d\n", rows[i].name, WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

#define ROWS(rows) run_rows(rows, sizeof(rows) / sizeof *(rows))

#endif
