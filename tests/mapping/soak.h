/* The chaos soak of guarded maps: every kind of thread at once on a pool of files, and an oracle
   that says of each byte that came back as good whether the file ever held it while it was read.

   The oracle. A file's byte is a keyed hash of (file, generation, offset) and never zero. A file is
   cut into blocks; whoever writes one takes its next generation before the first byte and settles
   it after the last. A reader notes the settled generation before it reads and the latest one
   afterwards: the byte must be of one in between. Two writers at once settle nothing, so the next
   reader accepts either.

   Zeros. Growth always writes content, from the start of the page that the file ends in. So no zero
   is ever right, with one exception that every kernel has: behind an end of file inside a page the
   page reads as zeros, without a signal. Those offsets are exempt, and then sigward_map_verify must
   say that the map has changed. Where pages are kept in larger folios (ext4, xfs, btrfs) the same
   is true of whole pages behind the end: a folio that is being written back when the file is cut
   cannot be split, and Linux maps the rest of it as zeros (xfstests generic/749). So only in memory
   (tmpfs) is a zero from a lost page always wrong; elsewhere it is while the file was longer all
   the time.

   Everything here lies in one shared anonymous mapping, so a forked child judges by the same state.
   Nothing blocks: a view that is taken is passed over, so a signal handler can read as well. */
#ifndef SOAK_H
#define SOAK_H

#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef NAIVE
#include "naive.h"
#else
#include "sigward.h"
#endif

enum {
    PAGE = 4096,
    BLOCK = 1024,
    PAGES = 32, /* the longest file */
    BLOCKS = PAGES * PAGE / BLOCK,
    LONGEST = PAGES * PAGE,
    SLOTS = 8,    /* names in the pool */
    FILES = 96,   /* files alive: the current ones, and unlinked ones that are still mapped */
    VIEWS = 24,   /* maps in the pool */
    THREADS = 32, /* at most */
};
#define INTACT UINT64_MAX

/* ---- soak_oracle.c: files and what is known of their bytes ---- */

struct file {
    atomic_uint references; /* 0: free */
    atomic_uint busy;       /* held while the length changes */
    uint64_t id;
    int fd;
    bool coarse;           /* pages may be lost without a signal */
    atomic_ullong length;  /* lowered before the file shrinks, raised after it has grown */
    atomic_ullong epoch;   /* odd while the length changes */
    atomic_ullong block[BLOCKS];
    atomic_uint tail[PAGES]; /* number of cuts inside this page << 16 | where the exempt rest begins
                              */
};

/* A name of the pool: a file is renamed over it now and then. */
struct slot {
    char path[256];
    _Atomic(struct file *) file;
    atomic_ullong replaced; /* odd during a rename */
};

bool file_reference(struct file *file);
void file_release(struct file *file);
struct file *file_any(void);                  /* referenced, or NULL */
struct file *file_of(struct slot *slot);      /* referenced */
struct file *file_new(const char *path, uint64_t length); /* referenced once for its maker */
void file_cut(struct file *file, uint64_t length); /* shrinks, the file's end may be inside a page
                                                    */
void file_grow(struct file *file, uint64_t length);
void file_rewrite(struct file *file, uint64_t from, uint64_t to); /* in place, block by block */
bool file_hold(struct file *file);            /* nobody else changes its length until file_let_go */
void file_let_go(struct file *file);

/* A write to the blocks from ≤ offset < to; the bytes to write are made in content. */
struct writing {
    struct file *file;
    uint64_t from, to;
    uint32_t generation[BLOCKS], settled[BLOCKS];
    bool raced[BLOCKS];
};
void writing_begin(struct writing *writing, struct file *file, uint64_t from, uint64_t to,
                   uint8_t *content);
/* good: how many bytes from `from` on are surely in the file. */
void writing_end(struct writing *writing, uint64_t good);
/* How many of the first `length` bytes of back are not what this write, or one that raced with it,
 * wrote. */
uint64_t writing_missing(const struct writing *writing, const uint8_t *back, uint64_t length);

