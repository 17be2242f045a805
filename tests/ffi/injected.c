/* Each system call of each operation fails once, with each error that it can have: then the
 * operation succeeds all the same or says why not, nothing is left open or mapped, what was there
 * is there still, and the same operation succeeds afterwards. Warded only.
 *
 * injected FOLDER [OPERATION | PART/PARTS [-v]]: -v tells what each failure became. */
#include "inject.h"
#include "sigward.h"
#include <dirent.h>
#include <malloc.h>
#include <sys/stat.h>

enum { PAGE = PAGE_BYTES, LENGTH = 40 * PAGE };

/* ---- what each operation works on ---------------------------------------------------------------
 */

static sigward_map *map;
static sigward_adopted *adopted;
static sigward_log *logs;
static sigward_log_reader *reader;
static sigward_lease *lease;
static sigward_replacement *replacement;
static int fd = -1;
static unsigned char bytes[LENGTH], other[LENGTH];

static void put(const char *name, const void *content, size_t length) {
    int file = open(name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(file >= 0 && write(file, content, length) == (ssize_t)length && close(file) == 0);
}

static int holds(const char *name, const void *content, size_t length) {
    static unsigned char found[2 * LENGTH];
    int file = open(name, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t got = read(file, found, sizeof found);
    CHECK(close(file) == 0);
    return got == (ssize_t)length && memcmp(found, content, length) == 0;
}

/* Every name in the folder but these two is gone. */
static int only(const char *one, const char *two) {
    DIR *folder = opendir(".");
    int strangers = 0;
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' || entry->d_name[1] != 0) {
            if (strcmp(entry->d_name, "..") && strcmp(entry->d_name, one) &&
                strcmp(entry->d_name, two))
                strangers++;
        }
    closedir(folder);
    return strangers == 0;
}

static void clear(void) {
    DIR *folder = opendir(".");
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) unlink(entry->d_name);
    closedir(folder);
}

static void a_file(void) {
    clear();
    put("file", bytes, LENGTH);
}

/* ---- the operations: what is there before, what is done, what holds afterwards
 * -------------------
 */

static struct sigaction row_before;
static void unarmed(void) {
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(sigward_sigbus_restore() == 0);
    CHECK(sigaction(SIGPIPE, NULL, &row_before) == 0);
}
static int init(void) { return sigward_init(NULL); }
static void init_done(int answer) {
    struct sigaction now;
    CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
    if (answer != 0) CHECK(now.sa_handler == row_before.sa_handler);
    CHECK(sigward_sigpipe_restore() == 0 && sigward_sigbus_restore() == 0);
}

static void armed(void) { CHECK(sigward_init(NULL) == 0); }
static int restore(void) { return sigward_sigpipe_restore(); }
static int repair_all(void) { return sigward_repair_all(); }
static int ensure(void) { return sigward_ensure_on_top(); }
static void covered(void) {
    armed();
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
}
static void disarm(int answer) {
    (void)answer;
    CHECK(sigward_sigpipe_restore() == 0 && sigward_sigbus_restore() == 0);
}

static const sigward_map_options writable = {
    .size = sizeof writable, .writable = 1, .capacity = 1 << 24};
