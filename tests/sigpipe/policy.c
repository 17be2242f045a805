/* The SIGPIPE policy as a C program sees it. */
#include "host.h"
#include <sys/resource.h>

#ifdef BARE
static void expect_event(int fd, int kind, long result) { (void)fd, (void)kind, (void)result; }
static void show_status(void) {}
#else
static uint64_t cursor;

/* The next event is this write by this thread. */
static void expect_event(int fd, int kind, long result) {
    sigward_event event;
    CHECK(sigward_read_events(&cursor, &event, 1) == 1);
    char line[256];
    CHECK(sigward_event_format(&event, line, sizeof line) > 0);
    fprintf(stderr, "%s\n", line);
#if defined __x86_64__
    CHECK(event.fd == fd && event.fd_kind == kind);
#else
    (void)fd, (void)kind;
#endif
    CHECK(event.result == result);
    CHECK(event.tid == (int)syscall(SYS_gettid) && event.signal == SIGPIPE &&
          event.time_ns > 1700000000000000000ULL);
    CHECK(strcmp(event.thread, "policy-thread") == 0);
}

static void show_status(void) {
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0);
    SAY("outcome %d seat %d previous %d\n", report.outcome, report.seat,
        report.previous > 1 ? 2 : (int)report.previous);
}
#endif

#define FAILS(call) CHECK((call) == -1 && errno == EPIPE)

/* ---- every call that raises SIGPIPE, in a child each: bare all die ---- */

static int tcp_pair[2];

static void connect_tcp(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
          listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    tcp_pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(tcp_pair[0], (struct sockaddr *)&address, length) == 0);
    CHECK((tcp_pair[1] = accept(listener, NULL, NULL)) >= 0);
    close(listener);
}

