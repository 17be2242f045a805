// What a C library does in a Go process: it writes to broken pipes, it raises signals, it changes
// dispositions, early (from a constructor) and late. Nothing here knows of Go or of sigward.

#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

// ---------------------------------------------------------------- dispositions

static void swallow(int signal_number) { (void)signal_number; }

static struct sigaction below; // what `chain` passes on to

static void chain(int signal_number, siginfo_t *info, void *context) {
    if (below.sa_handler == SIG_DFL || below.sa_handler == SIG_IGN) {
        return;
    }
    if (below.sa_flags & SA_SIGINFO) {
        below.sa_sigaction(signal_number, info, context);
    } else {
        below.sa_handler(signal_number);
    }
}

static int install(const char *name) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    if (strcmp(name, "SIG_DFL") == 0) {
        action.sa_handler = SIG_DFL;
    } else if (strcmp(name, "SIG_IGN") == 0) {
        action.sa_handler = SIG_IGN;
    } else if (strcmp(name, "handler") == 0) {
        action.sa_handler = swallow;
    } else if (strcmp(name, "chaining handler") == 0) {
        action.sa_sigaction = chain;
        action.sa_flags |= SA_SIGINFO;
        if (sigaction(SIGPIPE, NULL, &below) != 0) {
            return errno;
        }
    } else {
        return EINVAL;
    }
    return sigaction(SIGPIPE, &action, NULL) == 0 ? 0 : errno;
}

int native_late(const char *name) { return install(name); }

static const char *early = "";

// Priority 101 runs before Go's own start in every build mode.
__attribute__((constructor(101))) static void before_go(void) {
    const char *wanted = getenv("MATRIX_EARLY");
    if (wanted != NULL && install(wanted) == 0) {
        early = wanted;
    }
}

const char *native_early(void) { return early; }

// ---------------------------------------------------------------- deeds

static int outcome(ssize_t result) { return result < 0 ? errno : 0; }

static int broken_pipe(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    close(ends[0]);
    return ends[1];
}

static int write_pipe(void) {
    int fd = broken_pipe();
    int result = outcome(write(fd, "x", 1));
    close(fd);
    return result;
}

static int writev_socket(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return errno;
    }
    close(ends[0]);
    struct iovec part = {.iov_base = "x", .iov_len = 1};
    int result = outcome(writev(ends[1], &part, 1));
    close(ends[1]);
    return result;
}

static int send_socket(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return errno;
    }
    close(ends[0]);
    int result = outcome(send(ends[1], "x", 1, 0));
    close(ends[1]);
    return result;
}

// The three calls a library makes most. The first answer that is not EPIPE is the answer.
static int write_all(void) {
    int result = write_pipe();
    if (result == EPIPE) {
        result = writev_socket();
    }
    return result == EPIPE ? send_socket() : result;
}

// No flag prevents the signal of these two.
static int copy_in_kernel(void) {
    int source = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = broken_pipe();
    int result = outcome(sendfile(fd, source, NULL, 100));
    if (result == EPIPE) {
        loff_t offset = 0;
        result = outcome(splice(source, &offset, fd, NULL, 100, 0));
    }
    close(fd);
    close(source);
    return result;
}

static void *close_later(void *fd) {
    struct timespec pause = {.tv_nsec = 30 * 1000 * 1000};
    nanosleep(&pause, NULL);
    close((int)(intptr_t)fd);
    return NULL;
}

// The reader leaves while a write is half done: the call returns a count, and the signal comes all
// the same.
static int write_partly(void) {
    int ends[2];
    pthread_t closer;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    static char megabyte[1 << 20];
    if (pthread_create(&closer, NULL, close_later, (void *)(intptr_t)ends[0]) != 0) {
        return EAGAIN;
    }
    ssize_t count = write(ends[1], megabyte, sizeof megabyte);
    pthread_join(closer, NULL);
    close(ends[1]);
    if (count < 0) {
        return errno;
    }
    return count > 0 && count < (ssize_t)sizeof megabyte ? EPIPE : 0;
}

// lines is yes(1) in C: it prints until its reader leaves.
static int lines(void) {
    while (puts("a line of C") >= 0) {
    }
    return errno;
}

static int raise_pipe(void) { return raise(SIGPIPE) == 0 ? 0 : errno; }
static int pthread_kill_pipe(void) { return pthread_kill(pthread_self(), SIGPIPE); }
static int kill_pipe(void) { return outcome(kill(getpid(), SIGPIPE)); }

static int sigqueue_pipe(void) {
    union sigval value = {.sival_int = 7};
    return outcome(sigqueue(getpid(), SIGPIPE, value));
}

static atomic_int usr1_count;
static void count_usr1(int signal_number) {
    (void)signal_number;
    atomic_fetch_add(&usr1_count, 1);
}

// A handler of the library's own, with SA_ONSTACK as Go asks.
static int own_handler(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_usr1;
    action.sa_flags = SA_ONSTACK | SA_RESTART;
    int before = atomic_load(&usr1_count);
    if (sigaction(SIGUSR1, &action, NULL) != 0 || raise(SIGUSR1) != 0) {
        return errno;
    }
    return atomic_load(&usr1_count) == before + 1 ? 0 : ENOMSG;
}

static const struct {
    const char *name;
    int (*function)(void);
} deeds[] = {
    {"write", write_all},
    {"copy in kernel", copy_in_kernel},
    {"write partly", write_partly},
    {"lines", lines},
    {"raise", raise_pipe},
    {"pthread_kill", pthread_kill_pipe},
    {"kill", kill_pipe},
    {"sigqueue", sigqueue_pipe},
    {"own handler", own_handler},
};

struct errand {
    int (*function)(void);
    int result;
};

static void *run_errand(void *argument) {
    struct errand *errand = argument;
    errand->result = errand->function();
    return NULL;
}

int native_do(const char *name, int on_foreign_thread) {
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        if (strcmp(deeds[i].name, name) != 0) {
            continue;
        }
        struct errand errand = {deeds[i].function, 0};
        pthread_t thread;
        if (!on_foreign_thread) {
            run_errand(&errand);
        } else if (pthread_create(&thread, NULL, run_errand, &errand) != 0) {
            return EAGAIN;
        } else {
            pthread_join(thread, NULL);
        }
        return errand.result;
    }
    return -1;
}

// ---------------------------------------------------------------- a long call

static atomic_int released;

void native_wait(void) {
    struct timespec pause = {.tv_nsec = 1000 * 1000};
    while (!atomic_load(&released)) {
        nanosleep(&pause, NULL);
    }
}

void native_release(void) { atomic_store(&released, 1); }