static int map_open(void) { return sigward_map_open("file", NULL, &map); }
static int map_open_writable(void) { return sigward_map_open("file", &writable, &map); }
static void a_map(void) {
    a_file();
    CHECK(map_open() == 0);
}
static void a_writable_map(void) {
    a_file();
    CHECK(map_open_writable() == 0);
}
static void map_done(int answer) {
    static unsigned char got[LENGTH];
    CHECK(answer == 0 ? map != NULL : 1);
    if (map != NULL) {
        CHECK(sigward_map_read_at(map, 0, got, LENGTH) == LENGTH);
        CHECK(memcmp(got, bytes, LENGTH) == 0);
    }
    CHECK(sigward_map_close(map) == 0);
    map = NULL;
    CHECK(holds("file", bytes, LENGTH));
}
static int map_close(void) {
    int answer = sigward_map_close(map);
    map = NULL;
    return answer;
}
static void nothing_done(int answer) { (void)answer; }
static void lost_map(void) {
    a_map();
    CHECK(truncate("file", 0) == 0);
    CHECK(((const volatile unsigned char *)sigward_map_data(map))[5 * PAGE] == 0);
    put("file", bytes, LENGTH);
}
static int map_refresh(void) { return sigward_map_refresh(map); }
static void refreshed(int answer) {
    static unsigned char got[LENGTH];
    ssize_t n = sigward_map_read_at(map, 0, got, LENGTH);
    /* Either all of the file as it is, or an error: never zeros that pass for it. */
    CHECK(answer == 0 ? n == LENGTH : n < 0 || n == LENGTH);
    if (n == LENGTH) CHECK(memcmp(got, bytes, LENGTH) == 0);
    CHECK(sigward_map_close(map) == 0);
    map = NULL;
}
static int map_verify(void) { return sigward_map_verify(map); }
static int map_populate(void) { return sigward_map_populate(map, 0, LENGTH); }
static int map_flush(void) {
    CHECK(sigward_map_write_at(map, 0, bytes, 100) == 100);
    return sigward_map_flush(map);
}
static int map_grow(void) { return sigward_map_grow(map, LENGTH + 3 * PAGE); }
static void grown(int answer) {
    struct stat now;
    static unsigned char got[LENGTH];
    CHECK(stat("file", &now) == 0);
    uint64_t length = sigward_map_len(map);
    CHECK(answer == 0 ? length == LENGTH + 3 * PAGE : length == LENGTH);
    CHECK((uint64_t)now.st_size >= length);
    CHECK(sigward_map_read_at(map, 0, got, LENGTH) == LENGTH && memcmp(got, bytes, LENGTH) == 0);
    CHECK(sigward_map_close(map) == 0);
    map = NULL;
}
static void longer_file(void) {
    a_writable_map();
    CHECK(truncate("file", LENGTH + PAGE) == 0);
}
static int map_follow(void) { return sigward_map_follow(map); }
static void followed(int answer) {
    CHECK(sigward_map_len(map) == (answer == 0 ? LENGTH + PAGE : LENGTH));
    CHECK(sigward_map_close(map) == 0);
    map = NULL;
}

static int adopt_file(void) { return sigward_adopt_file("file", &adopted); }
static void adopt_done(int answer) {
    CHECK((answer == 0) == (adopted != NULL));
    CHECK(sigward_adopted_close(adopted) == 0);
    adopted = NULL;
}
static void an_adopted(void) {
    a_file();
    CHECK(adopt_file() == 0);
}
static unsigned char *theirs;
static void a_lost_one(void) {
    an_adopted();
    fd = open("file", O_RDONLY | O_CLOEXEC);
    theirs = mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(theirs != MAP_FAILED && truncate("file", 0) == 0);
    CHECK(((volatile unsigned char *)theirs)[7 * PAGE] == 0);
    fd = (close(fd), -1);
    int file = open("file", O_WRONLY | O_CLOEXEC);
    CHECK(write(file, bytes, LENGTH) == LENGTH && close(file) == 0);
}
static int adopted_heal(void) { return sigward_adopted_heal(adopted); }
static int adopted_verify(void) {
    int answer = sigward_adopted_verify(adopted);
    return answer < 0 && answer != -EFAULT ? answer : 0;
}
static void unlost(int answer) {
    CHECK(munmap(theirs, LENGTH) == 0);
    adopt_done(answer < 0 ? 0 : answer);
}
static int adopted_close(void) {
    int answer = sigward_adopted_close(adopted);
    adopted = NULL;
    return answer;
}