/* Our side of a connection that the peer has reset. */
static int broken_tcp(void) {
    connect_tcp();
    struct linger reset = {.l_onoff = 1};
    CHECK(setsockopt(tcp_pair[1], SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    close(tcp_pair[1]);
    await_reset(tcp_pair[0]);
    CHECK(send(tcp_pair[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNRESET);
    return tcp_pair[0];
}

static int broken_unix(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    close(ends[1]);
    return ends[0];
}

static int full_pipe_in(void) {
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], "1234", 4) == 4);
    return ends[0];
}

static struct iovec two[] = {{"one", 3}, {"two", 3}};
static struct msghdr message = {.msg_iov = two, .msg_iovlen = 2};

static int by_write(int fd) { return (int)write(fd, "x", 1); }
static int by_writev(int fd) { return (int)writev(fd, two, 2); }
static int by_send(int fd) { return (int)send(fd, "x", 1, 0); }
static int by_sendmsg(int fd) { return (int)sendmsg(fd, &message, 0); }
static int by_sendmmsg(int fd) {
    struct mmsghdr many = {.msg_hdr = message};
    return sendmmsg(fd, &many, 1, 0);
}
static int by_sendfile(int fd) {
    int file = memfd_create("file", 0);
    CHECK(write(file, "1234", 4) == 4);
    return (int)sendfile(fd, file, &(off_t){0}, 4);
}
static int by_splice(int fd) { return (int)splice(full_pipe_in(), NULL, fd, NULL, 4, 0); }
static int by_tee(int fd) { return (int)tee(full_pipe_in(), fd, 4, 0); }
static int by_vmsplice(int fd) { return (int)vmsplice(fd, two, 2, 0); }

struct writer {
    const char *name;
    int (*write)(int);
    int pipes, sockets;
};
static const struct writer writers[] = {
    {"write", by_write, 1, 1},     {"writev", by_writev, 1, 1},     {"send", by_send, 0, 1},
    {"sendmsg", by_sendmsg, 0, 1}, {"sendmmsg", by_sendmmsg, 0, 1}, {"sendfile", by_sendfile, 1, 1},
    {"splice", by_splice, 1, 1},   {"tee", by_tee, 1, 0},           {"vmsplice", by_vmsplice, 1, 0},
};

static void *in_child(void *argument) {
    const struct writer *writer = argument;
    CHECK(pthread_setname_np(pthread_self(), "policy-thread") == 0);
    int fd = writer->pipes == 2     ? broken_pipe()
             : writer->sockets == 2 ? broken_unix()
                                    : broken_tcp();
    FAILS(writer->write(fd));
    expect_event(fd, writer->pipes == 2 ? 1 : 2, -EPIPE);
    _exit(0);
}

static void every_call(void) {
    CHECK(ward() == 0);
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++) {
        static const char *const kinds[] = {"pipe", "unix", "tcp"};
        for (int kind = 0; kind < 3; kind++) {
            if (kind == 0 ? !writers[i].pipes : !writers[i].sockets) continue;
            pid_t child = fork();
            if (child == 0) {
                struct writer one = writers[i];
                one.pipes = kind == 0 ? 2 : 0;
                one.sockets = kind == 1 ? 2 : 0;
                pthread_t thread;
                CHECK(pthread_create(&thread, NULL, in_child, &one) == 0);
                pthread_join(thread, NULL);
            }
            int status;
            CHECK(waitpid(child, &status, 0) == child);
            SAY("%s %s: %s %d\n", writers[i].name, kinds[kind],
                WIFSIGNALED(status) ? "signal" : "exit",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        }
    }
}

static void high_number(void) {
    CHECK(ward() == 0 && dup2(broken_pipe(), 1000) == 1000);
    CHECK(write(1000, "x", 1) == -1 && errno == EPIPE);
}

/* ---- a partial write: some bytes, and the signal all the same ---- */

static int half_read[2];

static void *reader(void *unused) {
    (void)unused;
    char some[4096];
    usleep(50000);
    CHECK(read(half_read[0], some, sizeof some) == (ssize_t)sizeof some);
    usleep(50000);
    close(half_read[0]);
    return NULL;
}

static void partial(void) {
    static char much[1 << 20];
    pthread_t thread;
    CHECK(ward() == 0);
    CHECK(pthread_setname_np(pthread_self(), "policy-thread") == 0);
    CHECK(pipe(half_read) == 0);
    CHECK(pthread_create(&thread, NULL, reader, NULL) == 0);
    ssize_t count = write(half_read[1], much, sizeof much);
    CHECK(count > 0 && count < (ssize_t)sizeof much);
    expect_event(half_read[1], 1, count);
    pthread_join(thread, NULL);
}

/* ---- lower signals stack their frames under ours ---- */

static volatile int storm = 1, lower;
static void on_lower(int signal) { (void)signal, lower++; }

static void *stormy(void *victim) {
    while (storm) {
        pthread_kill(*(pthread_t *)victim, SIGUSR1);
        for (volatile int pause = 0; pause < 3000; pause++) {}
    }
    return NULL;
}

static void nested(void) {
    pthread_t self = pthread_self(), thread;
    CHECK(ward() == 0);
    CHECK(pthread_setname_np(self, "policy-thread") == 0);
    signal(SIGUSR1, on_lower);
    CHECK(pthread_create(&thread, NULL, stormy, &self) == 0);
    int fd = broken_pipe();
    /* A busy machine lets the other thread run seldom. */
    for (int i = 0; i < 100000 || lower <= 100; i++) {
        FAILS(write(fd, "x", 1));
        if (i % 1000 == 999) {
#ifndef BARE
            sigward_event events[512];
            ssize_t count = sigward_read_events(&cursor, events, 512);
            for (ssize_t one = 0; one < count; one++) CHECK(events[one].fd == fd);
            CHECK(count > 0);
#endif
        }
    }
    storm = 0;
    pthread_join(thread, NULL);
    CHECK(lower > 100);
}

/* ---- nothing is read beyond the page of the call and the page of its stack ---- */

static void edges(void) {
#ifdef __x86_64__
    enum { PAGE = PAGE_BYTES };
    static char handlers_stack[65536];
    stack_t alternate = {.ss_sp = handlers_stack, .ss_size = sizeof handlers_stack};
    char *page = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED && (page += PAGE));
    CHECK(mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    memcpy(page, "\x0f\x05\xc3", 3); /* syscall; ret: at the start of a page, with a stack at its
                                        end */
    CHECK(sigaltstack(&alternate, NULL) == 0 && ward() == 0);
    long result;
    __asm__ volatile("mov %%rsp, %%rbx; mov %[top], %%rsp; call *%[code]; mov %%rbx, %%rsp"
                     : "=a"(result)
                     : "a"(SYS_write), "D"(broken_pipe()), "S"("x"),
                       "d"(1), [top] "r"(page + PAGE - 8), [code] "r"(page)
                     : "rbx", "rcx", "r11", "memory");
    CHECK(result == -EPIPE);
#else
    _exit(97); /* as if there were no such scenario */
#endif
}

/* A jump has led to the start of a page: nothing is before it, and what comes there is no echo. */
static void *kill_later(void *unused) {
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    usleep(50000);
    kill(getpid(), SIGPIPE);
    return unused;
}

static void edge_of_a_jump(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_t thread;
    char *code = mmap(NULL, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED && (code += page));
    CHECK(mprotect(code, page, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    int fd = broken_pipe();
    CHECK(ward() == 0);
    alarm(patience(100));
    CHECK(pthread_create(&thread, NULL, kill_later, NULL) == 0);
    /* There it jumps to itself, with the result of a failed write. */
#ifdef __x86_64__
    memcpy(code, "\xeb\xfe", 2);
    __asm__ volatile("jmp *%[code]" ::"a"(-(long)EPIPE), "D"(fd), [code] "r"(code));
#else
    (void)fd; /* the result is in its register */
    memcpy(code, "\0\0\0\x14", 4);
    __builtin___clear_cache(code, code + 4);
    __asm__ volatile("mov x0, %[result]; br %[code]" ::[result] "r"(-(long)EPIPE),
                     [code] "r"(code)
                     : "x0");
#endif
}

/* ---- an existing handler keeps its signals ---- */

static volatile int handled;
static void on_pipe(int signal) { (void)signal, handled++; }

static void existing_handler(void) {
    signal(SIGPIPE, on_pipe);
    CHECK(ward() == 0);
    FAILS(write(broken_pipe(), "x", 1));
    raise(SIGPIPE);
    SAY("handled %d\n", handled);
}

/* ---- ignore, filter, restore ---- */

static void ignore_default(void) {
    CHECK(sigward_sigpipe_ignore() == 0);
    CHECK(sigward_sigpipe_ignore() == 0);
    show_status();
    FAILS(write(broken_pipe(), "x", 1));
    raise(SIGPIPE);
    CHECK(current_handler(SIGPIPE) == (void *)SIG_IGN);
    CHECK(sigward_sigpipe_restore() == 0);
    show_status();
    CHECK(current_handler(SIGPIPE) == (void *)SIG_DFL);
    write(broken_pipe(), "x", 1);
}

static void ignore_above_a_handler(void) {
    signal(SIGPIPE, on_pipe);
    CHECK(sigward_sigpipe_ignore() == 0);
    FAILS(write(broken_pipe(), "x", 1));
    show_status();
    SAY("handled %d\n", handled);
}

static void filter_after_ignore(void) {
    CHECK(sigward_sigpipe_ignore() == 0);
    CHECK(sigward_sigpipe_filter() == 0);
    show_status();
    FAILS(write(broken_pipe(), "x", 1));
    raise(SIGPIPE);
}

static void already_ignored(void) {
    CHECK(sigward_sigpipe_restore() == 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK(ward() == 0);
    show_status();
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(current_handler(SIGPIPE) == (void *)SIG_IGN);
    SAY("left alone\n");
}

static void restore_and_die(void) {
    CHECK(ward() == 0);
    show_status();
    CHECK(ward() == 0);
    show_status();
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(sigward_sigpipe_restore() == 0);
    show_status();
    CHECK(current_handler(SIGPIPE) == (void *)SIG_DFL);
    write(broken_pipe(), "x", 1);
}

static void overwritten(void) {
    CHECK(ward() == 0);
    signal(SIGPIPE, SIG_DFL);
    show_status();
    CHECK(sigward_ensure_on_top() == 0);
    show_status();
    FAILS(write(broken_pipe(), "x", 1));
    signal(SIGPIPE, on_pipe);
    show_status();
    CHECK(sigward_ensure_on_top() == 0);
    raise(SIGPIPE);
    SAY("handled %d\n", handled);
    sigward_sigpipe_restore();
    signal(SIGPIPE, SIG_DFL);
    write(broken_pipe(), "x", 1);
}

/* ---- before main: only the constructor has run ---- */

static int early_status = -1;
__attribute__((constructor(102))) static void early(void) {
    if (!getenv("EARLY")) return;
    early_status = write(broken_pipe(), "x", 1) == -1 && errno == EPIPE;
}

static void constructor(void) {
#ifndef BARE
    /* Something of the library must be used, as any user does, or it is not linked at all. */
    CHECK(sigward_version() != NULL);
#endif
    CHECK(early_status == 1);
    SAY("lived\n");
}

/* ---- one line on stderr, also when stderr is full or broken ---- */

static void log_line(void) {
#ifndef BARE
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_LOG_STDERR};
    CHECK(sigward_init(&options) == 0);
#endif
    FAILS(write(broken_pipe(), "x", 1));
}

static void existing_default(void) {
    CHECK(ward() == 0);
    FAILS(write(broken_pipe(), "x", 1));
}

static void log_nowhere(void) {
    int ends[2];
    log_line();
    /* A stderr that nobody reads and that is full: nothing waits. */
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    while (write(ends[1], "x", 1) == 1) {}
    CHECK(fcntl(ends[1], F_SETFL, 0) == 0 && dup2(ends[1], 2) == 2);
    alarm(patience(60));
    for (int i = 0; i < 100; i++) FAILS(write(broken_pipe(), "x", 1));
#ifndef BARE
    /* Without this the first write to it ends the program, as that of every filter. */
    sigward_options swallow = {.size = sizeof swallow, .flags = SIGWARD_SWALLOW_STDIO};
    CHECK(sigward_init(&swallow) == 0);
#endif
    /* A stderr that is broken: a line about it would make the next signal, for ever. */
    CHECK(dup2(broken_pipe(), 2) == 2);
    for (int i = 0; i < 100; i++) FAILS(write(2, "x", 1));
    for (int i = 0; i < 100; i++) FAILS(write(broken_pipe(), "x", 1));
    close(2);
    for (int i = 0; i < 100; i++) FAILS(write(broken_pipe(), "x", 1));
    SAY("lived\n");
}

/* A stderr that is a file, and as long as it may become: the line is left out. A SIGXFSZ that waits
 * for the host already is the host's. */
static void log_limited(void) {
    char path[64];
    sigset_t size, pending;
    snprintf(path, sizeof path, "/tmp/sigward-log-limited-%d", (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0600);
    CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 4096) == 0 && dup2(fd, 2) == 2);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, RLIM_INFINITY}) == 0);
    log_line();
    sigemptyset(&size), sigaddset(&size, SIGXFSZ);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 0);
    CHECK(sigprocmask(SIG_BLOCK, &size, NULL) == 0 && write(fd, "x", 1) == -1 && errno == EFBIG);
    FAILS(write(broken_pipe(), "x", 1));
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ) == 1);
    CHECK(lseek(fd, 0, SEEK_END) == 4096);
}

