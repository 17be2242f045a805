/* Invariants of the chain: circles of handlers, leaving, races, flags, defaults, forks. */
#include "host.h"

static volatile int calls;
static struct sigaction previous;

static void pass_to(struct sigaction *to, int signal, siginfo_t *info, void *context) {
    if (to->sa_handler == SIG_DFL) {
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(signal, &action, NULL);
        raise(signal);
    } else if (to->sa_handler != SIG_IGN) {
        to->sa_sigaction(signal, info, context);
    }
}

/* A handler as many libraries have one: counts, and passes on to the one predecessor it remembers. */
static void chaining(int signal, siginfo_t *info, void *context) {
    calls++;
    pass_to(&previous, signal, info, context);
}

static void put_chaining_on_top(void) {
    struct sigaction action = {.sa_sigaction = chaining, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, &previous) == 0);
}

static void counting(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    calls++;
}

/* ---- termination ---- */

static void circle(void) {
    CHECK(ward() == 0);
    put_chaining_on_top();                 /* chaining -> ours -> SIG_DFL */
    CHECK(sigward_ensure_on_top() == 0);   /* ours' -> chaining -> ours */
    put_chaining_on_top();                 /* chaining remembers ours' only: a circle */
    raise(SIGPIPE);
}

static void circle_above_a_handler(void) {
    install(SIGPIPE, counting, 0);
    CHECK(ward() == 0);
    put_chaining_on_top();
    CHECK(sigward_ensure_on_top() == 0);
    put_chaining_on_top();
    int before = calls;
    raise(SIGPIPE);
    SAY("calls %d\n", calls - before);
#ifndef BARE
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0);
    SAY("cut %d\n", counters.cycles_cut > 0);
#endif
}

/* As CPython's faulthandler: puts the one before back and raises again, each time anew. */
static void raising(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    calls++;
    CHECK(sigaction(signal, &previous, NULL) == 0);
    raise(signal);
}

static void circle_of_raises(void) {
    struct sigaction action = {.sa_sigaction = raising, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0);
    CHECK(sigward_ensure_on_top() == 0);
    CHECK(sigaction(SIGPIPE, NULL, &previous) == 0); /* it "restores" to us */
    raise(SIGPIPE);
}

/* ---- no theft ---- */

static void leave_beneath_another(void) {
    install(SIGPIPE, counting, 0);
    CHECK(ward() == 0);
    put_chaining_on_top();
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(current_handler(SIGPIPE) == (void *)chaining);
    raise(SIGPIPE);
    SAY("calls %d\n", calls);
}

static void leave_on_top(void) {
    void *before = current_handler(SIGPIPE);
    install(SIGPIPE, counting, 0);
    CHECK(ward() == 0);
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(current_handler(SIGPIPE) == (void *)counting);
    raise(SIGPIPE);
    SAY("calls %d\n", calls);
    (void)before;
}

static pthread_barrier_t barrier;
static volatile int racing = 1;

static void *race_installer(void *unused) {
    (void)unused;
    for (unsigned round = 0;; round++) {
        pthread_barrier_wait(&barrier);
        if (!racing) return NULL;
        /* Sooner and later, so that the two meet at every place. */
        for (volatile unsigned pause = 0; pause < round * 37 % 2000; pause++) {}
        put_chaining_on_top();
        pthread_barrier_wait(&barrier);
    }
}

static int races_seen(void) {
#ifndef BARE
    sigward_counters counters;
    CHECK(sigward_read_counters(&counters) == 0);
    return counters.races_repaired > 0;
#else
    return 1;
#endif
}

/* Whatever the order in which two threads write the kernel's table, nobody's handler is lost. */
static void races(void) {
    pthread_t thread;
    struct sigaction base = {.sa_sigaction = counting, .sa_flags = SA_SIGINFO};
    CHECK(sigward_sigpipe_restore() == 0);
    pthread_barrier_init(&barrier, NULL, 2);
    CHECK(pthread_create(&thread, NULL, race_installer, NULL) == 0);
    /* On a busy machine the two threads meet seldom. */
    for (int round = 0; round < 20000 || (!races_seen() && round < 400000); round++) {
        CHECK(sigaction(SIGPIPE, &base, NULL) == 0);
        if (round % 2) CHECK(sigward_sigpipe_filter() == 0);
        calls = 0;
        pthread_barrier_wait(&barrier);
        int status = round % 2 ? sigward_sigpipe_restore() : sigward_sigpipe_filter();
        CHECK(status == 0);
        pthread_barrier_wait(&barrier);
        raise(SIGPIPE);
        /* `chaining` and, behind it or before it, `counting`. */
        if (calls != 2) {
            SAY("round %d: %d calls\n", round, calls);
            _exit(1);
        }
        CHECK(sigward_sigpipe_restore() == 0);
    }
    racing = 0;
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    SAY("races %d\n", races_seen());
}

/* ---- faithful default ---- */

static void raise_default(void) {
    CHECK(ward() == 0);
    raise(SIGPIPE);
}

static void kill_self(void) {
    CHECK(ward() == 0);
    kill(getpid(), SIGPIPE);
    SAY("still here\n");
}