static void open_file(void) {
    a_file();
    fd = open("file", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
}
static int reserve(void) { return sigward_reserve(fd, 0, 3 * LENGTH); }
static int reserve_slowly(void) { return sigward_reserve_slowly(fd, 0, LENGTH + 64 * PAGE); }
static void reserved(int answer) {
    struct stat now;
    CHECK(fstat(fd, &now) == 0 && close(fd) == 0);
    fd = -1;
    CHECK(now.st_size >= LENGTH && (answer >= 0 || 1));
    static unsigned char got[LENGTH];
    int file = open("file", O_RDONLY | O_CLOEXEC);
    CHECK(read(file, got, LENGTH) == LENGTH && close(file) == 0);
    CHECK(memcmp(got, bytes, LENGTH) == 0);
}

static void two_files(void) {
    a_file();
    put("new", other, LENGTH);
}
static int replace(void) { return sigward_replace_file("new", "file"); }
static int left_names; /* the name of what could not be removed may stay */
static void replaced(int answer) {
    if (answer == -SIGWARD_EUNSYNCED) CHECK(holds("file", other, LENGTH));
    CHECK(holds("file", other, LENGTH) || (answer != 0 && holds("file", bytes, LENGTH)));
    CHECK(left_names || only("file", answer == 0 ? "" : "new") || only("file", "new"));
}
static int write_replacement(void) {
    int answer = sigward_replacement_open("file", NULL, &replacement);
    if (answer != 0) return answer;
    ssize_t wrote = sigward_replacement_write(replacement, other, LENGTH);
    if (wrote != LENGTH) {
        CHECK(sigward_replacement_abort(replacement) == 0);
        return wrote < 0 ? (int)wrote : -EIO;
    }
    return sigward_replacement_commit(replacement);
}

static const sigward_log_options small = {
    .size = sizeof small, .capacity = 1 << 24, .step = 1 << 16};
static uint64_t appended;
static void no_log(void) { clear(), appended = 0; }
static int log_open(void) { return sigward_log_open("log", &small, NULL, &logs); }
static int append(size_t length) {
    int answer = sigward_log_append(logs, other, length, NULL);
    appended += answer == 0;
    return answer;
}
static void a_log(void) {
    no_log();
    CHECK(log_open() == 0);
    for (int i = 0; i < 5; i++) CHECK(append(1000) == 0);
}
static void a_closed_log(void) {
    a_log();
    CHECK(sigward_log_close(logs) == 0);
    logs = NULL;
}
static int log_append(void) { return append(1000); }
static int log_append_far(void) { return append(80000); }
static int log_flush(void) { return sigward_log_flush(logs, NULL); }
static int log_close(void) {
    int answer = sigward_log_close(logs);
    logs = NULL;
    return answer;
}
/* All that was acknowledged is there, whole, and the log takes more. */
static void log_done(int answer) {
    sigward_log_recovery found;
    (void)answer;
    sigward_log_close(logs);
    logs = NULL;
    CHECK(sigward_log_open("log", &small, &found, &logs) == 0);
    CHECK(found.records >= appended);
    CHECK(append(10) == 0);
    CHECK(sigward_log_close(logs) == 0);
    logs = NULL;
    CHECK(only("log", "copy"));
}
/* What could not be read is told: as an error, or as damage. */
static int log_check(void) {
    sigward_log_report report = {0};
    int answer = sigward_log_check("log", &report);
    if (answer == 0) CHECK(report.records == appended || report.damaged > 0);
    return answer;
}
static int log_salvage(void) {
    sigward_log_report report = {0};
    int answer = sigward_log_salvage("log", "copy", &report);
    if (answer == 0) CHECK(report.records == appended || report.damaged > 0);
    return answer;
}
static int reader_open(void) { return sigward_log_reader_open("log", &reader); }
static int reader_next(void) {
    static unsigned char room[2000];
    ssize_t got = sigward_log_reader_next(reader, room, sizeof room, NULL);
    if (got >= 0) CHECK(got == 1000 && memcmp(room, other, 1000) == 0);
    return got < 0 ? (int)got : 0;
}
static void a_reader(void) {
    a_closed_log();
    CHECK(reader_open() == 0);
}
static void reader_done(int answer) {
    CHECK(sigward_log_reader_close(reader) == 0);
    reader = NULL;
    log_done(answer);
}

static int snapshot(void) { return sigward_snapshot("file", &map); }
static int lease_take(void) { return sigward_lease_take("file", &lease); }
static void a_lease(void) {
    a_file();
    CHECK(lease_take() == 0);
}
static int lease_check(void) { return sigward_lease_check(lease); }
static int lease_release(void) {
    int answer = sigward_lease_release(lease);
    lease = NULL;
    return answer;
}
static void lease_done(int answer) {
    CHECK(answer != 0 || lease != NULL || 1);
    sigward_lease_release(lease);
    lease = NULL;
}

static sigward_rows rows;
static void no_rows(void) { memset(&rows, 0, sizeof rows); }
static int rows_save(void) { return sigward_rows_save(&rows); }
static void saved_rows(void) {
    no_rows();
    CHECK(rows_save() == 0);
}
static int rows_restore(void) { return sigward_rows_restore(&rows); }
static int try_copy(void) {
    ssize_t got = sigward_try_copy(other, sigward_map_data(map), PAGE);
    return got < 0 ? (int)got : 0;
}
static int quiet(void) {
    int answer = sigward_quiet_thread_enter();
    if (answer == 0) CHECK(sigward_quiet_thread_leave() == 0);
    return answer;
}
static sigward_thread_guard thread_guard;
static int guard(void) {
    int answer = sigward_thread_guard_enter(&thread_guard);
    return answer != 0 ? answer : sigward_thread_guard_leave(&thread_guard);
}
static void a_socket(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(close(ends[0]) == 0);
    fd = ends[1];
}
static void a_pipe(void) { fd = broken_pipe(); }
static int quiet_write(void) {
    ssize_t wrote = sigward_write(fd, bytes, 100);
    CHECK(wrote < 0);
    return wrote == -EPIPE ? 0 : (int)wrote;
}
#ifdef __x86_64__ /* elsewhere -ENOTSUP */
static void a_socket_of_ours(void) {
    armed();
    a_socket();
}
static int no_sigpipe(void) { return sigward_set_nosigpipe(fd); }
#endif
static void closed(int answer) {
    (void)answer;
    CHECK(close(fd) == 0);
    fd = -1;
}
static int status(void) {
    sigward_status_report report = {0};
    return sigward_status(&report);
}
static int thread_check(void) {
    int answer = sigward_thread_check();
    return answer < 0 ? answer : 0;
}

static const struct operation {
    const char *name;
    void (*before)(void);
    int (*act)(void);
    void (*after)(int answer);
} operations[] = {
    {"init", unarmed, init, init_done},
    {"restore", armed, restore, disarm},
    {"ensure_on_top", covered, ensure, disarm},
    {"repair_all", covered, repair_all, disarm},
    {"map_open", a_file, map_open, map_done},
    {"map_open, writable", a_file, map_open_writable, map_done},
    {"map_close", a_map, map_close, nothing_done},
    {"map_refresh", lost_map, map_refresh, refreshed},
    {"map_verify", a_map, map_verify, map_done},
    {"map_populate", a_map, map_populate, map_done},
    {"map_flush", a_writable_map, map_flush, map_done},
    {"map_grow", a_writable_map, map_grow, grown},
    {"map_follow", longer_file, map_follow, followed},
    {"adopt_file", a_file, adopt_file, adopt_done},
    {"adopted_heal", a_lost_one, adopted_heal, unlost},
    {"adopted_verify", a_lost_one, adopted_verify, unlost},
    {"adopted_close", an_adopted, adopted_close, nothing_done},
    {"reserve", open_file, reserve, reserved},
    {"reserve_slowly", open_file, reserve_slowly, reserved},
    {"replace_file", two_files, replace, replaced},
    {"replacement", a_file, write_replacement, replaced},
    {"log_open, new", no_log, log_open, log_done},
    {"log_open", a_closed_log, log_open, log_done},
    {"log_append", a_log, log_append, log_done},
    {"log_append, far", a_log, log_append_far, log_done},
    {"log_flush", a_log, log_flush, log_done},
    {"log_close", a_log, log_close, log_done},
    {"log_check", a_closed_log, log_check, log_done},
    {"log_salvage", a_closed_log, log_salvage, log_done},
    {"log_reader_open", a_closed_log, reader_open, reader_done},
    {"log_reader_next", a_reader, reader_next, reader_done},
    {"snapshot", a_file, snapshot, map_done},
    {"lease_take", a_file, lease_take, lease_done},
    {"lease_check", a_lease, lease_check, lease_done},
    {"lease_release", a_lease, lease_release, nothing_done},
    {"rows_save", no_rows, rows_save, nothing_done},
    {"rows_restore", saved_rows, rows_restore, nothing_done},
    {"try_copy", a_map, try_copy, map_done},
    {"quiet_thread", armed, quiet, disarm},
    {"thread_guard", unarmed, guard, nothing_done},
    {"write to a socket", a_socket, quiet_write, closed},
    {"write to a pipe", a_pipe, quiet_write, closed},
#ifdef __x86_64__
    {"set_nosigpipe", a_socket_of_ours, no_sigpipe, closed},
#endif
    {"status", armed, status, disarm},
    {"thread_check", armed, thread_check, disarm},
};

/* ---- a child for each failure -------------------------------------------------------------------
 */

static struct {
    int answer;
    int descriptors[2], pages[2];
} * told; /* by the child */

static int descriptors(void) {
    int count = 0;
    for (int i = 0; i < 256; i++) count += fcntl(i, F_GETFD) >= 0;
    return count;
}

/* How many pages of addresses the process has. */
static int pages(void) {
    char text[64] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(read(file, text, sizeof text - 1) > 0 && close(file) == 0);
    return atoi(text);
}

/* `warm`: all that is made once and stays has been made before. */
static void child(const struct operation *operation, int warm) {
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, 0) == 0);
    alarm(patience(60));
    /* The allocator has what it needs: a program that is out of memory ends. */
    mallopt(M_TOP_PAD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 16 << 20);
    void *volatile some = malloc(1 << 20);
    free(some);
    if (warm) {
        operation->before();
        operation->after(operation->act());
        told->descriptors[0] = descriptors(), told->pages[0] = pages();
    }
    operation->before();
    counted_from_here();
    told->answer = operation->act();
    counted_until_here();
    operation->after(told->answer);
    told->descriptors[1] = descriptors(), told->pages[1] = pages();
    left_names = 0;
    operation->before();
    int again = operation->act();
    if (again < 0) {
        fprintf(stderr, "again: %s: ", strerror(-again));
        _exit(96);
    }
    operation->after(again);
    _exit(0);
}

