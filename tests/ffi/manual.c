/* Single sentences of the header, where no other host has them in passing. */
#include "host.h"
#include <limits.h>
#include <sys/stat.h>

#ifndef BARE
static char folder[PATH_MAX];

static const char *file_of(const char *name, size_t length) {
    static char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, "these are no zeros", 18) == 18);
    CHECK(ftruncate(fd, (off_t)length) == 0 && close(fd) == 0);
    return path;
}

/* "A flag that one call has set stays": the lines on stderr, and the swallowed stdout. */
static void flags(void) {
    const sigward_options with = {.size = sizeof with, .flags = SIGWARD_SWALLOW_STDIO};
    CHECK(sigward_init(&with) == 0 && sigward_init(NULL) == 0);
    int saved = dup(1);
    CHECK(saved >= 0 && dup2(broken_pipe(), 1) == 1);
    CHECK(write(1, "x", 1) == -1 && errno == EPIPE);
    /* Restored, it is not. */
    CHECK(sigward_sigpipe_restore() == 0 && sigward_sigpipe_filter() == 0);
    pid_t child = fork();
    if (child == 0) {
        (void)!write(1, "x", 1);
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

/* "On an error *out is NULL where a handle was asked for." */
static void handles(void) {
    const char *path = file_of("some", 4096);
    const sigward_map_options map_options = {.size = 7};
    const sigward_log_options log_options = {.size = 7};
    const sigward_replacement_options new_options = {.size = 7};
    const sigward_snapshot_options snapshot_options = {.size = 7};
#define NULLED(type, call, answer)                                                                 \
    do {                                                                                           \
        type *out = (type *)8;                                                                     \
        CHECK((call) == (answer) && out == NULL);                                                  \
    } while (0)
    NULLED(sigward_map, sigward_map_open(path, &map_options, &out), -EINVAL);
    NULLED(sigward_map, sigward_map_open(folder, NULL, &out), -EISDIR);
    NULLED(sigward_map, sigward_map_fd(-1, NULL, &out), -EBADF);
    NULLED(sigward_map, sigward_map_fd(0, &map_options, &out), -EINVAL);
    NULLED(sigward_map, sigward_snapshot("/nowhere/at/all", &out), -ENOENT);
    NULLED(sigward_map, sigward_snapshot_with(path, &snapshot_options, &out, NULL), -EINVAL);
    NULLED(sigward_log, sigward_log_open(path, &log_options, NULL, &out), -EINVAL);
    NULLED(sigward_log_reader, sigward_log_reader_open(path, &out), -EILSEQ);
    NULLED(sigward_replacement, sigward_replacement_open(path, &new_options, &out), -EINVAL);
    NULLED(sigward_replacement, sigward_replacement_open(folder, NULL, &out), -EISDIR);
    NULLED(sigward_watch, sigward_watch_start(1, NULL, NULL, &out), -EINVAL);
    NULLED(sigward_lease, sigward_lease_take(folder, &out), -EISDIR);
    NULLED(sigward_lease, sigward_lease_take(NULL, &out), -EINVAL);
    NULLED(sigward_lease, sigward_lease_of(-1, &out), -EBADF);
    NULLED(sigward_adopted, sigward_adopt_file(folder, &out), -EISDIR);
    NULLED(sigward_adopted, sigward_adopt_range(folder, 1, -1, 0, &out), -EINVAL);
}

/* "Changes nothing but the counter overwritten, when it is the first to see that somebody stands
 * above us." */
static void status(void) {
    sigward_sigpipe_report report;
    sigward_status_report both;
    sigward_counters before, now;
    CHECK(ward() == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(sigward_read_counters(&before) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK(sigward_sigpipe_status(&report) == 0 && sigward_status(&both) == 0);
    }
    CHECK(sigward_read_counters(&now) == 0 && now.overwritten == before.overwritten + 1);
    CHECK(report.seat == SIGWARD_SEAT_COVERED && both.sigpipe.reason == SIGWARD_REASON_COVERED);
    CHECK(current_handler(SIGPIPE) == (void *)SIG_DFL);
}

/* An adopted file that is cut and long again before anybody looks: no signal, and verify tells. */
static void cut_and_long_again(void) {
    const char *path = file_of("adopted", 4 * 4096);
    sigward_adopted *adopted;
    int fd = open(path, O_RDWR);
    volatile char *bytes = mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(bytes != MAP_FAILED && pwrite(fd, "x", 1, 3 * 4096) == 1 && bytes[3 * 4096] == 'x');
    CHECK(sigward_adopt_file(path, &adopted) == 0 && sigward_adopted_verify(adopted) == 0);
    /* Before Linux 6.13 a change within the same tick leaves the time as it was. */
    usleep(20000);
    CHECK(ftruncate(fd, 4096) == 0 && ftruncate(fd, 4 * 4096) == 0);
    CHECK(bytes[3 * 4096] == 0 && sigward_adopted_status(adopted, NULL) == 0);
    CHECK(sigward_adopted_verify(adopted) == -ESTALE);
    /* Met while it was short, it is a loss, and stays one. */
    CHECK(ftruncate(fd, 4096) == 0 && bytes[3 * 4096] == 0 && ftruncate(fd, 4 * 4096) == 0);
    CHECK(sigward_adopted_status(adopted, NULL) == 1 && sigward_adopted_verify(adopted) == -EFAULT);
    CHECK(sigward_adopted_heal(adopted) == 0 && sigward_adopted_verify(adopted) == 0);
    CHECK(pwrite(fd, "y", 1, 3 * 4096) == 1 && bytes[3 * 4096] == 'y');
    CHECK(sigward_adopted_close(adopted) == 0);
}

/* What of a map without descriptor can be asked, and a log that nobody has begun. */
static void without_descriptor(void) {
    const char *path = file_of("short", 4 * 4096);
    const sigward_map_options options = {.size = sizeof options, .no_descriptor = 1};
    sigward_map *map;
    sigward_log_reader *reader;
    CHECK(sigward_map_open(path, &options, &map) == 0 && sigward_map_follow(map) == -EINVAL);
    CHECK(truncate(path, 4096) == 0);
    CHECK(sigward_map_status(map, NULL) == 0 && sigward_map_verify(map) == -EFAULT);
    CHECK(sigward_map_status(map, NULL) == 1 && sigward_map_close(map) == 0);
    CHECK(truncate(path, 0) == 0 && truncate(path, 16) == 0);
    CHECK(sigward_log_reader_open(path, &reader) == -ENODATA && reader == NULL);
    int directory = open(folder, O_RDONLY);
    CHECK(sigward_reserve(directory, 0, 1) == -EISDIR);
}

/* "Descriptors that the library keeps have numbers from 3 on": who prints does not write into a
 * file of ours in a program that was started without stdin, stdout and stderr. */
static void standard_closed(void) {
    char path[3][PATH_MAX];
    for (int i = 0; i < 3; i++)
        snprintf(path[i], PATH_MAX, "%s", file_of((char[]){(char)('a' + i), 0}, 4096));
    CHECK(truncate(path[1], 0) == 0);
    const sigward_map_options options = {.size = sizeof options, .writable = 1};
    sigward_map *map, *snapshot;
    sigward_log *log;
    sigward_replacement *replacement;
    sigward_lease *lease;
    sigward_log_report report;
    int seen = fcntl(2, F_DUPFD, 100);
    CHECK(seen >= 100);
    close(0), close(1), close(2);
    int failed = sigward_map_open(path[0], &options, &map) ||
                 sigward_log_open(path[1], NULL, NULL, &log) ||
                 sigward_replacement_open(path[2], NULL, &replacement) ||
                 sigward_snapshot(path[0], &snapshot) || sigward_lease_take(path[2], &lease);
    int printed = 0;
    for (int fd = 0; fd < 3; fd++) printed += write(fd, "printed by somebody", 19) > 0;
    dup2(seen, 2);
    CHECK(failed == 0 && printed == 0);
    CHECK(sigward_lease_is_wanted(lease) == 0 && sigward_lease_release(lease) == 0);
    CHECK(memcmp(sigward_map_data(map), "these are no zeros", 18) == 0);
    CHECK(sigward_log_append(log, "record", 6, NULL) == 0 && sigward_log_close(log) == 0);
    CHECK(sigward_log_check(path[1], &report) == 0 && report.records == 1 && report.damaged == 0);
    CHECK(sigward_replacement_commit(replacement) == 0);
    CHECK(sigward_map_close(map) == 0 && sigward_map_close(snapshot) == 0);
}

/* Whether this process has a record lock on the file; asked by a child, which has none. */
static int is_locked(const char *path) {
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK};
        int fd = open(path, O_RDWR);
        _exit(fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 ? 99 : lock.l_type != F_UNLCK);
    }
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) != 99);
    return WEXITSTATUS(status);
}