static void queue_self(void) {
    CHECK(ward() == 0);
    CHECK(sigqueue(getpid(), SIGPIPE, (union sigval){.sival_int = 42}) == 0);
    SAY("still here\n");
}

static void kill_from_outside(void) {
    CHECK(ward() == 0);
    pid_t victim = getpid();
    if (fork() == 0) {
        kill(victim, SIGPIPE);
        _exit(0);
    }
    sleep(5);
    SAY("still here\n");
}

/* ---- flags ---- */

static void report(const char *what, siginfo_t *info) {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    SAY("%s blocked: PIPE %d USR1 %d USR2 %d code %d\n", what, sigismember(&mask, SIGPIPE),
        sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2), info ? info->si_code : 1);
}

static void with_info(int signal, siginfo_t *info, void *context) {
    (void)context;
    CHECK(signal == SIGPIPE && info->si_signo == SIGPIPE);
    report("info", info);
}

static void without_info(int signal) {
    CHECK(signal == SIGPIPE);
    report("plain", NULL);
}

/* Every combination of flags, in a child each: what the handler sees, and what a second raise does. */
static void flags(void) {
    static const int choices[] = {SA_SIGINFO, SA_NODEFER, SA_RESETHAND, 1};
    for (int bits = 0; bits < 16; bits++) {
        pid_t child = fork();
        if (child == 0) {
            struct sigaction action = {0};
            for (int i = 0; i < 3; i++)
                if (bits & 1 << i) action.sa_flags |= choices[i];
            if (bits & 8) sigaddset(&action.sa_mask, SIGUSR1);
            if (bits & 1) action.sa_sigaction = with_info;
            else action.sa_handler = without_info;
            CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
            CHECK(ward() == 0);
            sigset_t own;
            sigemptyset(&own);
            sigaddset(&own, SIGUSR2);
            sigprocmask(SIG_BLOCK, &own, NULL);
            raise(SIGPIPE);
            report("after", NULL);
            raise(SIGPIPE);
            report("after", NULL);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        SAY("flags %d: %s %d\n", bits, WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
}

/* A read that a handler interrupts: starts again with SA_RESTART, fails with EINTR without. */
static void restart(void) {
    for (int again = 0; again < 2; again++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        CHECK(sigward_sigpipe_restore() == 0);
        install(SIGPIPE, counting, again ? SA_RESTART : 0);
        CHECK(ward() == 0);
        pid_t reader = getpid();
        pid_t child = fork();
        if (child == 0) {
            usleep(100000);
            kill(reader, SIGPIPE);
            usleep(100000);
            _exit(write(ends[1], "x", 1) != 1);
        }
        char byte;
        ssize_t count = read(ends[0], &byte, 1);
        SAY("restart %d: %zd %s\n", again, count, count < 0 ? strerror(errno) : "");
        waitpid(child, NULL, 0);
    }
}

/* ---- fork ---- */

static void *flapping(void *unused) {
    (void)unused;
    while (racing) {
        CHECK(sigward_sigpipe_restore() == 0);
        CHECK(sigward_sigpipe_filter() == 0);
    }
    return NULL;
}

/* Forks while another thread changes seats: the child must neither hang nor die. */
static void forks(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, flapping, NULL) == 0);
    for (int i = 0; i < 500; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            CHECK(ward() == 0);
            CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
            CHECK(sigward_sigpipe_restore() == 0);
            CHECK(sigward_sigpipe_filter() == 0);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        if (status != 0) {
            SAY("child %d: status %x\n", i, status);
            _exit(1);
        }
    }
    racing = 0;
    pthread_join(thread, NULL);
}

/* A parent's kill while the child's quiet sends fail with EPIPE: no echo, though the registers look like one. */
static void forked_theft(void) {
    CHECK(ward() == 0);
#ifndef BARE
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
#endif
    for (int i = 0; i < 50; i++) {
        int ends[2], status;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
        close(ends[1]);
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            for (;;) CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
        }
        close(ends[0]);
        usleep(2000);
        kill(child, SIGPIPE);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    }
}

/* The same from another thread of the process itself. */
static void *kill_later(void *unused) {
    usleep(2000);
    kill(getpid(), SIGPIPE);
    return unused;
}

static void own_kill(void) {
    int ends[2];
    pthread_t thread;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    close(ends[1]);
    CHECK(ward() == 0);
    CHECK(pthread_create(&thread, NULL, kill_later, NULL) == 0);
    alarm(10);
    for (;;) CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}

SCENARIOS({"forked_theft", forked_theft}, {"own_kill", own_kill}, {"circle", circle}, {"circle_above_a_handler", circle_above_a_handler},
          {"circle_of_raises", circle_of_raises}, {"leave_beneath_another", leave_beneath_another},
          {"leave_on_top", leave_on_top}, {"races", races}, {"raise_default", raise_default},
          {"kill_self", kill_self}, {"queue_self", queue_self}, {"kill_from_outside", kill_from_outside},
          {"flags", flags}, {"restart", restart}, {"forks", forks})
