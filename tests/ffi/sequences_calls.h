/* Each function of sigward.h with arguments as a careless or hostile caller has them, within what
 * the manual allows: a handle is open or NULL, a buffer is as long as is said or the length is one
 * that is refused before anybody looks. The test fails if the table at the end lacks a function. */
#pragma once
#include "sequences_world.h"

/* ---- handles ---- */

static void *any(struct world *w, void *const slots[SLOTS], void *shared) {
    if (once_in(w, 4)) return shared;
    for (int i = 0; i < SLOTS; i++) {
        void *handle = slots[draw(w, SLOTS)];
        if (handle != NULL) return handle;
    }
    return NULL;
}
#define MAP any(w, w->maps, shared_map)
#define OWN_MAP any(w, w->maps, NULL)
#define ADOPTED any(w, w->adopted, shared_adopted)
#define OWN_ADOPTED any(w, w->adopted, NULL)
#define LEASE any(w, w->leases, shared_lease)
#define LOG any(w, w->logs, shared_log)
#define READER any(w, w->readers, NULL)
#define REPLACEMENT any(w, w->replacements, NULL)

/* Out of its slot, to be closed; NULL is allowed. */
static void *taken(struct world *w, void *slots[SLOTS]) {
    void **slot = &slots[draw(w, SLOTS)], *handle = *slot;
    *slot = NULL;
    return handle;
}

#define JUNK ((void *)8)
/* Room for a new handle, filled with what is none; NULL if the slot is taken. */
static void *fresh(struct world *w, void *slots[SLOTS]) {
    void **slot = &slots[draw(w, SLOTS)];
    if (*slot != NULL) return NULL;
    *slot = JUNK;
    return w->fresh = slot;
}

/* ---- paths, descriptors, memory ---- */

static const char *path(struct world *w) {
    return once_in(w, 40) ? NULL : w->paths[draw(w, LEASED)];
}
static const char *inside(struct world *w) {
    return once_in(w, 3) ? path(w) : w->paths[draw(w, FOLDER)];
}
static const char *log_path(struct world *w) {
    return once_in(w, 3) ? inside(w) : w->paths[RECORDS];
}
static const char *leasable(struct world *w) {
    if (!once_in(w, 3)) return w->paths[LEASED];
    return w->paths[ONE_OF(FOLDER, FIFO, DEEP, EMPTY, STATUS, FULL, ROOT, NOWHERE)];
}
/* Where something may be put: nothing of the machine's own. */
static const char *target(struct world *w) {
    return once_in(w, 40) ? NULL : w->paths[draw(w, INSIDE)];
}
/* Where most often nothing is. */
static const char *absent(struct world *w) {
    if (once_in(w, 4)) return target(w);
    unlink(w->paths[OTHER]);
    return w->paths[OTHER];
}
static int fd(struct world *w) { return w->fds[draw(w, (uint64_t)w->fd_count)]; }
static void *buffer(struct world *w) { return once_in(w, 30) ? NULL : w->buffer; }

/* For what the kernel alone reads: memory that nobody may read as well. */
static struct iovec slice(struct world *w) {
    if (once_in(w, 6)) return (struct iovec){w->nowhere, number(w)};
    if (once_in(w, 6)) return (struct iovec){NULL, number(w)};
    return (struct iovec){w->buffer, held(w)};
}
static struct iovec *slices(struct world *w) {
    static _Thread_local struct iovec all[1030];
    for (size_t i = 0; i < 4; i++) all[i] = slice(w);
    for (size_t i = 4; i < 1030; i++) all[i] = (struct iovec){w->buffer, 1};
    return once_in(w, 10) ? (struct iovec *)w->nowhere : all;
}
static struct mmsghdr *messages(struct world *w) {
    static _Thread_local struct mmsghdr all[4];
    for (size_t i = 0; i < 4; i++) {
        bool control = once_in(w, 6);
        all[i].msg_hdr = (struct msghdr){.msg_iov = slices(w),
                                         .msg_iovlen = ONE_OF(0, 1, 2, 4, 1025),
                                         .msg_control = control ? w->buffer : NULL,
                                         .msg_controllen = control ? draw(w, 200) : 0};
    }
    return all;
}
static off_t *place(struct world *w) {
    static _Thread_local off_t at;
    at = (off_t)number(w);
    return once_in(w, 2) ? NULL : &at;
}