/* What may be seen in from ≤ offset < to: noted before the bytes are read. */
struct sight {
    struct file *file;
    uint64_t from, to, epoch, length;
    bool private; /* copy on write: pages may keep an older generation */
    uint32_t settled[BLOCKS], tail[PAGES];
};
void sight_begin(struct sight *sight, struct file *file, uint64_t from, uint64_t to, bool private);
/* Judges the first `length` bytes. True if some were only excused as the rest of a page behind the
 * file's end. */
bool sight_judge(const struct sight *sight, const uint8_t *bytes, uint64_t length, const char *who);

/* ---- soak_views.c: maps in the pool, their readers and writers ---- */

struct view {
    atomic_int users; /* -1: being opened, closed or refreshed */
    sigward_map *map;
    _Atomic(struct file *) file;
    struct slot *slot;
    const uint8_t *data;
    uint64_t offset, length; /* in the file, in bytes */
    bool writable, private, no_descriptor;
    atomic_ullong floor; /* the file was never shorter while this was open */
};
bool view_read(struct view *view, unsigned how);
void view_check(struct view *view);
struct view *view_enter(void); /* any open one, shared; NULL if none was found at once */
void view_leave(struct view *view);
void view_close(struct view *view); /* entered alone */
void views_lower(struct file *file, uint64_t length);
void views_close_all(void);
void reader(void), writer(void), opener(void), refresher(void), stale_reader(void);
enum { HOW_READ_AT, HOW_POINTER, HOW_TRY_COPY, HOWS };

/* ---- soak_others.c: those who disturb ---- */

void truncator(void), grower(void), replacer(void), forker(void), noise(void), neighbour(void),
    foreigner(void);
void sink(void), sink_begin(void), adopter(void), piper(void);
void install_handlers(void), handle_pipes(void); /* before the guard comes */

/* ---- soak.c: the run ---- */

#define TALLIES(X)                                                                                 \
    X(reads)                                                                                       \
    X(bytes) X(flagged) X(exempt) X(writes) X(flushes) X(opens) X(refused) X(closes) X(refreshes)  \
        X(cuts) X(grows) X(replaces) X(rewrites) X(forks) X(signals) X(neighbours) X(foreign)      \
            X(stale) X(sinks) X(adopted) X(pipes)
#define WRONGS(X) /* each of these must stay 0 */                                                  \
    X(clobbers) X(stolen) X(lost) X(unflagged) X(wrong) X(overreach) X(liars) X(unexpected) X(leaks)
#define FIELD(name) atomic_ullong name;
struct shared {
    TALLIES(FIELD)
    WRONGS(FIELD)
    atomic_bool stop;
    atomic_uint told, next_id;
    struct slot slots[SLOTS];
    struct view views[VIEWS];
    struct file files[FILES];
};
extern struct shared *soak;
extern __thread unsigned own_number; /* of this thread among those of its kind */
extern pthread_t threads[THREADS];
extern unsigned thread_count;

#define COUNT(what) ((void)atomic_fetch_add(&soak->what, 1))
/* A violation: counted, told on stderr, and the end of the run. */
#define WRONG(what, ...)                                                                           \
    do {                                                                                           \
        COUNT(what);                                                                               \
        tell(#what, __VA_ARGS__);                                                                  \
    } while (0)
void tell(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A call that must succeed for the soak to mean anything. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (errno %s)\n", __FILE__, __LINE__, #condition,              \
                    strerror(errno));                                                              \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

uint64_t any(uint64_t below); /* a random number */
static inline bool going(void) { return !atomic_load(&soak->stop); }
static inline void rest(unsigned most_us) {
    struct timespec time = {.tv_nsec = (long)any(most_us) * 1000};
    nanosleep(&time, NULL);
}
static inline uint64_t up(uint64_t offset, uint64_t unit) {
    return (offset + unit - 1) / unit * unit;
}
static inline uint64_t down(uint64_t offset, uint64_t unit) { return offset / unit * unit; }
static inline uint64_t least(uint64_t one, uint64_t other) { return one < other ? one : other; }

#endif