/* ---- children ---- */

static void show_child(const char *how) {
    fflush(stdout);
    if (strcmp(how, "system") == 0) {
        CHECK(system("grep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status") == 0);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        execlp("grep", "grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status", (char *)NULL);
        _exit(99);
    }
    CHECK(waitpid(child, NULL, 0) == child);
}

static void children(void) {
    CHECK(ward() == 0);
    show_child("fork");
    show_child("system");
}

/* ---- the processor checks alignment (EFLAGS.AC), which the kernel leaves on in handlers ---- */

static void write_checked(int fd) {
    long result = 0;
#ifdef __x86_64__
    __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; syscall;"
                     "pushfq; andq $~0x40000, (%%rsp); popfq"
                     : "=a"(result)
                     : "a"(SYS_write), "D"(fd), "S"("x"), "d"(1)
                     : "rcx", "r11", "memory", "cc");
#else
    (void)fd; /* no such flag */
#endif
    CHECK(result == -EPIPE);
}

static void alignment_checked(void) {
    int pair[2];
    CHECK(ward() == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && close(pair[0]) == 0);
    write_checked(broken_pipe());
    write_checked(pair[1]);
}

static volatile int aligned;
static void count_aligned(int signal) { aligned += signal == SIGPIPE; }

static void alignment_checked_and_handled(void) {
    signal(SIGPIPE, count_aligned);
    alignment_checked();
    CHECK(aligned == 2);
}

