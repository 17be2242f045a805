/* What is an echo: every system call that writes, by every gate, cut short or failed, whatever its
 * descriptor has become; and no other system call. Bare, the first kind dies and the second as
 * well; warded, the first kind lives. */
#include "refuse.h"
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#define BIG (1 << 20)

static int ends[2];
static char big[BIG];

/* Until a pipe is full, so that its writer waits. */
static void wait_until_full(int reader) {
    int held = 0;
    while (held < 65536) {
        CHECK(ioctl(reader, FIONREAD, &held) == 0);
        sched_yield();
    }
}

/* ---- cut short, and the descriptor looks sound ---- */

/* The number is another file's before the reader goes away. */
static void *replace_then_break(void *unused) {
    wait_until_full(ends[0]);
    int null = open("/dev/null", O_WRONLY);
    CHECK(null >= 0 && dup2(null, ends[1]) == ends[1] && close(null) == 0);
    close(ends[0]);
    return unused;
}

static void *close_then_break(void *unused) {
    wait_until_full(ends[0]);
    close(ends[1]);
    close(ends[0]);
    return unused;
}

static void cut_short(void *(*other)(void *)) {
    CHECK(ward() == 0 && pipe(ends) == 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, other, NULL) == 0);
    ssize_t count = write(ends[1], big, BIG);
    CHECK(count >= 65536 && count < BIG);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void replaced(void) { cut_short(replace_then_break); }
static void closed(void) { cut_short(close_then_break); }

static int shut, how;

static void *shut_when_full(void *unused) {
    int before = -1, now = 0;
    while (now == 0 || now != before) { /* the send queue has stopped growing */
        before = now;
        usleep(20000);
        CHECK(ioctl(shut, TIOCOUTQ, &now) == 0);
    }
    shutdown(shut, how);
    return unused;
}

static void shut_down(int direction) {
    how = direction;
    CHECK(ward() == 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), file = memfd_create("file", 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    CHECK(bind(listener, (void *)&address, length) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (void *)&address, &length) == 0);
    shut = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(shut, (void *)&address, length) == 0 && ftruncate(file, 64 << 20) == 0);
    int peer = accept(listener, NULL, NULL);
    CHECK(peer >= 0);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, shut_when_full, NULL) == 0);
    ssize_t count = sendfile(shut, file, NULL, 64 << 20);
    CHECK(count > 0 && count < 64 << 20);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void shut_for_writing(void) { shut_down(SHUT_WR); }
static void shut_for_all(void) { shut_down(SHUT_RDWR); }

/* A FIFO whose reader comes back at once. */
static void reader_comes_back(void) {
    char folder[] = "/tmp/sigward-fifo-XXXXXX", path[64];
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    pid_t parent = getpid(), readers[2];
    for (int i = 0; i < 2; i++) {
        if ((readers[i] = fork()) == 0) {
            alarm(patience(200));
            for (unsigned size = 1; getppid() == parent; size = size * 5 % 65521) {
                int fd = open(path, O_RDONLY);
                if (read(fd, big, size) < 0) _exit(1);
                close(fd);
            }
            _exit(0);
        }
    }
    pid_t writer = fork();
    if (writer == 0) {
        CHECK(ward() == 0);
        for (int cut = 0; cut < 40;) {
            int fd = open(path, O_WRONLY);
            ssize_t count = BIG;
            while (count == BIG) count = write(fd, big, BIG);
            cut += count > 0;
            close(fd);
        }
        _exit(0);
    }
    int status, ignored;
    CHECK(waitpid(writer, &status, 0) == writer);
    for (int i = 0; i < 2; i++)
        CHECK(kill(readers[i], SIGKILL) == 0 && waitpid(readers[i], &ignored, 0) == readers[i]);
    unlink(path);
    rmdir(folder);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    CHECK(status == 0);
}

/* ---- calls that start writes ---- */

#ifdef __x86_64__
/* The number is loaded right before the call, or not. */
static long known(long number, long a, long b, long c, long d) {
    long result;
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = 0, r9 __asm__("r9") = 0;
    if (number == SYS_io_submit)
        __asm__ volatile("mov %1, %%eax\n syscall"
                         : "=a"(result)
                         : "i"(SYS_io_submit), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
    else
        __asm__ volatile("mov %1, %%eax\n syscall"
                         : "=a"(result)
                         : "i"(SYS_io_uring_enter), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                           "r"(r9)
                         : "rcx", "r11", "memory");
    return result;
}
#else
#define known unknown
#endif
static long unknown(long number, long a, long b, long c, long d) {
    return syscall(number, a, b, c, d, 0L, 0L);
}

typedef long enter(long, long, long, long, long);

static void submit(enter *call) {
    CHECK(ward() == 0);
    aio_context_t context = 0;
    CHECK(syscall(SYS_io_setup, 4, &context) == 0);
    struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE,
                         .aio_fildes = (unsigned)broken_pipe(),
                         .aio_buf = (uintptr_t) "x",
                         .aio_nbytes = 1};
    struct iocb *list[] = {&block};
    struct io_event event;
    CHECK(call(SYS_io_submit, (long)context, 1, (long)list, 0) == 1);
    CHECK(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL) == 1 && event.res == -EPIPE);
}

