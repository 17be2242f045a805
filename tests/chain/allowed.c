/* The system calls of our handlers, as the manual lists them, under a filter that ends the process
 * at any other. Warded only. */
#include "maps.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

/* docs/design.md, "System calls of the handlers". */
static const int of_sigpipe[] = {
    SYS_ppoll,  SYS_fstat, SYS_fstatfs, SYS_getpeername,      SYS_getsockopt,    SYS_getpid,
    SYS_gettid, SYS_prctl, SYS_write,   SYS_process_vm_readv, SYS_clock_gettime, SYS_rt_sigaction,
};
/* Of a SIGBUS and of last words: what looks at files and maps. */
static const int of_files[] = {
#ifdef SYS_readlink
    SYS_readlink, SYS_stat,
#endif
#ifdef SYS_newfstatat
    SYS_newfstatat,
#endif
    SYS_openat, SYS_readlinkat, SYS_read, SYS_pread64, SYS_close, SYS_ioctl, SYS_rt_sigprocmask,
};
static const int of_sigbus[] = {SYS_fcntl, SYS_mmap, SYS_munmap, SYS_madvise, SYS_fallocate};
static const int of_last_words[] = {SYS_statfs, SYS_rt_tgsigqueueinfo};
static const int of_writers[] = {
#ifdef SYS_open
    SYS_open,
#endif
    SYS_pwritev2,       SYS_write,        SYS_writev,          SYS_sendto,
    SYS_sendmsg,        SYS_sendmmsg,     SYS_sendfile,        SYS_splice,
    SYS_rt_sigprocmask, SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_getpid,
    SYS_openat,         SYS_read,         SYS_close,           SYS_pipe2,
    SYS_getsockopt,
#ifndef __GLIBC__
    SYS_fcntl, /* musl's open(3), for old kernels' sake */
#endif
};
/* What the C library and this program need besides. */
static const int of_the_test[] = {SYS_rt_sigreturn, SYS_exit_group};

static struct sock_filter code[96];
static unsigned short length;
static int explains, dies; /* last words are wanted; they are the only thing to come */

static void add(struct sock_filter one) { code[length++] = one; }

static void allow(const int *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)numbers[i], 0, 1));
        add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
}

#define ALLOW(numbers) allow(numbers, sizeof numbers / sizeof *numbers)

static void allow_only_the_list(int bus) {
    add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    ALLOW(of_sigpipe);
    if (bus || dies) ALLOW(of_files);
    if (bus) ALLOW(of_sigbus);
    if (dies) ALLOW(of_last_words);
    ALLOW(of_the_test);
    add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    struct sock_fprog program = {.len = length, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void armed(void) {
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_LOG_STDERR};
    if (explains) options.sigpipe = SIGWARD_SIGPIPE_LEAVE, options.flags = SIGWARD_EXPLAIN;
    CHECK(sigward_init(&options) == 0);
}

static void fails(int fd) {
    allow_only_the_list(0);
    for (int i = 0; i < 3; i++) CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
}

static void on_pipe(void) { fails(broken_pipe()); }

static void on_socket(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && close(ends[1]) == 0);
    fails(ends[0]);
}

