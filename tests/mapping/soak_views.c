/* Maps in the pool: those who open, read, write, refresh and close them. See soak.h. */
#include "soak.h"

#define CHUNK (2 * PAGE)

/* ---- taking a view: never waits ---- */

struct view *view_enter(void) {
    for (int tries = 0; tries < VIEWS; tries++) {
        struct view *view = &soak->views[any(VIEWS)];
        int users = atomic_load(&view->users);
        while (users >= 0)
            if (atomic_compare_exchange_weak(&view->users, &users, users + 1)) {
                if (view->map) return view;
                view_leave(view);
                break;
            }
    }
    return NULL;
}

void view_leave(struct view *view) { atomic_fetch_sub(&view->users, 1); }

static struct view *alone(void) {
    for (int tries = 0; tries < 4 * VIEWS; tries++) {
        struct view *view = &soak->views[any(VIEWS)];
        int nobody = 0;
        if (atomic_compare_exchange_strong(&view->users, &nobody, -1)) return view;
    }
    return NULL;
}

static void together(struct view *view) { atomic_store(&view->users, 0); }

static void lower(atomic_ullong *floor, uint64_t length) {
    unsigned long long now = atomic_load(floor);
    while (length < now && !atomic_compare_exchange_weak(floor, &now, length)) continue;
}

void views_lower(struct file *file, uint64_t length) {
    for (int i = 0; i < VIEWS; i++)
        if (soak->views[i].file == file) lower(&soak->views[i].floor, length);
}

/* ---- opening and closing ---- */

/* What an open may answer while the file is cut under it. */
static bool excusable(int status) {
    return status == -ENODATA || status == -ENXIO || status == -EFAULT;
}

static int open_file(struct view *view) {
    struct slot *slot = view->slot;
    sigward_map_options options = {.size = sizeof options};
    options.writable = any(3) == 0;
    options.copy_on_write = any(5) == 0;
    options.populate = any(8) == 0;
    options.no_descriptor = any(5) == 0;
    view->writable = options.writable;
    view->private = options.copy_on_write;
    view->no_descriptor = options.no_descriptor;
    uint64_t length = atomic_load(&view->file->length);
    if (any(3) == 0) view->offset = options.offset = any(length + 1);
    if (any(3) == 0 && length > options.offset) options.len = 1 + any(length - options.offset);
    if (!options.no_descriptor && any(3) == 0)
        return sigward_map_fd(view->file->fd, &options, &view->map);
    /* By its name: somebody may rename another file over it meanwhile, then nobody knows which one
     * this is. */
    uint64_t before = atomic_load(&slot->replaced);
    int status = sigward_map_open(slot->path, &options, &view->map);
    bool known = before % 2 == 0 && before == atomic_load(&slot->replaced) &&
                 view->file == atomic_load(&slot->file);
    if (status == 0 && !known) {
        sigward_map_close(view->map);
        return -ENODATA;
    }
    return status;
}

static void view_open(struct view *view) {
    view->slot = &soak->slots[any(SLOTS)];
    struct file *file = file_of(view->slot);
    view->offset = 0;
    view->writable = view->private = view->no_descriptor = false;
    /* The cutters must find it before the length is read. */
    atomic_store(&view->floor, UINT64_MAX);
    atomic_thread_fence(memory_order_seq_cst);
    view->file = file;
    atomic_thread_fence(memory_order_seq_cst);
    lower(&view->floor, atomic_load(&file->length));
    int status = open_file(view);
    if (status == 0) {
        view->data = sigward_map_data(view->map);
        view->length = sigward_map_len(view->map);
        COUNT(opens);
        return;
    }
    if (!excusable(status)) WRONG(unexpected, "open: %s", strerror(-status));
    COUNT(refused);
    view->map = NULL;
    view->file = NULL;
    file_release(file);
}

void view_close(struct view *view) {
    int status = sigward_map_close(view->map);
    if (status != 0) WRONG(unexpected, "close: %s", strerror(-status));
    struct file *file = view->file;
    view->map = NULL;
    view->file = NULL;
    file_release(file);
    COUNT(closes);
}

void views_close_all(void) {
    for (int i = 0; i < VIEWS; i++)
        if (soak->views[i].map) view_close(&soak->views[i]);
}