/* ---- structs ---- */

/* Options behind each other in memory of 8 KiB, so that every size that is read is there. */
static void *options(struct world *w, size_t size, const void *fields) {
    static _Thread_local uint64_t memory[1024];
    if (once_in(w, 6)) return NULL;
    memset(memory, 0, sizeof memory);
    memcpy(memory, fields, size);
    memory[0] = size;
    if (once_in(w, 10)) memory[0] = ONE_OF(0, 1, 8, 40, size - 1, size + 1, 4096, 4097, UINT64_MAX);
    if (once_in(w, 20)) memory[size / 8 + draw(w, 500)] = number(w); /* and no pointer's place */
    return memory;
}
#define OPTIONS(type, ...) options(w, sizeof(type), &(type){0, __VA_ARGS__})
static uint32_t flag(struct world *w) { return once_in(w, 4) ? (uint32_t)number(w) % 3 : 0; }
static uint64_t offset_or_none(struct world *w) { return once_in(w, 2) ? 0 : near(w); }

static void *init_options(struct world *w) {
    uint32_t flags = once_in(w, 20) ? (uint32_t)number(w) : (uint32_t)draw(w, 32);
    return OPTIONS(sigward_options, (uint32_t)draw(w, 4), flags & ~(uint32_t)SIGWARD_NO_EVENTS);
}
static void *map_options(struct world *w) {
    uint32_t writable = flag(w);
    if (once_in(w, 3)) /* the one that grows */
        return OPTIONS(sigward_map_options, 0, 0, 1, 0, flag(w), 0, near(w) * 16, flag(w), 0);
    return OPTIONS(sigward_map_options, offset_or_none(w), offset_or_none(w), writable, flag(w),
                   flag(w), flag(w), once_in(w, 4) ? number(w) : 0, flag(w), 0);
}
static void *log_options(struct world *w) {
    return OPTIONS(sigward_log_options, once_in(w, 6) ? number(w) : LONGEST_FILE,
                   once_in(w, 6) ? number(w) : 4096, flag(w), flag(w));
}
static int progress(void *context, uint64_t done, uint64_t total) {
    return done > total || (context != NULL && once_in(context, 3));
}
static void *snapshot_options(struct world *w) {
    sigward_snapshot_options fields = {
        0,       once_in(w, 3) ? number(w) : 0,   flag(w),
        flag(w), once_in(w, 2) ? progress : NULL, once_in(w, 2) ? w : NULL};
    return options(w, sizeof fields, &fields);
}
static void *replacement_options(struct world *w) {
    return OPTIONS(sigward_replacement_options, flag(w), flag(w), (uint32_t)near(w) & 07777,
                   flag(w));
}
/* Room for what the library fills, as much as any size that it does not refuse. */
static void *filled(struct world *w) {
    static _Thread_local uint64_t room[600];
    return once_in(w, 30) ? NULL : room;
}
static size_t size(struct world *w, size_t known) {
    return once_in(w, 3) ? ONE_OF(0, 1, 24, known - 8, known + 8, 4096, 4097, UINT64_MAX) : known;
}
static sigward_event *event(struct world *w) {
    static _Thread_local sigward_event one;
    unsigned char *bytes = (unsigned char *)&one;
    uint64_t cursor = draw(w, 600);
    if (once_in(w, 3)) (sigward_read_events)(&cursor, &one, 1);
    if (once_in(w, 3))
        for (size_t i = 0; i < sizeof one; i++) bytes[i] = (unsigned char)draw(w, 256);
    return once_in(w, 30) ? NULL : &one;
}