static void aio_known(void) { submit(known); }
static void aio_unknown(void) { submit(unknown); }

/* In a sandbox, or an emulator, without the call that reads memory that may not be there. */
static void aio_in_a_sandbox(void) {
    refuse(SYS_process_vm_readv, EPERM);
    submit(unknown);
}

static void ring(int registered, enter *call) {
    struct io_uring_params params = {0};
    int fd = (int)syscall(SYS_io_uring_setup, 4, &params);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM)) {
        SAY("no io_uring here\n");
        signal(SIGPIPE, SIG_DFL);
#ifdef BARE
        raise(SIGPIPE);
#endif
        return;
    }
    CHECK(fd >= 0);
    char *queue = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, params.sq_entries * sizeof *entry,
                                      PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    CHECK(queue != MAP_FAILED && entry != MAP_FAILED);
    /* On older kernels (6.1) it is a thread of theirs that writes to a pipe which may block, and
     * that one is sent no signal. */
    int broken = broken_pipe();
    CHECK(fcntl(broken, F_SETFL, O_NONBLOCK) == 0);
    *entry = (struct io_uring_sqe){.opcode = IORING_OP_WRITE,
                                   .fd = broken,
                                   .addr = (uintptr_t) "x",
                                   .len = 1,
                                   .off = -1ULL};
    *(unsigned *)(queue + params.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
    long target = fd;
    if (registered) {
        struct io_uring_rsrc_update update = {.offset = -1U, .data = (unsigned)fd};
        CHECK(syscall(SYS_io_uring_register, fd, IORING_REGISTER_RING_FDS, &update, 1) == 1);
        target = update.offset;
    }
    CHECK(ward() == 0);
    CHECK(call(SYS_io_uring_enter, target, 1, 0, registered ? IORING_ENTER_REGISTERED_RING : 0) ==
          1);
}

static void ring_known(void) { ring(0, known); }
static void ring_unknown(void) { ring(0, unknown); }
static void registered_known(void) { ring(1, known); }
static void registered_unknown(void) { ring(1, unknown); }

/* ---- the other gate, and odd code ---- */

#ifdef __x86_64__
static long by_int80(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

static unsigned *low_memory(void) {
    unsigned *low =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    CHECK(low != MAP_FAILED);
    return low;
}

static void int80(void) {
    CHECK(ward() == 0);
    unsigned *low = low_memory();
    CHECK(by_int80(4, broken_pipe(), (long)low, 1) == -EPIPE);
    low[0] = (unsigned)(uintptr_t)(low + 8), low[1] = 1; /* an iovec of 32 bits */
    CHECK(by_int80(146, broken_pipe(), (long)low, 1) == -EPIPE);
}

static void int80_socketcall(void) {
    CHECK(ward() == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && close(ends[0]) == 0);
    unsigned *low = low_memory();
    low[0] = (unsigned)ends[1], low[1] = (unsigned)(uintptr_t)(low + 8), low[2] = 1, low[3] = 0;
    CHECK(by_int80(102, 9, (long)low, 0) == -EPIPE);
}

/* Its number is write's at the other gate: exit(2) would be it here. */
static void *int80_reads(void *unused) {
    unsigned *low = low_memory();
    for (;;) {
        CHECK(lseek(ends[0], 0, SEEK_SET) == 0);
        CHECK(by_int80(3, ends[0], (long)low, 1) == 1);
    }
    return unused;
}

/* A thread whose stack is used up to the last byte: nothing lies above its stack pointer. */
static void end_of_stack(void) {
    CHECK(ward() == 0);
    static volatile long result;
    static volatile int alive = 1;
    char *stack =
        mmap(NULL, 65536 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED && munmap(stack + 65536, 4096) == 0);
    int fd = broken_pipe();
    long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_CHILD_CLEARTID,
         thread;
    register long r10 __asm__("r10") = (long)&alive, r8 __asm__("r8") = 0;
    __asm__ volatile("syscall\n test %%rax, %%rax\n jnz 1f\n mov $1, %%eax\n mov %[fd], %%edi\n "
                     "mov %[byte], %%rsi\n mov $1, %%edx\n syscall\n"
                     " mov %%rax, %[result]\n mov $60, %%eax\n xor %%edi, %%edi\n syscall\n 1:"
                     : "=a"(thread), [result] "+m"(result)
                     : "a"(56L), "D"(flags), "S"(stack + 65536), "d"(0L), "r"(r10),
                       "r"(r8), [fd] "r"(fd), [byte] "r"(big)
                     : "rcx", "r11", "memory");
    CHECK(thread > 0);
    while (alive) usleep(1000);
    CHECK(result == -EPIPE);
}

/* Spins at the first byte of a page that has nothing before it. */
static void *at_start_of_page(void *unused) {
    unsigned char *pages =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && munmap(pages, 4096) == 0);
    memcpy(pages + 4096, "\xeb\xfe", 2); /* jmp . */
    CHECK(mprotect(pages + 4096, 4096, PROT_READ | PROT_EXEC) == 0);
    ((void (*)(void))(uintptr_t)(pages + 4096))();
    return unused;
}
#endif

