/* Writers and guards where the system is unkind: filters that come later, cancellation, signals of
 * others. Warded only. */
#include "host.h"
#include "refuse.h"
#include <spawn.h>
#include <sys/signalfd.h>
#include <time.h>

static void in_child(const char *what, void (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        run();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    SAY("%s: %s %d\n", what, WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- refused later ---- */

static struct iovec part = {"x", 1};
static int refusal, warm;

/* pwritev2 is refused, and then whatever a writer could take instead: each writes all the same. */
static void refused(void) {
    int file = memfd_create("file", 0), pipes[2], sockets[2], datagrams[2];
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) == 0);
    int fds[] = {file, pipes[1], sockets[0], datagrams[0]};
    if (warm) CHECK(sigward_write(file, "x", 1) == 1);
    long calls[] = {SYS_pwritev2, SYS_sendto, SYS_sendmsg, SYS_rt_sigprocmask};
    for (size_t call = 0; call < sizeof calls / sizeof *calls; call++) {
        refuse(calls[call], refusal);
        for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
            CHECK(sigward_write(fds[i], "x", 1) == 1);
            CHECK(sigward_writev(fds[i], &part, 1) == 1);
        }
        CHECK(sigward_write(-1, "x", 1) == -EBADF);
        CHECK(sigward_writev(pipes[1], (void *)16, 1) == -EFAULT);
        if (calls[call] != SYS_rt_sigprocmask)
            CHECK(sigward_write(broken_pipe(), "x", 1) == -EPIPE);
    }
}

static void deny(void) {
    static const int refusals[] = {EPERM, ENOSYS, EOPNOTSUPP, EACCES, EINVAL};
    for (warm = 0; warm < 2; warm++)
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
            refusal = refusals[i];
            in_child(warm ? "refused after a write" : "refused before", refused);
        }
}

/* ---- cancellation ---- */

static int full_pipe, full_socket, with, asynchronous;
static pid_t writing; /* the thread that is about to write */
static char much[1 << 20];
static struct iovec big = {much, sizeof much};
static struct msghdr big_message = {.msg_iov = &big, .msg_iovlen = 1};

static void cleaned(void *flag) { *(volatile int *)flag = 1; }

static void write_something(void) {
    struct mmsghdr many = {.msg_hdr = big_message};
    int empty[2];
    switch (with) {
    case 0: sigward_write(full_pipe, much, sizeof much); break;
    case 1: sigward_writev(full_pipe, &big, 1); break;
    case 2: sigward_send(full_socket, much, sizeof much, 0); break;
    case 3: sigward_sendto(full_socket, much, sizeof much, 0, NULL, 0); break;
    case 4: sigward_sendmsg(full_socket, &big_message, 0); break;
    case 5: sigward_sendmmsg(full_socket, &many, 1, 0); break;
    case 6: CHECK(pipe(empty) == 0); sigward_splice(empty[0], NULL, full_pipe, NULL, 100, 0); break;
    }
}

static void *blocked(void *flag) {
    pthread_setcanceltype(asynchronous ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED,
                          NULL);
    pthread_cleanup_push(cleaned, flag);
    __atomic_store_n(&writing, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    write_something();
    pthread_cleanup_pop(0);
    return NULL;
}

/* Until the thread sleeps in the kernel. */
static void until_asleep(pid_t thread) {
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    while (state != 'S') {
        FILE *file = fopen(path, "r");
        CHECK(file && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
        fclose(file);
        usleep(1000);
    }
}

static void cancelled_once(void) {
    int pipes[2], sockets[2];
    volatile int cleaned_up = 0;
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    full_pipe = pipes[1], full_socket = sockets[0];
    CHECK(sigward_write(full_pipe, "x", 1) == 1);
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, blocked, (void *)&cleaned_up) == 0);
    while (!__atomic_load_n(&writing, __ATOMIC_SEQ_CST)) usleep(1000);
    until_asleep(writing);
    CHECK(pthread_cancel(thread) == 0);
    alarm(patience(60));
    CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(cleaned_up);
    CHECK(sigward_write(sockets[1], "x", 1) == 1);
}

static void cancelled(void) {
    static const char *const names[] = {"write",   "writev",   "send",  "sendto",
                                        "sendmsg", "sendmmsg", "splice"};
    for (asynchronous = 0; asynchronous < 2; asynchronous++)
        for (with = 0; with < 7; with++) in_child(names[with], cancelled_once);
}

/* ---- the guard and signals of others ---- */

static void *guard_nothing(void *unused) {
    sigward_thread_guard guard;
    CHECK(sigward_thread_guard_enter(&guard) == 0 && sigward_thread_guard_leave(&guard) == 0);
    return unused;
}