static void report(const sigward_event *event, uint64_t missed, uint64_t suppressed,
                   void *context) {
    char line[100];
    CHECK(context == NULL);
    if (event == NULL)
        CHECK(missed + suppressed > 0);
    else
        CHECK(sigward_event_format(event, line, sizeof line) > 0);
}

/* ---- places in memory ---- */

/* Where a checked copy may read from: mapped files, and with the seat for SIGSEGV anything. */
static const void *source(struct world *w) {
    sigward_bytes look;
    if (segv_seat && once_in(w, 4)) return w->nowhere;
    if (once_in(w, 3) || sigward_map_look(MAP, &look) != 0 || look.len < VIEW) return w->view;
    return look.data;
}
static sigward_thread_guard *guard_to_enter(struct world *w) {
    return w->guards_entered == GUARDS || once_in(w, 20) ? NULL : &w->guards[w->guards_entered++];
}
static sigward_thread_guard *guard_to_leave(struct world *w) {
    if (once_in(w, 10)) return NULL;
    return w->guards_entered == 0 ? &w->stray : &w->guards[--w->guards_entered];
}
static int *signals(struct world *w) {
    static _Thread_local int some[64];
    for (size_t i = 0; i < 64; i++)
        some[i] = once_in(w, 100) ? any_int(w)
                                  : (int)ONE_OF(SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ, SIGSYS);
    return once_in(w, 10) ? NULL : some;
}

/* ---- the table ---- */

/* What an answer may be: CODE is 0 or more, or a negative errno; NOT_CUT is such, and never -EINTR;
 * TEXT is never NULL; MAKES has put a handle, or NULL, where it was told to; FREE is anything. */
enum kind { CODE, NOT_CUT, TEXT, MAKES, FREE };