/* What tells whether a descriptor is ours still: without an answer it is not closed. */
static int is_asked(const struct errors *call) {
    return call != NULL && (call->number == SYS_fstat || call->number == SYS_fcntl);
}

static int runs, failures, tells;

static void failed(const struct operation *operation, int warm, int n, const struct errors *call,
                   int error, const char *what) {
    fprintf(stderr, "%s, %s: %s (call %d) %s: %s\n", operation->name, warm ? "warm" : "first",
            call == NULL ? "?" : call->name, n, error == SHORTER ? "cut short" : strerror(error),
            what);
    failures++;
}

static void run(const struct operation *operation, int warm, int n, const struct errors *call,
                int error) {
    left_names = call != NULL && call->number == SYS_unlinkat;
    memset(told, 0, sizeof *told);
    told->answer = 1 << 30;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) child(operation, warm);
    int status = with_failing(pid, call == NULL ? -1 : call->number, n, error);
    runs++;
    char what[200];
    if (tells && n > 0)
        printf("%-18s %-5s %3d %-16s %-36s %s\n", operation->name, warm ? "warm" : "first", n,
               call->name, error == SHORTER ? "cut short" : strerror(error),
               told->answer >= 0 ? "succeeds" : strerror(-told->answer));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        snprintf(what, sizeof what, "answer %d, then wait status %#x", told->answer, status);
        failed(operation, warm, n, call, error, what);
    } else if (told->answer < 0 && -told->answer > 4095 && told->answer != -SIGWARD_EUNSYNCED) {
        failed(operation, warm, n, call, error, "no errno");
    } else if (told->answer != -error && (told->answer == -EFAULT || told->answer == -ENOSYS)) {
        failed(operation, warm, n, call, error, "told as a cut, or as what the system lacks");
    } else if (warm && told->descriptors[0] != told->descriptors[1] && !is_asked(call)) {
        snprintf(what, sizeof what, "%d descriptors, then %d", told->descriptors[0],
                 told->descriptors[1]);
        failed(operation, warm, n, call, error, what);
    } else if (warm && told->pages[0] < told->pages[1] &&
               (call == NULL || call->number != SYS_munmap)) {
        snprintf(what, sizeof what, "%d pages, then %d", told->pages[0], told->pages[1]);
        failed(operation, warm, n, call, error, what);
    }
}