/* "… leave them alone": a database's locks are there after all that is done with adopted files,
 * and after a reservation through a descriptor that can only write. */
static void record_locks(void) {
    const char *path = file_of("base", 4 * 4096);
    struct flock lock = {.l_type = F_WRLCK};
    int fd = open(path, O_RDWR), writer = open(path, O_WRONLY), next = dup(fd);
    CHECK(fd >= 0 && writer >= 0 && next >= 0 && close(next) == 0);
    CHECK(!is_locked(path) && fcntl(fd, F_SETLK, &lock) == 0 && is_locked(path));
    volatile char *bytes = mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(bytes != MAP_FAILED);
    for (int turn = 0; turn < 10; turn++) {
        sigward_adopted *adopted;
        CHECK(sigward_adopt_file(path, &adopted) == 0 && is_locked(path));
        CHECK(ftruncate(fd, 4096) == 0 && bytes[3 * 4096] == 0 && is_locked(path));
        CHECK(sigward_adopted_status(adopted, NULL) == 1 && ftruncate(fd, 4 * 4096) == 0);
        CHECK(sigward_adopted_heal(adopted) == 0 && is_locked(path));
        CHECK(sigward_adopted_close(adopted) == 0 && is_locked(path));
        CHECK(sigward_reserve(writer, 0, 4096) >= 0 && is_locked(path));
    }
    /* What had to stay open for that serves again. */
    int after = dup(fd);
    CHECK(after <= next + 6);
}