void opener(void) {
    while (going()) {
        struct view *view = alone();
        if (view) {
            if (view->map) view_close(view);
            else view_open(view);
            together(view);
        }
        rest(300);
    }
}

void refresher(void) {
    while (going()) {
        struct view *view = alone();
        if (view && view->map) {
            /* By its name it may become another file's: only where it is still the same is it
             * known. */
            uint64_t before = atomic_load(&view->slot->replaced);
            bool same = before % 2 == 0 && atomic_load(&view->slot->file) == view->file;
            if (same) {
                int status = sigward_map_refresh(view->map);
                view->data = sigward_map_data(view->map);
                view->length = sigward_map_len(view->map);
                COUNT(refreshes);
                if (status != 0 && !excusable(status))
                    WRONG(unexpected, "refresh: %s", strerror(-status));
                if (before != atomic_load(&view->slot->replaced)) view_close(view);
            }
        }
        if (view) together(view);
        rest(300);
    }
}

/* ---- reading ---- */

static uint64_t poison(const struct view *view) {
    return __atomic_load_n(sigward_map_poison_word(view->map), __ATOMIC_SEQ_CST);
}

/* What the map says of itself must fit together and with what the file was. */
void view_check(struct view *view) {
    sigward_fault fault;
    uint64_t before = poison(view);
    int status = sigward_map_status(view->map, &fault);
    uint64_t after = poison(view);
    /* It may know of a loss that the word will tell of in a moment, never the other way round. */
    bool right = status == 0 ? before == INTACT : status == 1 && fault.offset <= before;
    if (!right)
        WRONG(liars, "status %d, offset %lu, poison %lu to %lu", status, fault.offset, before,
              after);
    if (status != 1) return;
    COUNT(flagged);
    if (fault.cause != SIGWARD_CAUSE_TRUNCATED && fault.cause != SIGWARD_CAUSE_UNKNOWN)
        WRONG(liars, "cause %d, errno %d", fault.cause, fault.error);
    /* Cut and long enough again before the handler could look: then where it was cut nobody knows,
     * and all is lost. */
    uint64_t floor = atomic_load(&view->floor);
    bool unknown = after == 0 && floor < view->offset + view->length;
    if (view->offset + after < floor && !unknown)
        WRONG(overreach, "poison at %lu + %lu of a file that was never shorter than %lu; cause %d",
              view->offset, after, floor, fault.cause);
}

bool view_read(struct view *view, unsigned how) {
    static const char *const names[] = {"read_at", "pointer", "try_copy"};
    uint8_t bytes[CHUNK];
    uint64_t at = any(view->length), most = 1 + any(any(2) ? 64 : CHUNK);
    uint64_t length = least(most, view->length - at), good = length;
    struct sight sight;
    sight_begin(&sight, view->file, view->offset + at, view->offset + at + length, view->private);
    if (how == HOW_READ_AT) {
        ssize_t came = sigward_map_read_at(view->map, at, bytes, length);
        if (came < 0 ? came != -EFAULT || poison(view) > at : came == 0 || (uint64_t)came > length)
            WRONG(liars, "read_at %lu of %lu: %zd, poison %lu", length, view->length, came,
                  poison(view));
        good = came < 0 ? 0 : least((uint64_t)came, length);
    } else {
        if (how == HOW_TRY_COPY)
            good = least((uint64_t)sigward_try_copy(bytes, view->data + at, length), length);
        else if (any(2)) memcpy(bytes, view->data + at, length);
        else
            for (uint64_t i = 0; i < length; i++)
                bytes[i] = ((const volatile uint8_t *)view->data)[at + i];
        atomic_thread_fence(memory_order_seq_cst);
        uint64_t lost = poison(view);
        good = lost <= at ? 0 : least(good, lost - at);
    }
    bool excused = sight_judge(&sight, bytes, good, names[how]);
    if (excused && !view->private) {
        /* The file ends inside a page that we have read: the map must know that it has changed. */
        int status = sigward_map_verify(view->map);
        COUNT(exempt);
        if (status == 0 && sight.epoch % 2 == 0 && sight.epoch == atomic_load(&view->file->epoch))
            WRONG(liars, "verify does not see a file cut to %llu, mapped from %lu to %lu",
                  (unsigned long long)atomic_load(&view->file->length), view->offset,
                  view->offset + view->length);
    }
    return good == length;
}

