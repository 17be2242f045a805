/* Linking the library changes nothing, and neither does what needs no seat. And what of stdout and
 * stderr is a pipe. */
#include "host.h"
#include <sys/stat.h>

static struct sigaction row_of(int signal) {
    struct sigaction row;
    CHECK(sigaction(signal, NULL, &row) == 0);
    return row;
}

static void expect_default(void) {
    CHECK(row_of(SIGPIPE).sa_handler == SIG_DFL && row_of(SIGBUS).sa_handler == SIG_DFL);
}

#ifndef BARE
/* Files that are replaced, leased, logged to. */
static void files(void) {
    char source[] = "/tmp/sigward-arming-XXXXXX", log_path[sizeof source + 4];
    int file = mkstemp(source);
    CHECK(file >= 0 && write(file, "1234", 4) == 4 && close(file) == 0);
    snprintf(log_path, sizeof log_path, "%s.log", source);
    sigward_replacement *replacement;
    CHECK(sigward_replacement_open(source, NULL, &replacement) == 0);
    CHECK(sigward_replacement_write(replacement, "5678", 4) == 4);
    CHECK(sigward_replacement_commit(replacement) == 0);
    sigward_lease *lease;
    int leased = sigward_lease_take(source, &lease);
    CHECK(leased == -EOPNOTSUPP || (leased == 0 && sigward_lease_release(lease) == 0));
    CHECK(unlink(source) == 0);
    sigward_log *log;
    sigward_log_reader *reader;
    sigward_log_report report;
    char record[8];
    CHECK(sigward_log_open(log_path, NULL, NULL, &log) == 0);
    CHECK(sigward_log_append(log, "record", 6, NULL) == 0 && sigward_log_flush(log, NULL) == 0);
    CHECK(sigward_log_reader_open(log_path, &reader) == 0);
    CHECK(sigward_log_reader_next(reader, record, sizeof record, NULL) == 6);
    CHECK(sigward_log_check(log_path, &report) == 0 && report.records == 1);
    CHECK(sigward_log_reader_close(reader) == 0 && sigward_log_close(log) == 0);
    CHECK(unlink(log_path) == 0);
}

/* Every signal is as the system gave it to the program. */
static void expect_untouched(void) {
    for (int signal = 1; signal <= 64; signal++) {
        struct sigaction row;
        if (sigaction(signal, NULL, &row) == 0)
            CHECK(row.sa_handler == SIG_DFL || row.sa_handler == SIG_IGN);
    }
    expect_default();
}
#endif

/* Ends as every filter in a pipeline does. */
static void end_by_stdout(void) {
    CHECK(dup2(broken_pipe(), 1) == 1);
    for (;;) puts("a line");
}

static void bare(void) {
    expect_default();
    end_by_stdout();
}

#ifdef BARE
static void untouched(void) {}
static void leave(void) {}
static void filter_and_leave(void) {}
#else
static void untouched(void) {
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many = {.msg_hdr = message};
    int sockets[2], pipes[2], copied = 0, file = memfd_create("file", 0);
    sigward_thread_guard guard;
    expect_untouched();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0 && pipe(pipes) == 0);
    CHECK(sigward_write(sockets[0], "x", 1) == 1 && sigward_writev(sockets[0], &part, 1) == 1);
    CHECK(sigward_send(sockets[0], "x", 1, 0) == 1 &&
          sigward_sendmsg(sockets[0], &message, 0) == 1);
    CHECK(sigward_sendmmsg(sockets[0], &many, 1, 0) == 1 &&
          sigward_sendto(sockets[0], "x", 1, 0, NULL, 0) == 1);
    CHECK(write(file, "1234", 4) == 4 && sigward_sendfile(sockets[0], file, &(off_t){0}, 4) == 4);
    CHECK(sigward_write(pipes[1], "x", 1) == 1 &&
          sigward_splice(pipes[0], NULL, sockets[0], NULL, 1, 0) == 1);
    CHECK(sigward_write(broken_pipe(), "x", 1) == -EPIPE);
    CHECK(sigward_thread_guard_enter(&guard) == 0 && sigward_thread_guard_leave(&guard) == 0);
    CHECK(sigward_reserve(file, 0, 4096) >= 0);
    files();
    CHECK(sigward_try_copy(&copied, &(int){7}, sizeof copied) == sizeof copied && copied == 7);
    sigward_counters counters;
    sigward_sigpipe_report report;
    CHECK(sigward_read_counters(&counters) == 0 && sigward_sigpipe_status(&report) == 0);
    CHECK(report.outcome == SIGWARD_OUTCOME_UNTOUCHED && report.seat == SIGWARD_SEAT_NONE);
    CHECK(sigward_ensure_on_top() == 0 && sigward_sigpipe_restore() == 0);
    expect_untouched();
    SAY("untouched\n");
    end_by_stdout();
}