/* ---- never an echo ---- */

/* Reads from a socket whose peer is gone: each read(2) returns a count, and its first argument is
 * broken. */
static void *reads_from_dead(void *call) {
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    for (;;) {
        int size = 400000, pair[2];
        /* A kill that meets the write, which returns a count, would pass for its echo. */
        CHECK(pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL) == 0);
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        CHECK(write(pair[1], big, 100000) == 100000 && close(pair[1]) == 0);
        CHECK(pthread_sigmask(SIG_UNBLOCK, &pipe_signal, NULL) == 0);
        struct iovec part = {big, 1};
        ssize_t count = 1;
        while (count == 1)
            count = !strcmp(call, "read")    ? read(pair[0], big, 1)
                    : !strcmp(call, "readv") ? readv(pair[0], &part, 1)
                                             : recv(pair[0], big, 1, 0);
        CHECK(count == 0 && close(pair[0]) == 0);
    }
}

static void *waits(void *unused) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && close(ends[1]) == 0);
    struct pollfd poll = {ends[0], POLLIN, 0};
    for (;;) CHECK(ppoll(&poll, 1, NULL, NULL) == 1);
    return unused;
}

/* kill(2) of this process, which meets a thread in `run`. It must end it each time, as it does
 * bare. */
static void killed_in(void *(*run)(void *), void *argument) {
    for (int i = 0; i < 25; i++) {
        pid_t child = fork();
        if (child == 0) {
            CHECK(ward() == 0);
            sigset_t pipe_signal;
            sigemptyset(&pipe_signal);
            sigaddset(&pipe_signal, SIGPIPE);
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, run, argument) == 0);
            CHECK(pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL) == 0);
            usleep(1000 + (unsigned)i * 77);
            kill(getpid(), SIGPIPE);
            struct timespec end = {patience(60), 0};
            nanosleep(&end, NULL);
            _exit(77);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGPIPE) {
            SAY("round %d: status %x\n", i, status);
            _exit(1);
        }
    }
}

static void kill_in_read(void) { killed_in(reads_from_dead, "read"); }
static void kill_in_readv(void) { killed_in(reads_from_dead, "readv"); }
static void kill_in_recv(void) { killed_in(reads_from_dead, "recv"); }
static void kill_in_poll(void) { killed_in(waits, NULL); }

#ifdef __x86_64__
static void kill_in_int80_read(void) {
    ends[0] = memfd_create("file", 0);
    CHECK(write(ends[0], "x", 1) == 1);
    killed_in(int80_reads, NULL);
}
static void kill_at_start_of_page(void) { killed_in(at_start_of_page, NULL); }

/* Writes all that it has, each time, to somebody who takes everything. */
static void *writes_all(void *call) {
    struct iovec parts[] = {{big, 100}, {big + 100, 200}};
    struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(9)};
    nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct msghdr message = {
        .msg_name = &nobody, .msg_namelen = sizeof nobody, .msg_iov = parts, .msg_iovlen = 2};
    struct mmsghdr messages[] = {{message, 0}, {message, 0}};
    int sink = open("/dev/null", O_WRONLY), away = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(sink >= 0 && away >= 0);
    for (;;) {
        if (!strcmp(call, "writev")) CHECK(writev(sink, parts, 2) == 300);
        else if (!strcmp(call, "sendmsg")) CHECK(sendmsg(away, &message, 0) == 300);
        else CHECK(sendmmsg(away, messages, 2, 0) == 2);
    }
}
static void kill_in_writev(void) { killed_in(writes_all, "writev"); }
static void kill_in_sendmsg(void) { killed_in(writes_all, "sendmsg"); }
static void kill_in_sendmmsg(void) { killed_in(writes_all, "sendmmsg"); }
#endif