/* The number decides: the same pipe under another one is a peer like any other. */
static void copies_of_stdout(void) {
    int copy = broken_pipe();
    CHECK(dup2(copy, 1) == 1);
    int opened = open("/dev/stdout", O_WRONLY);
    CHECK(opened > 1 && ward() == 0);
    FAILS(write(copy, "x", 1));
    FAILS(write(opened, "x", 1));
    fprintf(stderr, "copies fail\n");
    FAILS(write(1, "x", 1));
}

/* What is no echo is ignored behind a handler: it interrupts what a handler interrupts. */
static void ignored_by_a_handler(void) {
    int ends[2];
    CHECK(pipe(ends) == 0 && signal(SIGPIPE, SIG_IGN) == SIG_DFL);
#ifndef BARE
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_REPLACE_IGNORE};
    CHECK(sigward_init(&options) == 0);
#endif
    alarm(patience(60));
    pid_t process = getpid(), child = fork();
    if (child == 0) {
        until_it_waits(process);
        CHECK(kill(process, SIGPIPE) == 0);
#ifdef BARE
        CHECK(write(ends[1], "x", 1) == 1);
#endif
        _exit(0);
    }
    struct pollfd ours = {.fd = ends[0], .events = POLLIN};
    int ready = poll(&ours, 1, -1);
    SAY("%s\n", ready == 1 ? "ready" : errno == EINTR ? "interrupted" : "?");
}

SCENARIOS({"every_call", every_call}, {"high_number", high_number}, {"partial", partial},
          {"nested", nested}, {"edges", edges}, {"edge_of_a_jump", edge_of_a_jump},
          {"existing_handler", existing_handler}, {"ignore_default", ignore_default},
          {"ignore_above_a_handler", ignore_above_a_handler},
          {"filter_after_ignore", filter_after_ignore}, {"already_ignored", already_ignored},
          {"restore_and_die", restore_and_die}, {"overwritten", overwritten},
          {"constructor", constructor}, {"children", children}, {"log_line", log_line},
          {"log_nowhere", log_nowhere}, {"log_limited", log_limited},
          {"existing_default", existing_default},
          {"copies_of_stdout", copies_of_stdout}, {"ignored_by_a_handler", ignored_by_a_handler},
          {"alignment_checked", alignment_checked},
          {"alignment_checked_and_handled", alignment_checked_and_handled})