static void on_tcp(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), ours = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (void *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (void *)&address, &size) == 0);
    CHECK(connect(ours, (void *)&address, size) == 0);
    int theirs = accept(listener, NULL, NULL);
    struct linger reset = {.l_onoff = 1};
    CHECK(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    CHECK(close(theirs) == 0);
    await_reset(ours);
    CHECK(send(ours, "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNRESET);
    fails(ours);
}

static void in_map(void) {
    const volatile unsigned char *lost = bytes(lose());
    allow_only_the_list(1);
    CHECK(lost[3 * PAGE] == 0);
}

static sigward_adopted *adopt_file(const char *path) {
    sigward_adopted *adopted = NULL;
    CHECK(sigward_adopt_file(path, &adopted) == 0);
    return adopted;
}

static volatile unsigned char *library_maps(const char *path, int rights) {
    int fd = open(path, O_RDWR);
    void *data = mmap(NULL, LOST_LENGTH, rights, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && data != MAP_FAILED && close(fd) == 0);
    return data;
}

static void adopted(void) {
    const char *path = new_file("adopted", LOST_LENGTH);
    volatile unsigned char *data = library_maps(path, PROT_READ);
    adopt_file(path);
    CHECK(truncate(path, PAGE) == 0);
    allow_only_the_list(1);
    CHECK(data[3 * PAGE] == 0);
}

/* The file has the path only: that is asked. */
static void adopted_by_path(void) {
    const char *path = new_file("rotated", LOST_LENGTH);
    adopt_file(path);
    CHECK(rename(path, path_of("old")) == 0 && strcmp(new_file("rotated", LOST_LENGTH), path) == 0);
    volatile unsigned char *data = library_maps(path, PROT_READ);
    CHECK(truncate(path, PAGE) == 0);
    allow_only_the_list(1);
    CHECK(data[3 * PAGE] == 0);
}

static void sunk(void) {
    const char *path = new_file("sunk", LOST_LENGTH);
    volatile unsigned char *data = library_maps(path, PROT_READ | PROT_WRITE);
    CHECK(sigward_adopted_sink(adopt_file(path), LOST_LENGTH) == 0 && truncate(path, PAGE) == 0);
    allow_only_the_list(1);
    data[3 * PAGE] = 1;
}

static void last_words_of_sigpipe(void) {
    int fd = broken_pipe();
    dies = 1;
    allow_only_the_list(0);
    CHECK(write(fd, "x", 1) == 1);
}

static void last_words_of_sigbus(void) {
    const char *path = new_file("cut", LOST_LENGTH);
    volatile unsigned char *data = library_maps(path, PROT_READ);
    CHECK(truncate(path, PAGE) == 0);
    dies = 1;
    allow_only_the_list(0);
    CHECK(data[3 * PAGE] == 0);
}

/* The filter is one: a call that is not on the list ends the process. */
static void other(void) {
    allow_only_the_list(1);
    getppid();
}

static int filtered_pwritev2; /* what the filter says to it, as on older kernels; 0: nothing */

static void allow_only_writers(void) {
    if (filtered_pwritev2) {
        add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                         offsetof(struct seccomp_data, nr)));
        add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1));
        add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | filtered_pwritev2));
    }
    add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    ALLOW(of_writers);
    ALLOW(of_the_test);
    add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    struct sock_fprog program = {.len = length, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void writers(void) {
    int ends[2], file = memfd_create("file", 0), pipes[2];
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr messages = {.msg_hdr = message};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && close(ends[1]) == 0);
    CHECK(file >= 0 && write(file, "xy", 2) == 2 && pipe(pipes) == 0);
    CHECK(write(pipes[1], "x", 1) == 1);
    int fds[] = {broken_pipe(), ends[0]};
    allow_only_writers();
    for (int i = 0; i < 2; i++) {
        CHECK(sigward_write(fds[i], "x", 1) == -EPIPE);
        CHECK(sigward_writev(fds[i], &part, 1) == -EPIPE);
        CHECK(sigward_sendfile(fds[i], file, &(off_t){0}, 1) == -EPIPE);
    }
    CHECK(sigward_splice(pipes[0], NULL, fds[0], NULL, 1, 0) == -EPIPE);
    CHECK(sigward_send(ends[0], "x", 1, 0) == -EPIPE);
    CHECK(sigward_sendto(ends[0], "x", 1, 0, NULL, 0) == -EPIPE);
    CHECK(sigward_sendmsg(ends[0], &message, 0) == -EPIPE);
    CHECK(sigward_sendmmsg(ends[0], &messages, 1, 0) == -EPIPE);
    CHECK(sigward_write(file, "x", 1) == 1 && sigward_writev(file, &part, 1) == 1);
}

static void writers_before(void) {
    filtered_pwritev2 = EOPNOTSUPP;
    writers();
}

static void row(const char *what, void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        armed();
        run();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    int signal = WIFSIGNALED(status), number = signal ? WTERMSIG(status) : WEXITSTATUS(status);
    SAY("%s: %s %d\n", what, signal ? "signal" : "exit", number);
}

static void listed(void) {
    row("pipe", on_pipe);
    row("socket", on_socket);
    row("tcp", on_tcp);
    row("map", in_map);
    row("writers", writers);
    row("writers before Linux 6.18", writers_before);
    row("adopted", adopted);
    row("adopted, by its path", adopted_by_path);
    row("sunk", sunk);
}

static void last_words(void) {
    explains = 1;
    row("last words", last_words_of_sigpipe);
    row("last words", last_words_of_sigbus);
}

static void unlisted(void) { row("another call", other); }

SCENARIOS({"listed", listed}, {"last_words", last_words}, {"unlisted", unlisted})