static void leave(void) {
    CHECK(sigward_init(&(sigward_options){.size = sizeof(sigward_options),
                                          .sigpipe = SIGWARD_SIGPIPE_LEAVE}) == 0);
    CHECK(row_of(SIGPIPE).sa_handler == SIG_DFL);
    SAY("left\n");
    end_by_stdout();
}

static void filter_and_leave(void) {
    sigward_options options = {.size = sizeof options, .sigpipe = SIGWARD_SIGPIPE_LEAVE};
    CHECK(ward() == 0 && sigward_init(&options) == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
}
#endif

/* ---- stdout and stderr ---- */

static int broken_socket(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    close(ends[1]);
    return ends[0];
}

static struct iovec two[] = {{"one", 3}, {"two", 3}};
static long by_write(int fd) { return write(fd, "x", 1); }
static long by_writev(int fd) { return writev(fd, two, 2); }
static long by_splice(int fd) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "1234", 4) == 4);
    return splice(ends[0], NULL, fd, NULL, 4, 0);
}
static long by_tee(int fd) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "1234", 4) == 4);
    return tee(ends[0], fd, 4, 0);
}

/* Some bytes, and the signal all the same. */
static int half[2];
static void *leaving_reader(void *unused) {
    char some[4096];
    CHECK(read(half[0], some, sizeof some) == (ssize_t)sizeof some);
    close(half[0]);
    return unused;
}
static long by_part(int fd) {
    static char much[1 << 20];
    pthread_t thread;
    CHECK(pipe(half) == 0 && dup2(half[1], fd) == fd && close(half[1]) == 0);
    CHECK(pthread_create(&thread, NULL, leaving_reader, NULL) == 0);
    return write(fd, much, sizeof much) > 0 ? -1 : 0;
}

static void *on_a_thread(void *fd) {
    CHECK(by_write(*(int *)fd) == -1 && errno == EPIPE);
    return NULL;
}
static long by_thread(int fd) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, on_a_thread, &fd) == 0 && pthread_join(thread, NULL) == 0);
    return errno = EPIPE, -1;
}

static void row(const char *name, long (*one)(int), int fd, int (*broken)(void)) {
    pid_t child = fork();
    if (child == 0) {
        int end = broken();
        CHECK(dup2(end, fd) == fd);
        if (end != fd) close(end);
        long result = one(fd);
        _exit(result == -1 ? 0 : 3);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    SAY("%s to %d, a %s: %s %d\n", name, fd, broken == broken_pipe ? "pipe" : "socket",
        WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static const struct {
    const char *name;
    long (*one)(int);
    int pipes_only;
} writers[] = {{"write", by_write, 0},   {"writev", by_writev, 0},
               {"splice", by_splice, 0}, {"tee", by_tee, 1},
               {"part", by_part, 1},     {"write on a thread", by_thread, 0}};

static void pipes(void) {
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        for (int fd = 1; fd <= 2; fd++) row(writers[i].name, writers[i].one, fd, broken_pipe);
}

static void others(void) {
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        for (int fd = 1; fd <= 2 && !writers[i].pipes_only; fd++)
            row(writers[i].name, writers[i].one, fd, broken_socket);
    row("write", by_write, 0, broken_pipe);
    row("write", by_write, 3, broken_pipe);
}

static void stdio_pipes(void) {
    CHECK(ward() == 0);
    pipes();
}
static void stdio_others(void) {
    CHECK(ward() == 0);
    others();
}

static void bye(int signal) { (void)signal, _exit(9); }

/* A tool's own handler beneath ours. */
static void stdio_handled(void) {
    signal(SIGPIPE, bye);
    stdio_pipes();
}

#ifdef BARE
static void stdio_swallowed(void) {}
#else
static void stdio_swallowed(void) {
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_SWALLOW_STDIO};
    CHECK(sigward_init(&options) == 0);
    pipes(), others();
    /* Taken back with the rest. */
    CHECK(sigward_sigpipe_restore() == 0 && sigward_sigpipe_filter() == 0);
    row("write again", by_write, 1, broken_pipe);
}
#endif

SCENARIOS({"bare", bare}, {"untouched", untouched}, {"leave", leave},
          {"filter_and_leave", filter_and_leave}, {"stdio_pipes", stdio_pipes},
          {"stdio_others", stdio_others}, {"stdio_handled", stdio_handled},
          {"stdio_swallowed", stdio_swallowed})