void reader(void) {
    while (going()) {
        struct view *view = view_enter();
        if (view == NULL) continue;
        for (int i = 0; i < 8 && going(); i++)
            if (!view_read(view, (unsigned)any(HOWS))) view_check(view);
        if (any(16) == 0) {
            int status = sigward_map_populate(view->map, 0, view->length);
            if (status != 0 && status != -EFAULT)
                WRONG(unexpected, "populate: %s", strerror(-status));
        }
        view_leave(view);
    }
}

/* Reads what may have been unmapped long ago, through the checked copy: nobody may be harmed by
 * it. */
void stale_reader(void) {
    enum { KEPT = 8 };
    const uint8_t *seen[KEPT] = {0};
    uint8_t bytes[CHUNK];
    for (unsigned turn = 0; going(); turn++) {
        struct view *view = view_enter();
        if (view) {
            seen[turn % KEPT] = view->data + any(view->length);
            view_leave(view);
        }
        const uint8_t *old = seen[any(KEPT)];
        if (old == NULL) continue;
        for (int i = 0; i < 16; i++) sigward_try_copy(bytes, old, 1 + any(CHUNK));
        COUNT(stale);
    }
}

/* ---- writing ---- */

/* Into the map, by the call or by plain stores. Returns how many bytes are claimed to have
 * arrived. */
static uint64_t store(struct view *view, uint64_t at, const uint8_t *content, uint64_t length) {
    if (any(2)) {
        ssize_t came = sigward_map_write_at(view->map, at, content, length);
        if (came < 0 && came != -EFAULT) WRONG(unexpected, "write_at: %s", strerror((int)-came));
        return came < 0 ? 0 : least((uint64_t)came, length);
    }
    memcpy((uint8_t *)(uintptr_t)view->data + at, content, length);
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t lost = poison(view);
    return lost <= at ? 0 : least(length, lost - at);
}

static void write_once(struct view *view) {
    uint8_t content[4 * BLOCK], back[4 * BLOCK];
    uint64_t from = up(view->offset, BLOCK), to = down(view->offset + view->length, BLOCK);
    if (from >= to) return;
    from += any((to - from) / BLOCK) * BLOCK;
    to = from + least((1 + any(4)) * BLOCK, to - from);
    struct file *file = view->file;
    uint64_t epoch = atomic_load(&file->epoch), length = atomic_load(&file->length);
    struct writing writing;
    writing_begin(&writing, file, from, to, content);
    uint64_t kept = store(view, from - view->offset, content, to - from);
    bool flushed = false;
    if (any(2)) {
        flushed = sigward_map_flush(view->map) == 0;
        COUNT(flushes);
    }
    /* Flushed well, all must be there; else what was below the poison word. */
    if (flushed) kept = to - from;
    ssize_t there = pread(file->fd, back, to - from, (off_t)from);
    uint64_t missing =
        there <= 0 ? kept : writing_missing(&writing, back, least(kept, (uint64_t)there));
    bool steady = epoch % 2 == 0 && epoch == atomic_load(&file->epoch) && to <= length;
    if (steady && missing)
        WRONG(lost, "file %lu: %lu of %lu bytes at %lu, %s; poison %lu", file->id, missing,
              to - from, from, flushed ? "flushed" : "not flushed", poison(view));
    /* What is not surely in the file leaves the older content possible. */
    writing_end(&writing, steady ? kept : 0);
    COUNT(writes);
}

/* A page of a private map becomes ours; nothing of it may come to the file. */
static void write_private(struct view *view) {
    uint64_t at = any(view->length);
    uint8_t same;
    if (sigward_map_read_at(view->map, at, &same, 1) == 1)
        sigward_map_write_at(view->map, at, &same, 1);
}

void writer(void) {
    while (going()) {
        struct view *view = view_enter();
        if (view == NULL) continue;
        for (int i = 0; i < 4 && view->writable; i++) {
            if (view->private) write_private(view);
            else write_once(view);
        }
        view_leave(view);
        rest(50);
    }
}