/* A daemon closes what it does not know, and opens files of its own under the same numbers: none of
 * these is written to, made longer, read from or closed, and what cannot be done is said. */
enum { OWN = 16, OWN_BYTES = 3 * 4096 };

static const char *own_file(int number) {
    char name[16];
    snprintf(name, sizeof name, "own-%d", number);
    static char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void others_take_the_numbers(void) {
    CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0);
    for (int i = 0; i < OWN; i++) {
        int fd = open(own_file(i), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(fd == 3 + i && write(fd, "these are no zeros", 18) == 18);
        CHECK(ftruncate(fd, OWN_BYTES) == 0);
    }
}

static void are_whole(void) {
    static const char zeros[OWN_BYTES];
    char bytes[OWN_BYTES + 1];
    for (int i = 0; i < OWN; i++) {
        int fd = open(own_file(i), O_RDONLY);
        struct stat now, made;
        CHECK(fd >= 0 && pread(fd, bytes, sizeof bytes, 0) == OWN_BYTES);
        CHECK(fstat(3 + i, &now) == 0 && fstat(fd, &made) == 0 && close(fd) == 0);
        CHECK(now.st_ino == made.st_ino && lseek(3 + i, 0, SEEK_CUR) == 18);
        CHECK(close(3 + i) == 0);
        CHECK(memcmp(bytes, "these are no zeros", 18) == 0);
        CHECK(memcmp(bytes + 18, zeros, OWN_BYTES - 18) == 0);
    }
}

static void log_closed(void) {
    char path[PATH_MAX];
    static const char large[100000];
    sigward_log *log;
    sigward_log_report report;
    snprintf(path, sizeof path, "%s", file_of("log", 0));
    for (int grows = 0; grows < 2; grows++) {
        CHECK(sigward_log_open(path, NULL, NULL, &log) == 0);
        CHECK(sigward_log_append(log, "one", 3, NULL) == 0 && sigward_log_flush(log, NULL) == 0);
        others_take_the_numbers();
        int last = sigward_log_append(log, "two", 3, NULL);
        for (int i = 0; i < 30 && grows; i++) last = sigward_log_append(log, large, 100000, NULL);
        CHECK((last != 0 || !grows) && sigward_log_flush(log, NULL) != 0);
        sigward_log_close(log);
        are_whole();
        CHECK(sigward_log_check(path, &report) == 0 && report.damaged == 0 && report.records > 0);
        CHECK(unlink(path) == 0);
    }
}

static void reader_closed(void) {
    static const char large[100000];
    char path[PATH_MAX];
    sigward_log *log;
    sigward_log_reader *reader;
    snprintf(path, sizeof path, "%s", file_of("log", 0));
    CHECK(sigward_log_open(path, NULL, NULL, &log) == 0);
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    CHECK(sigward_log_append(log, large, sizeof large, NULL) == 0 && sigward_log_close(log) == 0);
    others_take_the_numbers();
    CHECK(sigward_log_reader_next(reader, NULL, 0, NULL) == -EBADF);
    CHECK(sigward_log_reader_close(reader) == 0);
    are_whole();
}

/* One lease and then another that gets the same numbers: what the first one says and does is not
 * about the second. */
static void lease_closed(const char *path) {
    sigward_lease *first, *second;
    CHECK(sigward_lease_take(path, &first) == 0 && sigward_lease_check(first) == 0);
    int file = sigward_lease_file(first);
    others_take_the_numbers();
    CHECK(sigward_lease_check(first) != 0 && sigward_lease_wait(first, -1) == -ESTALE);
    are_whole();
    CHECK(sigward_lease_take(path, &second) == 0 && sigward_lease_file(second) == file);
    CHECK(sigward_lease_check(first) != 0 && sigward_lease_release(first) == -ESTALE);
    CHECK(sigward_lease_check(second) == 0 && sigward_lease_release(second) == 0);
}

static void closed_by_the_host(void) {
    log_closed();
    CHECK(sigward_init(NULL) == 0);
    log_closed(); /* through a map */
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", file_of("live", 4096));
    for (int commits = 0; commits < 2; commits++) {
        sigward_replacement *replacement;
        CHECK(sigward_replacement_open(path, NULL, &replacement) == 0);
        CHECK(sigward_replacement_write(replacement, "new", 3) == 3);
        others_take_the_numbers();
        if (commits) {
            CHECK(sigward_replacement_commit(replacement) == -EBADF);
        } else {
            CHECK(sigward_replacement_write(replacement, "new", 3) == -EBADF);
            CHECK(sigward_replacement_abort(replacement) == 0);
        }
        are_whole();
    }
    reader_closed();
    lease_closed(file_of("leased", 4096));
}

#define IN_FOLDER(name)                                                                            \
    static void name##_there(void) {                                                               \
        snprintf(folder, sizeof folder, "%s", arguments[0]);                                       \
        name();                                                                                    \
    }
IN_FOLDER(handles) IN_FOLDER(cut_and_long_again) IN_FOLDER(without_descriptor)
IN_FOLDER(standard_closed) IN_FOLDER(record_locks) IN_FOLDER(closed_by_the_host)

SCENARIOS({"flags", flags}, {"handles", handles_there}, {"status", status},
          {"cut_and_long_again", cut_and_long_again_there},
          {"without_descriptor", without_descriptor_there},
          {"standard_closed", standard_closed_there}, {"record_locks", record_locks_there},
          {"closed_by_the_host", closed_by_the_host_there})
#endif
