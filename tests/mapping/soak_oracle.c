/* Files, the bytes they hold, and the judgement of what was read. See soak.h. */
#include "soak.h"
#include <linux/magic.h>
#include <sys/vfs.h>

/* ---- bytes ---- */

/* Eight bytes of a file's content; each is odd, so none is zero. */
static uint64_t word(uint64_t id, uint32_t generation, uint64_t index) {
    uint64_t x = id * 0x9E3779B97F4A7C15 + ((uint64_t)generation << 40) + index;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return (x ^ (x >> 31)) | 0x0101010101010101;
}

static void fill(uint8_t *out, uint64_t id, uint32_t generation, uint64_t block) {
    for (uint64_t i = 0; i < BLOCK / 8; i++) {
        uint64_t bytes = word(id, generation, block * (BLOCK / 8) + i);
        memcpy(out + i * 8, &bytes, 8);
    }
}

static uint8_t byte(uint64_t id, uint32_t generation, uint64_t offset) {
    uint64_t bytes = word(id, generation, offset / 8);
    return (uint8_t)(bytes >> offset % 8 * 8);
}

/* ---- a block's generations: one word, so that signal handlers and other processes
 * can take part */

enum { GENERATION_BITS = 26, GENERATION_MASK = (1 << GENERATION_BITS) - 1 };
struct state {
    uint32_t started, settled, writers;
    bool raced;
};

static struct state unpack(uint64_t packed) {
    return (struct state){packed & GENERATION_MASK, packed >> GENERATION_BITS & GENERATION_MASK,
                          packed >> 2 * GENERATION_BITS & 255, packed >> 60 & 1};
}

static uint64_t pack(struct state state) {
    return state.started | (uint64_t)state.settled << GENERATION_BITS |
           (uint64_t)state.writers << 2 * GENERATION_BITS | (uint64_t)state.raced << 60;
}

void writing_begin(struct writing *writing, struct file *file, uint64_t from, uint64_t to,
                   uint8_t *content) {
    *writing = (struct writing){.file = file, .from = from, .to = to};
    for (uint64_t b = from / BLOCK; b < up(to, BLOCK) / BLOCK; b++) {
        unsigned long long old = atomic_load(&file->block[b]);
        struct state state;
        do {
            state = unpack(old);
            state.started++;
            state.raced |= state.writers > 0;
            state.writers++;
        } while (!atomic_compare_exchange_weak(&file->block[b], &old, pack(state)));
        writing->generation[b] = state.started;
        writing->settled[b] = state.settled;
        writing->raced[b] = state.raced;
        fill(content + (b * BLOCK - from), file->id, state.started, b);
    }
}

void writing_end(struct writing *writing, uint64_t good) {
    for (uint64_t b = writing->from / BLOCK; b < up(writing->to, BLOCK) / BLOCK; b++) {
        atomic_ullong *block = &writing->file->block[b];
        unsigned long long old = atomic_load(block);
        struct state state;
        do {
            state = unpack(old);
            if (--state.writers == 0) {
                bool whole = least((b + 1) * BLOCK, writing->to) <= writing->from + good;
                if (!state.raced && whole) state.settled = writing->generation[b];
                state.raced = false;
            }
        } while (!atomic_compare_exchange_weak(block, &old, pack(state)));
    }
}

uint64_t writing_missing(const struct writing *writing, const uint8_t *back, uint64_t length) {
    uint64_t missing = 0;
    for (uint64_t i = 0; i < length; i++) {
        uint64_t offset = writing->from + i, b = offset / BLOCK;
        uint32_t last = unpack(atomic_load(&writing->file->block[b])).started;
        uint32_t first = writing->raced[b] ? writing->settled[b] + 1 : writing->generation[b];
        bool found = false;
        for (uint32_t g = first; g <= last && !found; g++)
            found = back[i] == byte(writing->file->id, g, offset);
        missing += !found;
    }
    return missing;
}

/* ---- what a reader may see ---- */

