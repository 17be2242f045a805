/* A guard of maps as programs write it by themselves, in the manner of systemd's sigbus.c, with a
   table and a lock. The soak must find each of its defects (NAIVE=1 to 7; the numbers are those of
   `defects` below), and none in NAIVE=0: that shows the soak itself to be sound. Where a defect is
   a race, its window is held open for a while. */
#define _GNU_SOURCE 1
#include "naive.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum defects {
    NONE,
    POISON_LAST,     /* the poison word is stored after the page is replaced */
    NO_GRACE,        /* close does not wait for handlers in flight */
    PATCH_AGAIN,     /* who comes second to a lost page patches it as well */
    TWICE_IS_DEATH,  /* a second fault on a page is taken for no progress */
    FLUSH_LIES,      /* msync(2) of patched pages succeeds, and so does flush */
    PATCH_ANYTHING,  /* no look at whose page it is */
    NO_HANDLER,
};

enum { PAGE = 4096, TABLE = 64 };
struct sigward_map {
    uint8_t *base;        /* of the pages; data is a bit further */
    uint64_t size, first; /* of the pages, and their offset in the file */
    uint64_t skipped, length;
    uint64_t patched;     /* from this offset of the file on; UINT64_MAX: not at all */
    uint64_t poison;
    struct stat as_mapped;
    sigward_map_options options;
    char *path;
    int fd;
    pid_t patching; /* NO_GRACE: this process is at it, without the lock */
};
static sigward_map *table[TABLE];
static atomic_ullong faults, patches, healed;

static uint64_t down(uint64_t offset) { return offset / PAGE * PAGE; }
static uint64_t up(uint64_t offset) { return down(offset + PAGE - 1); }
static uint64_t least(uint64_t one, uint64_t other) { return one < other ? one : other; }

/* ---- one lock, taken with all signals blocked: the handler takes it too ---- */

static atomic_flag locked = ATOMIC_FLAG_INIT;

static void take(void) {
    while (atomic_flag_test_and_set(&locked)) sched_yield();
}
static void give(void) { atomic_flag_clear(&locked); }

static void lock(sigset_t *old) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, old);
    take();
}