static void each_failure(const struct operation *operation, int warm) {
    static long sequence[sizeof calls / sizeof *calls];
    run(operation, warm, 0, NULL, 0);
    CHECK(told->answer >= 0);
    int count = call_count;
    memcpy(sequence, calls, sizeof sequence);
    for (int i = 0; i < count; i++) {
        const struct errors *call = errors_of(sequence[i]);
        if (call == NULL) {
            fprintf(stderr, "%s: which errors has system call %ld?\n", operation->name,
                    sequence[i]);
            failures++;
            continue;
        }
        /* The n-th of its kind: how often others are made can depend on the time. */
        int n = 1;
        for (int before = 0; before < i; before++) n += sequence[before] == sequence[i];
        for (const int *error = call->errors; *error != 0; error++) {
            run(operation, warm, n, call, *error);
            if (!warm) break; /* the first call of a process differs little */
        }
    }
}

int main(int argc, char **argv) {
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    tells = argc > 3;
    const char *wanted = argc > 2 ? argv[2] : "1/1";
    size_t part = 0, parts = 0;
    sscanf(wanted, "%zu/%zu", &part, &parts);
    told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    for (size_t i = 0; i < LENGTH; i++)
        bytes[i] = (unsigned char)(i % 251 + 1), other[i] = (unsigned char)(i % 13 + 1);
    int found = 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (parts > 0 ? i % parts != part - 1 : strcmp(wanted, operations[i].name) != 0) continue;
        found = 1;
        each_failure(&operations[i], 0);
        each_failure(&operations[i], 1);
    }
    fprintf(stderr, "%d failing calls, %d faults\n", runs, failures);
    return failures != 0 || !found;
}