void sight_begin(struct sight *sight, struct file *file, uint64_t from, uint64_t to, bool private) {
    sight->file = file;
    sight->from = from;
    sight->to = to;
    sight->private = private;
    sight->epoch = atomic_load(&file->epoch);
    sight->length = atomic_load(&file->length);
    for (uint64_t b = from / BLOCK; b < up(to, BLOCK) / BLOCK; b++)
        sight->settled[b] = private ? 1 : unpack(atomic_load(&file->block[b])).settled;
    for (uint64_t p = from / PAGE; p < up(to, PAGE) / PAGE; p++)
        sight->tail[p] = atomic_load(&file->tail[p]);
    atomic_thread_fence(memory_order_seq_cst);
}

/* Where the exempt rest of this page began at the lowest while the reader looked. */
static uint64_t exempt(const struct sight *sight, uint64_t page) {
    uint32_t then = sight->tail[page], now = atomic_load(&sight->file->tail[page]);
    if (then >> 16 != now >> 16) return page * PAGE;
    /* A private copy keeps the zeros that it was made with. */
    if (sight->private && now >> 16) return page * PAGE;
    return page * PAGE + least(then & 0xFFFF, now & 0xFFFF);
}

/* From where on a zero is nobody's fault in a coarse file. */
static uint64_t coarse_end(const struct sight *sight) {
    if (!sight->file->coarse) return UINT64_MAX;
    bool steady = sight->epoch == atomic_load(&sight->file->epoch) && !sight->private;
    return steady ? least(sight->length, atomic_load(&sight->file->length)) : 0;
}

/* One of the generations in between holds all of these bytes. */
static bool of_one(uint64_t id, uint32_t first, uint32_t last, uint64_t at, const uint8_t *bytes,
                   uint64_t length) {
    uint8_t expected[BLOCK];
    for (uint32_t g = last; g >= first && g > 0; g--) {
        fill(expected, id, g, at / BLOCK);
        if (memcmp(expected + at % BLOCK, bytes, length) == 0) return true;
    }
    return false;
}

bool sight_judge(const struct sight *sight, const uint8_t *bytes, uint64_t length,
                 const char *who) {
    bool excused = false;
    uint64_t end = sight->from + length, id = sight->file->id;
    atomic_thread_fence(memory_order_seq_cst);
    COUNT(reads);
    atomic_fetch_add(&soak->bytes, length);
    for (uint64_t at = sight->from, next; at < end; at = next) {
        uint64_t b = at / BLOCK;
        uint32_t first = sight->settled[b] + (sight->settled[b] == 0);
        uint32_t last = unpack(atomic_load(&sight->file->block[b])).started;
        next = least((b + 1) * BLOCK, end);
        if (of_one(id, first, last, at, bytes + (at - sight->from), next - at)) continue;
        uint64_t excuse = exempt(sight, at / PAGE);
        for (uint64_t i = at; i < next; i++) {
            uint8_t got = bytes[i - sight->from];
            bool found = false;
            for (uint32_t g = first; g <= last && !found; g++) found = got == byte(id, g, i);
            if (found) continue;
            if (i >= excuse || (got == 0 && i >= coarse_end(sight))) {
                excused = true;
                continue;
            }
            const char *said =
                "%s: file %lu, offset %lu (page %lu + %lu): %02x, generations %u to %u";
            unsigned long page = i / PAGE, inside = i % PAGE;
            if (got == 0) WRONG(unflagged, said, who, id, i, page, inside, got, first, last);
            if (got != 0) WRONG(wrong, said, who, id, i, page, inside, got, first, last);
            return excused;
        }
    }
    return excused;
}

/* ---- files ---- */

bool file_hold(struct file *file) {
    unsigned free = 0;
    return atomic_compare_exchange_strong(&file->busy, &free, 1);
}

void file_let_go(struct file *file) { atomic_store(&file->busy, 0); }

static void hold(struct file *file) {
    while (!file_hold(file)) sched_yield();
}

bool file_reference(struct file *file) {
    unsigned now = atomic_load(&file->references);
    while (now != 0)
        if (atomic_compare_exchange_weak(&file->references, &now, now + 1)) return true;
    return false;
}

void file_release(struct file *file) {
    /* Held: the descriptor is closed before the place can be another file's. */
    hold(file);
    if (atomic_fetch_sub(&file->references, 1) == 1) close(file->fd);
    file_let_go(file);
}