static void unlock(const sigset_t *old) {
    give();
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

/* Who held it is not in the child. What it guards is whole at every moment: entries of the table,
   single numbers. (Taking it before a fork would be a deadlock: fork waits for malloc's lock, whose
   holder may fault in a signal handler.) */
static void in_child(void) { give(); }

/* ---- the handler ---- */

static struct sigaction previous_bus, previous_segv;
static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t copying;

/* Keeps the window of a race open. */
static void dawdle(enum defects defect) {
    struct timespec time = {.tv_nsec = defect == NO_GRACE ? 5000000 : 300000};
    if (NAIVE == defect) nanosleep(&time, NULL);
}

static sigward_map *find(const uint8_t *at) {
    for (int i = 0; i < TABLE; i++)
        if (table[i] && at >= table[i]->base && at < table[i]->base + table[i]->size)
            return table[i];
    return NULL;
}

static void zeros(uint8_t *from, uint64_t size, bool writable) {
    int access = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    if (mmap(from, size, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        abort();
    atomic_fetch_add(&patches, 1);
}

static void die(void) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(SIGBUS, &plain, NULL);
}

/* Locked, and unlocked afterwards. */
static void patch(sigward_map *map, const uint8_t *at) {
    uint64_t offset = map->first + (uint64_t)(at - map->base);
    struct stat now = {.st_size = (off_t)down(offset)}; /* without a descriptor: here it ends */
    if (map->fd >= 0) fstat(map->fd, &now);
    uint64_t length = (uint64_t)now.st_size,
             lost = up(length) > map->first ? up(length) : map->first;
    uint64_t end = least(map->first + map->size, map->patched);
    bool second = offset >= map->patched;
    if (second && NAIVE == TWICE_IS_DEATH) {
        give();
        return die();
    }
    /* A fault can be older than the map: the page is there by now, or this is a new map at an old
     * address. */
    uint8_t *first_lost = map->base + (lost - map->first);
    bool there =
        offset < lost || (map->fd < 0 && madvise(first_lost, PAGE, MADV_POPULATE_READ) == 0);
    if (there || (second && NAIVE != PATCH_AGAIN) || map->patching == getpid()) {
        atomic_fetch_add(&healed, 1);
        return give();
    }
    if (NAIVE == PATCH_AGAIN) end = map->first + map->size;
    uint64_t start = map->first + map->skipped,
             poison = least(map->poison, length > start ? length - start : 0);
    if (NAIVE != POISON_LAST) __atomic_store_n(&map->poison, poison, __ATOMIC_SEQ_CST);
    bool writable = map->options.writable;
    uint8_t *from = map->base + (lost - map->first);
    dawdle(PATCH_AGAIN);
    if (NAIVE == NO_GRACE) {
        map->patching = getpid();
        give(); /* the map may be gone from here on */
        dawdle(NO_GRACE);
        zeros(from, end - lost, writable);
        take();
        if (find(at) != map) return give();
        map->patching = 0;
    } else {
        zeros(from, end - lost, writable);
    }
    dawdle(POISON_LAST);
    map->patched = least(map->patched, lost);
    __atomic_store_n(&map->poison, poison, __ATOMIC_SEQ_CST);
    give();
}

static void handle(int signal, siginfo_t *info, void *context) {
    int saved = errno;
    uint8_t *at = info->si_addr;
    const struct sigaction *previous = signal == SIGBUS ? &previous_bus : &previous_segv;
    take();
    sigward_map *map = signal == SIGBUS ? find(at) : NULL;
    if (map) {
        atomic_fetch_add(&faults, 1);
        patch(map, at);
    } else {
        give();
        if (NAIVE == PATCH_ANYTHING && signal == SIGBUS)
            zeros((uint8_t *)down((uintptr_t)at), PAGE, true);
        else if (copying) siglongjmp(back, 1);
        else if (previous->sa_flags & SA_SIGINFO) previous->sa_sigaction(signal, info, context);
        else sigaction(signal, previous, NULL);
    }
    errno = saved;
}

static int take_over(int signal, struct sigaction *previous) {
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    return sigaction(signal, &action, previous);
}

int sigward_init(const void *options) {
    (void)options;
    return pthread_atfork(NULL, NULL, in_child);
}

int sigward_sigbus_guard(void) {
    return NAIVE == NO_HANDLER ? 0 : take_over(SIGBUS, &previous_bus);
}
int sigward_try_copy_segv(void) { return take_over(SIGSEGV, &previous_segv); }

ssize_t sigward_try_copy(void *dst, const void *src, size_t len) {
    volatile size_t done = 0;
    if (sigsetjmp(back, 1) == 0) {
        copying = 1;
        for (; done < len; done++)
            ((volatile uint8_t *)dst)[done] = ((const volatile uint8_t *)src)[done];
    }
    copying = 0;
    return (ssize_t)done;
}

/* ---- maps ---- */

static int table_change(sigward_map *from, sigward_map *to) {
    sigset_t old;
    int status = -ENOMEM;
    lock(&old);
    for (int i = 0; i < TABLE && status != 0; i++)
        if (table[i] == from) {
            table[i] = to;
            status = 0;
        }
    unlock(&old);
    return status;
}

/* Maps what the descriptor names; the descriptor is the map's afterwards. */
static int map_in(sigward_map *map) {
    uint64_t offset = map->options.offset;
    if (fstat(map->fd, &map->as_mapped) != 0) return -errno;
    uint64_t length = (uint64_t)map->as_mapped.st_size;
    if (length == 0) return -ENODATA;
    if (offset >= length) return -ENXIO;
    map->length = map->options.len ? least(map->options.len, length - offset) : length - offset;
    map->first = down(offset);
    map->skipped = offset - map->first;
    map->size = up(map->skipped + map->length);
    map->patched = map->poison = UINT64_MAX;
    int access = map->options.writable ? PROT_READ | PROT_WRITE : PROT_READ;
    int kind = map->options.copy_on_write ? MAP_PRIVATE : MAP_SHARED;
    map->base = mmap(NULL, map->size, access, kind, map->fd, (off_t)map->first);
    return map->base == MAP_FAILED ? -errno : 0;
}

static int opened(int fd, const char *path, const sigward_map_options *options, sigward_map **out) {
    if (fd < 0) return -errno;
    sigward_map *map = calloc(1, sizeof *map);
    map->fd = fd;
    map->options = *options;
    map->path = path ? strdup(path) : NULL;
    int status = map_in(map);
    if (status == 0) status = table_change(NULL, map);
    if (status != 0) {
        close(fd);
        free(map->path);
        free(map);
        return status;
    }
    if (options->populate) madvise(map->base, map->size, MADV_POPULATE_READ);
    *out = map;
    return 0;
}

static int open_again(const char *path, const sigward_map_options *options) {
    return open(path,
                (options->writable && !options->copy_on_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
}

int sigward_map_open(const char *path, const sigward_map_options *options, sigward_map **out) {
    return opened(open_again(path, options), path, options, out);
}

int sigward_map_fd(int fd, const sigward_map_options *options, sigward_map **out) {
    return opened(fcntl(fd, F_DUPFD_CLOEXEC, 3), NULL, options, out);
}

int sigward_map_close(sigward_map *map) {
    int status = table_change(map, NULL);
    munmap(map->base, map->size);
    if (map->fd >= 0) close(map->fd);
    free(map->path);
    free(map);
    return status;
}

int sigward_map_refresh(sigward_map *map) {
    sigward_map anew = *map;
    anew.fd = map->path ? open_again(map->path, &map->options) : fcntl(map->fd, F_DUPFD_CLOEXEC, 3);
    if (anew.fd < 0) return -errno;
    int status = map_in(&anew);
    if (status != 0) {
        close(anew.fd);
        return status;
    }
    sigward_map before = *map;
    table_change(map, NULL);
    *map = anew;
    table_change(NULL, map);
    munmap(before.base, before.size);
    close(before.fd);
    return 0;
}

const void *sigward_map_data(const sigward_map *map) { return map->base + map->skipped; }
size_t sigward_map_len(const sigward_map *map) { return map->length; }
const uint64_t *sigward_map_poison_word(const sigward_map *map) { return &map->poison; }

/* How much of this range is as it should be, looked at after the bytes. */
static ssize_t intact(const sigward_map *map, uint64_t offset, size_t len) {
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t poison = __atomic_load_n(&map->poison, __ATOMIC_SEQ_CST);
    return poison <= offset && len > 0 ? -EFAULT : (ssize_t)least(len, poison - offset);
}

ssize_t sigward_map_read_at(const sigward_map *map, uint64_t offset, void *buf, size_t len) {
    if (offset >= map->length) return 0;
    len = least(len, map->length - offset);
    memcpy(buf, map->base + map->skipped + offset, len);
    return intact(map, offset, len);
}

ssize_t sigward_map_write_at(sigward_map *map, uint64_t offset, const void *buf, size_t len) {
    if (offset >= map->length) return 0;
    len = least(len, map->length - offset);
    memcpy(map->base + map->skipped + offset, buf, len);
    return intact(map, offset, len);
}

int sigward_map_status(const sigward_map *map, sigward_fault *out) {
    uint64_t poison = __atomic_load_n(&map->poison, __ATOMIC_SEQ_CST);
    *out = (sigward_fault){.offset = poison, .cause = SIGWARD_CAUSE_TRUNCATED, .error = EFAULT};
    return poison != UINT64_MAX;
}

int sigward_map_verify(const sigward_map *map) {
    struct stat now, named;
    const struct stat *then = &map->as_mapped;
    if (__atomic_load_n(&map->poison, __ATOMIC_SEQ_CST) != UINT64_MAX) return -EFAULT;
    if (fstat(map->fd, &now) != 0) return -errno;
    if ((uint64_t)now.st_size < map->options.offset + map->length) return -EFAULT;
    bool same = memcmp(&now.st_ctim, &then->st_ctim, sizeof now.st_ctim) == 0 &&
                now.st_size == then->st_size;
    if (map->path && (stat(map->path, &named) != 0 || named.st_ino != now.st_ino)) same = false;
    return same ? 0 : -ESTALE;
}

int sigward_map_populate(const sigward_map *map, uint64_t offset, uint64_t len) {
    (void)offset, (void)len;
    return madvise(map->base, map->size, MADV_POPULATE_READ) == 0 ? 0 : -errno;
}

int sigward_map_flush(sigward_map *map) {
    if (msync(map->base, map->size, MS_SYNC) != 0) return -errno;
    bool whole = __atomic_load_n(&map->poison, __ATOMIC_SEQ_CST) == UINT64_MAX;
    return whole || NAIVE == FLUSH_LIES ? 0 : -EFAULT;
}

int sigward_read_counters(sigward_counters *out) {
    *out = (sigward_counters){.faults = faults, .patches = patches, .healed = healed};
    for (int i = 0; i < TABLE; i++) out->maps += table[i] != NULL;
    return 0;
}