static void *guard_a_write(void *unused) {
    sigward_thread_guard guard;
    CHECK(sigward_thread_guard_enter(&guard) == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    CHECK(sigward_thread_guard_leave(&guard) == 0);
    CHECK(sigward_write(broken_pipe(), "x", 1) == -EPIPE);
    CHECK(sigward_splice(0, NULL, -1, NULL, 1, 0) < 0);
    return unused;
}

/* Blocked everywhere, and one is pending for the process: signalfd's or sigwait's to take. */
static void stays_the_processes(void *(*guard)(void *), int own) {
    sigset_t set;
    struct signalfd_siginfo info;
    sigemptyset(&set), sigaddset(&set, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    pid_t self = getpid(), child;
    if (own) {
        CHECK(kill(self, SIGPIPE) == 0);
    } else {
        if ((child = fork()) == 0) _exit(kill(self, SIGPIPE));
        CHECK(waitpid(child, NULL, 0) == child);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, guard, NULL) == 0 && pthread_join(thread, NULL) == 0);
    guard(NULL);
    CHECK(read(fd, &info, sizeof info) == sizeof info);
    CHECK(info.ssi_pid == (uint32_t)(own ? self : child));
    CHECK(read(fd, &info, sizeof info) == -1);
}
static void own_kill(void) { stays_the_processes(guard_nothing, 1); }
static void others_kill(void) { stays_the_processes(guard_nothing, 0); }
static void own_kill_and_write(void) { stays_the_processes(guard_a_write, 1); }
static void others_kill_and_write(void) { stays_the_processes(guard_a_write, 0); }

/* (glibc's sigtimedwait(3) does not tell raise(3) from kill(2).) */
static int take(const sigset_t *set, siginfo_t *info) {
    return (int)syscall(SYS_rt_sigtimedwait, set, info, &(struct timespec){0}, 8L);
}

/* One that somebody sends to this very thread while the guard lasts, before a write or alone: it is
 * theirs, and comes when the guard has ended. */
enum { RAISED, QUEUED, BY_ANOTHER };

static void stays_the_threads(int how) {
    sigset_t set;
    siginfo_t info, sent = {.si_code = SI_QUEUE, .si_signo = SIGPIPE};
    sigward_thread_guard guard;
    pid_t self = getpid(), child = self;
    sigemptyset(&set), sigaddset(&set, SIGPIPE);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    for (int write_too = 0; write_too < 2; write_too++) {
        CHECK(sigward_thread_guard_enter(&guard) == 0);
        if (how == RAISED) CHECK(syscall(SYS_tgkill, self, self, SIGPIPE) == 0);
        if (how == QUEUED) CHECK(syscall(SYS_rt_tgsigqueueinfo, self, self, SIGPIPE, &sent) == 0);
        if (how == BY_ANOTHER) {
            if ((child = fork()) == 0) _exit(syscall(SYS_tgkill, self, self, SIGPIPE) != 0);
            CHECK(waitpid(child, NULL, 0) == child);
        }
        if (write_too) CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
        CHECK(sigward_thread_guard_leave(&guard) == 0);
        CHECK(take(&set, &info) == SIGPIPE);
        CHECK(info.si_code == (how == QUEUED ? SI_QUEUE : SI_TKILL));
        CHECK(how == QUEUED || info.si_pid == child);
        CHECK(take(&set, &info) == -1);
    }
    /* And where nothing was blocked before, it ends the process then. */
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    if (fork() == 0) {
        CHECK(sigward_thread_guard_enter(&guard) == 0);
        CHECK(syscall(SYS_tgkill, getpid(), getpid(), SIGPIPE) == 0);
        sigward_thread_guard_leave(&guard);
        _exit(0);
    }
    int status;
    CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}
static void raised(void) { stays_the_threads(RAISED); }
static void queued(void) { stays_the_threads(QUEUED); }
static void by_another(void) { stays_the_threads(BY_ANOTHER); }

static void guards(void) {
    in_child("raised", raised);
    in_child("queued", queued);
    in_child("sent to the thread by another", by_another);
    in_child("own kill", own_kill);
    in_child("another's kill", others_kill);
    in_child("own kill, and a write", own_kill_and_write);
    in_child("another's kill, and a write", others_kill_and_write);
}

/* ---- children ---- */

/* A quiet thread's children die of SIGPIPE as bare. */
static void quiet_children(void) {
    extern char **environ;
    CHECK(sigward_init(NULL) == 0 && sigward_quiet_thread_enter() == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    char *const arguments[] = {"sh", "-c", "while :; do echo tick; done 2>/dev/null", NULL};
    for (int way = 0; way < 2; way++) {
        int ends[2], status;
        pid_t child;
        CHECK(pipe2(ends, O_CLOEXEC) == 0);
        if (way == 0) {
            posix_spawn_file_actions_t actions;
            posix_spawn_file_actions_init(&actions);
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
            CHECK(posix_spawn(&child, "/bin/sh", &actions, NULL, arguments, environ) == 0);
        } else if ((child = fork()) == 0) {
            dup2(ends[1], 1);
            execv("/bin/sh", arguments);
        }
        close(ends[1]);
        CHECK(read(ends[0], much, 4) > 0);
        close(ends[0]);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGPIPE);
    }
    CHECK(sigward_quiet_thread_leave() == 0);
}

SCENARIOS({"deny", deny}, {"cancelled", cancelled}, {"guards", guards},
          {"quiet_children", quiet_children})