struct file *file_any(void) {
    for (int tries = 0; tries < FILES; tries++) {
        struct file *file = &soak->files[any(FILES)];
        if (file_reference(file)) return file;
    }
    return NULL;
}

struct file *file_of(struct slot *slot) {
    for (;;) {
        struct file *file = atomic_load(&slot->file);
        if (!file_reference(file)) continue;
        if (file == atomic_load(&slot->file)) return file;
        file_release(file);
    }
}

struct file *file_new(const char *path, uint64_t length) {
    for (unsigned i = (unsigned)any(FILES);; i = (i + 1) % FILES) {
        struct file *file = &soak->files[i];
        if (atomic_load(&file->references) != 0 || !file_hold(file)) continue;
        if (atomic_load(&file->references) == 0) {
            file->id = atomic_fetch_add(&soak->next_id, 1) + 1;
            file->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            struct statfs system;
            MUST(file->fd >= 0 && fstatfs(file->fd, &system) == 0);
            file->coarse = system.f_type != TMPFS_MAGIC;
            atomic_store(&file->length, 0);
            for (int b = 0; b < BLOCKS; b++) atomic_store(&file->block[b], 0);
            for (int p = 0; p < PAGES; p++) atomic_store(&file->tail[p], PAGE);
            file_grow(file, length);
            atomic_store(&file->references, 1);
            file_let_go(file);
            return file;
        }
        file_let_go(file);
    }
}

/* ---- changing a held file ---- */

static void tail_begins(struct file *file, uint64_t end) {
    if (end % PAGE == 0) return;
    atomic_uint *tail = &file->tail[end / PAGE];
    unsigned old = atomic_load(tail);
    atomic_store(tail, ((old >> 16) + 1) << 16 | (unsigned)least(old & 0xFFFF, end % PAGE));
}

static void no_tail(struct file *file, uint64_t page, uint64_t pages) {
    for (; page < pages; page++)
        atomic_store(&file->tail[page], (atomic_load(&file->tail[page]) & ~0xFFFFu) | PAGE);
}

void file_cut(struct file *file, uint64_t length) {
    uint64_t before = atomic_load(&file->length);
    if (length >= before) return;
    tail_begins(file, length);
    atomic_fetch_add(&file->epoch, 1);
    atomic_store(&file->length, length);
    views_lower(file, length);
    if (length == 0 && any(2)) {
        /* As `cp` over a file does it. */
        char again[64];
        snprintf(again, sizeof again, "/proc/self/fd/%d", file->fd);
        int fd = open(again, O_RDWR | O_TRUNC | O_CLOEXEC);
        MUST(fd >= 0 && close(fd) == 0);
    } else {
        MUST(ftruncate(file->fd, (off_t)length) == 0);
    }
    no_tail(file, up(length, PAGE) / PAGE, up(before, PAGE) / PAGE);
    atomic_fetch_add(&file->epoch, 1);
    COUNT(cuts);
}

static void put(struct file *file, uint64_t from, uint64_t to) {
    static __thread uint8_t content[LONGEST + PAGE];
    struct writing writing;
    writing_begin(&writing, file, from, to, content);
    MUST(pwrite(file->fd, content, to - from, (off_t)from) == (ssize_t)(to - from));
    writing_end(&writing, to - from);
}

void file_grow(struct file *file, uint64_t length) {
    uint64_t before = atomic_load(&file->length), from = down(before, PAGE);
    if (length <= before) return;
    tail_begins(file, length);
    atomic_fetch_add(&file->epoch, 1);
    put(file, from, length);
    atomic_store(&file->length, length);
    no_tail(file, from / PAGE, length / PAGE);
    atomic_uint *last = &file->tail[length / PAGE];
    if (length % PAGE)
        atomic_store(last, (atomic_load(last) & ~0xFFFFu) | (unsigned)(length % PAGE));
    atomic_fetch_add(&file->epoch, 1);
    COUNT(grows);
}

void file_rewrite(struct file *file, uint64_t from, uint64_t to) {
    put(file, down(from, BLOCK), least(up(to, BLOCK), atomic_load(&file->length)));
}