/* ---- a line on stderr, which was closed meanwhile ---- */

#ifndef BARE
static void reused_stderr(void) {
    char path[] = "/tmp/sigward-data-XXXXXX", contents[200];
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_LOG_STDERR};
    CHECK(sigward_init(&options) == 0 && write(broken_pipe(), "x", 1) == -1);
    close(2);
    int data = mkstemp(path);
    if (data != 2 || unlink(path) != 0) _exit(1);
    if (write(data, "DATA", 4) != 4 || write(broken_pipe(), "x", 1) != -1 ||
        write(data, "MORE", 4) != 4)
        _exit(2);
    if (sigward_init(NULL) != 0 || write(broken_pipe(), "x", 1) != -1) _exit(3);
    if (pread(data, contents, sizeof contents, 0) != 8 || memcmp(contents, "DATAMORE", 8) != 0)
        _exit(4);
}
#endif

/* ---- a sandbox that allows read, write, exit and the return from a handler ---- */

/* `syscall` is the last word of its page. */
#ifdef __x86_64__
static void end_of_page(void) {
    enum { PAGE = PAGE_BYTES };
#ifndef BARE
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_NO_EVENTS};
    CHECK(sigward_init(&options) == 0);
#endif
    char *code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    memcpy(code + PAGE - 7, "\xb8\x01\x00\x00\x00\x0f\x05\xc3", 8); /* mov $1, %eax; syscall; ret */
    long result;
    __asm__ volatile("call *%[code]"
                     : "=a"(result)
                     : "D"(broken_pipe()), "S"("x"), "d"(1), [code] "r"(code + PAGE - 7)
                     : "rcx", "r11", "memory");
    CHECK(result == -EPIPE);
}
#endif

static void sandbox(void) {
#ifndef BARE
    sigward_options options = {.size = sizeof options, .flags = SIGWARD_NO_EVENTS};
    CHECK(sigward_init(&options) == 0);
#endif
    int pipe_end = broken_pipe();
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
        int right = write(pipe_end, "x", 1) == -1 && errno == EPIPE;
        right &= syscall(SYS_write, pipe_end, "x", 1) == -1 && errno == EPIPE;
        syscall(SYS_exit, !right);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    CHECK(status == 0);
#ifndef BARE
    CHECK(write(pipe_end, "x", 1) == -1 && errno == EPIPE);
    sigward_counters counters;
    sigward_event event;
    uint64_t cursor = 0;
    CHECK(sigward_read_counters(&counters) == 0 && counters.swallowed == 1);
    CHECK(sigward_read_events(&cursor, &event, 1) == 0);
#endif
}

/* ---- */

static void failed(void) {
    CHECK(ward() == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    CHECK(syscall(SYS_write, broken_pipe(), "x", 1) == -1 && errno == EPIPE);
}

SCENARIOS({"failed", failed}, {"replaced", replaced}, {"closed", closed},
          {"shut_for_writing", shut_for_writing}, {"shut_for_all", shut_for_all},
          {"reader_comes_back", reader_comes_back}, {"aio_known", aio_known},
          {"aio_unknown", aio_unknown}, {"aio_in_a_sandbox", aio_in_a_sandbox},
          {"ring_known", ring_known}, {"ring_unknown", ring_unknown},
          {"registered_known", registered_known}, {"registered_unknown", registered_unknown},
#ifdef __x86_64__
          {"int80", int80}, {"end_of_page", end_of_page}, {"int80_socketcall", int80_socketcall},
          {"end_of_stack", end_of_stack}, {"kill_in_int80_read", kill_in_int80_read},
          {"kill_at_start_of_page", kill_at_start_of_page}, {"kill_in_writev", kill_in_writev},
          {"kill_in_sendmsg", kill_in_sendmsg}, {"kill_in_sendmmsg", kill_in_sendmmsg},
#endif
#ifndef BARE
          {"reused_stderr", reused_stderr},
#endif
          {"sandbox", sandbox}, {"kill_in_read", kill_in_read}, {"kill_in_readv", kill_in_readv},
          {"kill_in_recv", kill_in_recv}, {"kill_in_poll", kill_in_poll})