/* clang-format off */
#define CALLS(X) \
    X(NOT_CUT, 4, sigward_init, (init_options(w))) \
    X(NOT_CUT, 2, sigward_ensure_on_top, ()) \
    X(NOT_CUT, 1, sigward_sigpipe_ignore, ()) \
    X(NOT_CUT, 2, sigward_sigpipe_filter, ()) \
    X(NOT_CUT, 2, sigward_sigpipe_restore, ()) \
    X(NOT_CUT, 2, sigward_sigpipe_status, (filled(w))) \
    X(NOT_CUT, 2, sigward_sigpipe_status_sized, \
      (filled(w), size(w, sizeof(sigward_sigpipe_report)))) \
    X(NOT_CUT, 2, sigward_repair, (any_int(w))) \
    X(NOT_CUT, 1, sigward_repair_all, ()) \
    X(NOT_CUT, 4, sigward_quiet_thread_enter, ()) \
    X(NOT_CUT, 4, sigward_quiet_thread_leave, ()) \
    X(NOT_CUT, 1, sigward_status, (filled(w))) \
    X(NOT_CUT, 1, sigward_status_sized, (filled(w), size(w, sizeof(sigward_status_report)))) \
    X(TEXT, 4, sigward_reason_text, (any_int(w))) \
    X(NOT_CUT, 1, sigward_audit_json, (once_in(w, 5) ? w->buffer : NULL, held(w))) \
    X(NOT_CUT, 2, sigward_rows_save, (once_in(w, 10) ? NULL : &w->rows)) \
    X(NOT_CUT, 1, sigward_rows_restore, (once_in(w, 10) ? NULL : &w->rows)) \
    X(NOT_CUT, 4, sigward_read_counters, (filled(w))) \
    X(NOT_CUT, 4, sigward_read_counters_sized, (filled(w), size(w, sizeof(sigward_counters)))) \
    X(NOT_CUT, 4, sigward_read_events, \
      (once_in(w, 20) ? NULL : &w->cursor, buffer(w), once_in(w, 9) ? UINT64_MAX : draw(w, 99))) \
    X(NOT_CUT, 4, sigward_read_events_sized, \
      (once_in(w, 20) ? NULL : &w->cursor, buffer(w), draw(w, 99), \
       size(w, sizeof(sigward_event)))) \
    X(NOT_CUT, 1, sigward_explain, ()) \
    X(NOT_CUT, 2, sigward_explain_signals, \
      (signals(w), once_in(w, 9) ? 64 + number(w) % (SIZE_MAX - 64) : draw(w, 7))) \
    X(NOT_CUT, 4, sigward_last_words_json, (any_int(w))) \
    X(NOT_CUT, 4, sigward_last_words, (fd(w))) \
    X(NOT_CUT, 4, sigward_event_format, (event(w), buffer(w), held(w))) \
    X(TEXT, 4, sigward_event_operation, (event(w))) \
    X(NOT_CUT, 4, sigward_event_library, (event(w), buffer(w), held(w))) \
    X(MAKES, 4, sigward_watch_start, \
      ((uint32_t)ONE_OF(0, 1, 1, 2, 5, UINT32_MAX), once_in(w, 20) ? NULL : report, NULL, \
       fresh(w, w->watches))) \
    X(NOT_CUT, 6, sigward_watch_stop, (taken(w, w->watches))) \
    X(CODE, 8, sigward_write, \
      (fd(w), slice(w).iov_base == w->nowhere ? w->nowhere : w->buffer, held(w))) \
    X(CODE, 8, sigward_writev, \
      (fd(w), slices(w), (int)ONE_OF(0, 1, 2, 4, 1024, 1025, (uint64_t)-1))) \
    X(CODE, 8, sigward_send, (fd(w), w->buffer, held(w), (int)number(w) & ~MSG_ZEROCOPY)) \
    X(CODE, 8, sigward_sendto, \
      (fd(w), w->buffer, held(w), MSG_DONTWAIT, once_in(w, 2) ? NULL : (void *)w->buffer, \
       (socklen_t)near(w))) \
    X(CODE, 8, sigward_sendmsg, \
      (fd(w), once_in(w, 9) ? NULL : &messages(w)->msg_hdr, MSG_DONTWAIT)) \
    X(CODE, 4, sigward_sendmmsg, \
      (fd(w), once_in(w, 9) ? NULL : messages(w), (unsigned)draw(w, 5), MSG_DONTWAIT)) \
    X(CODE, 8, sigward_sendfile, (fd(w), fd(w), place(w), number(w))) \
    X(CODE, 8, sigward_splice, \
      (fd(w), place(w), fd(w), place(w), number(w), \
       SPLICE_F_NONBLOCK | (once_in(w, 9) ? (unsigned)number(w) : 0))) \
    X(NOT_CUT, 4, sigward_set_nosigpipe, (once_in(w, 4) ? any_int(w) : fd(w))) \
    X(NOT_CUT, 4, sigward_thread_guard_enter, (guard_to_enter(w))) \
    X(NOT_CUT, 6, sigward_thread_guard_leave, (guard_to_leave(w))) \
    X(MAKES, 12, sigward_map_open, (inside(w), map_options(w), fresh(w, w->maps))) \
    X(MAKES, 6, sigward_map_fd, (fd(w), map_options(w), fresh(w, w->maps))) \
    X(FREE, 8, sigward_map_data, (MAP)) \
    X(FREE, 8, sigward_map_len, (MAP)) \
    X(FREE, 8, sigward_map_poison_word, (MAP)) \
    X(NOT_CUT, 30, sigward_map_read_at, (MAP, near(w), buffer(w), near(w) % ROOM)) \
    X(NOT_CUT, 30, sigward_map_write_at, (MAP, near(w), buffer(w), near(w) % ROOM)) \
    X(NOT_CUT, 8, sigward_map_status, (MAP, filled(w))) \
    X(NOT_CUT, 8, sigward_map_status_sized, (MAP, filled(w), size(w, sizeof(sigward_fault)))) \
    X(NOT_CUT, 8, sigward_map_verify, (MAP)) \
    X(NOT_CUT, 8, sigward_map_refresh, (OWN_MAP)) \
    X(NOT_CUT, 6, sigward_map_populate, (MAP, near(w), near(w))) \
    X(NOT_CUT, 8, sigward_map_grow, (MAP, once_in(w, 5) ? number(w) : near(w) * 8)) \
    X(NOT_CUT, 8, sigward_map_follow, (MAP)) \
    X(FREE, 8, sigward_map_capacity, (MAP)) \
    X(NOT_CUT, 8, sigward_map_look, (MAP, filled(w))) \
    X(NOT_CUT, 6, sigward_map_flush, (MAP)) \
    X(NOT_CUT, 14, sigward_map_close, (taken(w, w->maps))) \
    X(NOT_CUT, 1, sigward_map_retire, (taken(w, w->maps))) \
    X(NOT_CUT, 4, sigward_sigbus_guard, ()) \
    X(NOT_CUT, 4, sigward_sigbus_restore, ()) \
    X(FREE, 8, sigward_thread_check, ()) \
    X(MAKES, 8, sigward_adopt_file, (inside(w), fresh(w, w->adopted))) \
    X(MAKES, 8, sigward_adopt_range, \
      (once_in(w, 3) ? w->buffer + number(w) % ROOM : w->view, near(w), \
       once_in(w, 2) ? -1 : fd(w), (off_t)offset_or_none(w), fresh(w, w->adopted))) \
    X(NOT_CUT, 2, sigward_adopted_count, (ADOPTED)) \
    X(NOT_CUT, 8, sigward_adopted_status, (ADOPTED, filled(w))) \
    X(NOT_CUT, 8, sigward_adopted_status_sized, \
      (ADOPTED, filled(w), size(w, sizeof(sigward_fault)))) \
    X(FREE, 8, sigward_adopted_poison_word, (ADOPTED)) \
    X(NOT_CUT, 6, sigward_adopted_take, (ADOPTED, filled(w))) \
    X(NOT_CUT, 6, sigward_adopted_take_sized, \
      (ADOPTED, filled(w), size(w, sizeof(sigward_fault)))) \
    X(NOT_CUT, 6, sigward_adopted_verify, (ADOPTED)) \
    X(NOT_CUT, 6, sigward_adopted_sink, (ADOPTED, number(w))) \
    X(NOT_CUT, 6, sigward_adopted_heal, (OWN_ADOPTED)) \
    X(NOT_CUT, 10, sigward_adopted_close, (taken(w, w->adopted))) \
    X(NOT_CUT, 20, sigward_try_copy, \
      (buffer(w), source(w), \
       once_in(w, 9) ? (size_t)SSIZE_MAX + 1 + number(w) % 4096 : draw(w, VIEW))) \
    X(NOT_CUT, 1, sigward_try_copy_segv, ()) \
    X(NOT_CUT, 4, sigward_reserve, (fd(w), near(w), near(w))) \
    X(NOT_CUT, 4, sigward_reserve_slowly, (fd(w), near(w), near(w))) \
    X(NOT_CUT, 6, sigward_replace_file, (path(w), target(w))) \
    X(MAKES, 8, sigward_replacement_open, \
      (target(w), replacement_options(w), fresh(w, w->replacements))) \
    X(NOT_CUT, 10, sigward_replacement_write, (REPLACEMENT, buffer(w), held(w))) \
    X(NOT_CUT, 6, sigward_replacement_fd, (REPLACEMENT)) \
    X(NOT_CUT, 6, sigward_replacement_commit, (taken(w, w->replacements))) \
    X(NOT_CUT, 4, sigward_replacement_abort, (taken(w, w->replacements))) \
    X(MAKES, 6, sigward_lease_take, \
      (leasable(w), \
       fresh(w, w->leases))) \
    X(MAKES, 2, sigward_lease_of, \
      (once_in(w, 3) ? (int)ONE_OF((uint64_t)-1, INT_MAX, 999) : w->leased, \
       fresh(w, w->leases))) \
    X(NOT_CUT, 8, sigward_lease_file, (LEASE)) \
    X(NOT_CUT, 8, sigward_lease_fd, (LEASE)) \
    X(NOT_CUT, 8, sigward_lease_is_wanted, (LEASE)) \
    X(NOT_CUT, 4, sigward_lease_wait, (LEASE, (int)draw(w, 3))) \
    X(NOT_CUT, 8, sigward_lease_check, (LEASE)) \
    X(NOT_CUT, 8, sigward_lease_time_left_ms, (LEASE)) \
    X(NOT_CUT, 8, sigward_lease_release, (taken(w, w->leases))) \
    X(MAKES, 4, sigward_log_open, \
      (log_path(w), log_options(w), once_in(w, 2) ? NULL : filled(w), fresh(w, w->logs))) \
    X(MAKES, 4, sigward_log_open_sized, \
      (log_path(w), log_options(w), filled(w), fresh(w, w->logs), \
       size(w, sizeof(sigward_log_recovery)))) \
    X(NOT_CUT, 20, sigward_log_append, \
      (LOG, buffer(w), once_in(w, 9) ? (1ull << 30) + number(w) / 2 : held(w), \
       once_in(w, 2) ? NULL : &w->position)) \
    X(NOT_CUT, 4, sigward_log_flush, (LOG, once_in(w, 2) ? NULL : &w->position)) \
    X(FREE, 8, sigward_log_end, (LOG)) \
    X(NOT_CUT, 6, sigward_log_close, (taken(w, w->logs))) \
    X(NOT_CUT, 2, sigward_log_check, (log_path(w), once_in(w, 2) ? NULL : filled(w))) \
    X(NOT_CUT, 2, sigward_log_check_sized, \
      (log_path(w), filled(w), size(w, sizeof(sigward_log_report)))) \
    X(NOT_CUT, 2, sigward_log_salvage, (log_path(w), absent(w), once_in(w, 2) ? NULL : filled(w))) \
    X(NOT_CUT, 2, sigward_log_salvage_sized, \
      (log_path(w), absent(w), filled(w), size(w, sizeof(sigward_log_report)))) \
    X(MAKES, 6, sigward_log_reader_open, (log_path(w), fresh(w, w->readers))) \
    X(NOT_CUT, 20, sigward_log_reader_next, \
      (READER, buffer(w), once_in(w, 9) ? 0 : ROOM, once_in(w, 2) ? NULL : &w->position)) \
    X(NOT_CUT, 8, sigward_log_reader_seek, (READER, once_in(w, 2) ? w->position : number(w))) \
    X(FREE, 8, sigward_log_reader_position, (READER)) \
    X(NOT_CUT, 8, sigward_log_reader_durable, (READER, once_in(w, 9) ? NULL : &w->position)) \
    X(NOT_CUT, 6, sigward_log_reader_close, (taken(w, w->readers))) \
    X(MAKES, 4, sigward_snapshot, (inside(w), fresh(w, w->maps))) \
    X(MAKES, 4, sigward_snapshot_with, \
      (inside(w), snapshot_options(w), fresh(w, w->maps), filled(w))) \
    X(MAKES, 4, sigward_snapshot_with_sized, \
      (inside(w), snapshot_options(w), fresh(w, w->maps), filled(w), \
       size(w, sizeof(sigward_snapshot_report)))) \
    X(TEXT, 4, sigward_version, ()) \
    X(TEXT, 8, sigward_strerror, (any_int(w)))
/* clang-format on */
