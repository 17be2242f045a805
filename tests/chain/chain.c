/* Invariants of the chain: circles of handlers, leaving, races, flags, defaults, forks. */
#include "host.h"
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>

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

/* A handler as many libraries have one: counts, and passes on to the one predecessor it remembers.
 */
static void chaining(int signal, siginfo_t *info, void *context) {
    sigset_t before, after;
    calls++;
    sigprocmask(SIG_BLOCK, NULL, &before);
    pass_to(&previous, signal, info, context);
    /* Whatever the one beneath had masked for its own predecessor, it has put back. */
    sigprocmask(SIG_BLOCK, NULL, &after);
    for (int one = 1; one < 32; one++) CHECK(sigismember(&before, one) == sigismember(&after, one));
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

/* Not every emulator of Linux clears what lies behind the kernel's part of a siginfo. Here the
 * handler on top writes there what may be left. */
static uint64_t left_there;
static void scribbling(int signal, siginfo_t *info, void *context) {
    uint64_t *words = (uint64_t *)info;
    for (int word = 6; word < 16 && calls == 0; word++) words[word] = left_there + (uint64_t)word;
    chaining(signal, info, context);
}

static void circle_of_left(uint64_t what) {
    struct sigaction action = {.sa_sigaction = scribbling, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    left_there = what;
    CHECK(ward() == 0);
    put_chaining_on_top();
    CHECK(sigward_ensure_on_top() == 0);
    CHECK(sigaction(SIGPIPE, &action, &previous) == 0);
    raise(SIGPIPE);
}

static void circle_of_garbage(void) { circle_of_left(0x000f001100000000); }

/* Names of four other copies of the library: there is no room for a fifth one's. */
static void circle_of_copies(void) { circle_of_left(0x73690000deadbeef); }

/* A handler that stands beneath the circle, and above what stood there first, is not passed over.
 */
static struct sigaction beneath_between;
static volatile int came_between;
static void standing_between(int signal, siginfo_t *info, void *context) {
    came_between++;
    pass_to(&beneath_between, signal, info, context);
}

static void circle_above_two(void) {
    struct sigaction action = {.sa_sigaction = standing_between,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    install(SIGPIPE, counting, 0);
    CHECK(ward() == 0);
    CHECK(sigaction(SIGPIPE, &action, &beneath_between) == 0);
    CHECK(sigward_ensure_on_top() == 0);
    put_chaining_on_top();
    CHECK(sigward_ensure_on_top() == 0);
    put_chaining_on_top();
    raise(SIGPIPE);
    SAY("calls %d, between %d\n", calls, came_between);
}

/* A handler that passes on the number alone: nothing can be marked in a siginfo that is not there.
 */
static void dropping(int signal) {
    if (calls++ > 1000) _exit(77); /* before the stack is gone */
    previous.sa_sigaction(signal, NULL, NULL);
}

static void circle_without_siginfo(void) {
    struct sigaction action = {.sa_handler = dropping, .sa_flags = SA_ONSTACK};
    CHECK(ward() == 0);
    CHECK(sigaction(SIGPIPE, &action, &previous) == 0);
    CHECK(sigward_ensure_on_top() == 0);
    CHECK(sigaction(SIGPIPE, &action, &previous) == 0);
    raise(SIGPIPE);
}

/* As CPython's faulthandler: puts the one before back and raises again, each time anew. */
static void raising(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    calls++;
    CHECK(sigaction(signal, &previous, NULL) == 0);
    raise(signal);
}

static void circle_of_raises(void) {
    struct sigaction action = {.sa_sigaction = raising,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0);
    CHECK(sigward_ensure_on_top() == 0);
    CHECK(sigaction(SIGPIPE, NULL, &previous) == 0); /* it "restores" to us */
    raise(SIGPIPE);
}

static void *in_a_thread(void *unused) { return circle_of_raises(), unused; }

/* Where the stack ends soon, and nobody says where. */
static void circle_in_a_thread(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    size_t least = (size_t)PTHREAD_STACK_MIN, size = least > 96 << 10 ? least : 96 << 10;
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, size) == 0);
    CHECK(pthread_create(&thread, &attributes, in_a_thread, NULL) == 0);
    pthread_join(thread, NULL);
}

/* A handler that jumps out leaves its visit unfinished: that is no circle, however often. */
static sigjmp_buf outside;
static void jumping(int signal) { (void)signal, calls++, siglongjmp(outside, 1); }

static void jumps(void) {
    signal(SIGPIPE, jumping);
    CHECK(ward() == 0);
    for (volatile int i = 0; i < 100; i++)
        if (sigsetjmp(outside, 1) == 0) raise(SIGPIPE);
    SAY("calls %d\n", calls);
}

/* The same from an alternate stack that lies above the thread's own: its frames look as if they
 * were beneath the interrupted code. */
static void *jumping_thread(void *alternate) {
    CHECK(sigaltstack(alternate, NULL) == 0);
    for (volatile int i = 0; i < 100; i++)
        if (sigsetjmp(outside, 1) == 0) raise(SIGPIPE);
    return alternate;
}

static void jumps_from_above(void) {
    char room[65536];
    stack_t alternate = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = jumping, .sa_flags = SA_ONSTACK};
    pthread_t thread;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0);
    CHECK(pthread_create(&thread, NULL, jumping_thread, &alternate) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    SAY("calls %d\n", calls);
}

/* The same from ever deeper calls, whose frames are larger than a signal's. */
static __attribute__((noinline)) void deeper(int left) {
    volatile char frame[6000];
    frame[0] = frame[sizeof frame - 1] = (char)left;
    sigjmp_buf here;
    memcpy(&here, &outside, sizeof here);
    if (sigsetjmp(outside, 1) == 0) raise(SIGPIPE);
    if (left > 0) deeper(left - 1);
    memcpy(&outside, &here, sizeof here);
}

static void deeper_jumps(void) {
    signal(SIGPIPE, jumping);
    CHECK(ward() == 0);
    deeper(999);
    SAY("calls %d\n", calls);
}

/* The same place of the stack again and again: each delivery is a new one, to the handler beneath
 * ours, to one above that passes on, and to one above that does so three times. What they are told
 * is right. */
static struct sigaction repeated;
static void told(int signal, siginfo_t *info, void *context) {
    (void)context;
    calls++;
    CHECK(info->si_signo == signal && info->si_errno == 0);
    CHECK(info->si_code == SI_TKILL && info->si_pid == getpid());
}
static void repeating(int signal, siginfo_t *info, void *context) {
    for (int i = 0; i < 3; i++) pass_to(&repeated, signal, info, context);
}

static void raise_often(const char *what) {
    calls = 0;
    for (int i = 0; i < 10; i++) raise(SIGPIPE);
    SAY("%s: calls %d\n", what, calls);
}

static void again(void) {
    char little[8192];
    stack_t alternate = {.ss_sp = little, .ss_size = sizeof little};
    struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0 && ward() == 0);
    raise_often("beneath");
    put_chaining_on_top();
    raise_often("passed on");
    action.sa_sigaction = repeating, repeated = previous;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    raise_often("three times");
    CHECK(sigaction(SIGPIPE, &previous, NULL) == 0 && sigaltstack(&alternate, NULL) == 0);
    raise_often("with little stack");
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

static volatile int racing = 1;
static __thread int gives_way; /* to another thread, before each write of a row */

/* Two threads leave it within some instructions of each other. A pthread_barrier_t wakes the second
 * one microseconds later: too late, on most machines, to meet the first one at all. */
static void meet(void) {
    static _Atomic unsigned arrived;
    unsigned both = (atomic_fetch_add(&arrived, 1) | 1) + 1;
    for (unsigned turn = 0; (int)(atomic_load(&arrived) - both) < 0; turn++) {
        if (turn > 40000) usleep(1); /* the other one has no processor */
    }
}

static void *race_installer(void *unused) {
    (void)unused;
    for (unsigned round = 0;; round++) {
        meet();
        if (!racing) return NULL;
        /* Sooner and later, so that the two meet at every place. */
        for (volatile unsigned pause = 0; pause < round * 37 % 2000; pause++) {}
        put_chaining_on_top();
        meet();
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
    CHECK(pthread_create(&thread, NULL, race_installer, NULL) == 0);
    alarm(patience(200));
    for (int round = 0; round < 20000 || !races_seen(); round++) {
        /* Where the two share a processor they meet seldom by themselves. */
        gives_way = round >= 20000;
        CHECK(sigaction(SIGPIPE, &base, NULL) == 0);
        if (round % 2) CHECK(sigward_sigpipe_filter() == 0);
        calls = 0;
        meet();
        int status = round % 2 ? sigward_sigpipe_restore() : sigward_sigpipe_filter();
        CHECK(status == 0);
        meet();
        raise(SIGPIPE);
        /* `chaining` and, behind it or before it, `counting`. */
        if (calls != 2) {
            SAY("round %d: %d calls\n", round, calls);
            _exit(1);
        }
        CHECK(sigward_sigpipe_restore() == 0);
    }
    racing = 0;
    meet();
    pthread_join(thread, NULL);
    SAY("races %d\n", races_seen());
}

/* ---- the same, with the other writer exactly between the library's look and its write ---- */

enum { RIVALS = 3 };
static struct sigaction beneath[RIVALS];
static int rivals, first_write, writes;

static volatile int rival_calls[RIVALS], counted;

#define RIVAL(n)                                                                                   \
    static void rival##n(int s, siginfo_t *i, void *c) {                                           \
        calls++, rival_calls[n]++, pass_to(&beneath[n], s, i, c);                                  \
    }
RIVAL(0) RIVAL(1) RIVAL(2)
static handler *const all_rivals[RIVALS] = {rival0, rival1, rival2};

/* Stands before the C library's: one rival each before `rivals` writes from number `first_write`
 * on. */
extern int __sigaction(int, const struct sigaction *, struct sigaction *);
int sigaction(int signal, const struct sigaction *action, struct sigaction *old) {
    if (action && gives_way) sched_yield();
    if (action && first_write && ++writes >= first_write && writes < first_write + rivals) {
        int n = writes - first_write;
        struct sigaction theirs = {.sa_sigaction = all_rivals[n], .sa_flags = SA_SIGINFO};
        CHECK(__sigaction(signal, &theirs, &beneath[n]) == 0);
    }
    return __sigaction(signal, action, old);
}

static void at_the_base(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    calls++, counted++;
}

static void between(void) {
    struct sigaction base = {.sa_sigaction = at_the_base, .sa_flags = SA_SIGINFO};
    for (int which = 0; which < 2 * 3 * RIVALS; which++) {
        int taking = which % 2, at = which / 2 % 3 + 1, number = which / 6 + 1;
        pid_t child = fork();
        if (child == 0) {
            CHECK(sigward_sigpipe_restore() == 0);
            CHECK(sigaction(SIGPIPE, &base, NULL) == 0);
            if (!taking) CHECK(sigward_sigpipe_filter() == 0);
            writes = 0, rivals = number, first_write = at;
            CHECK((taking ? sigward_sigpipe_filter() : sigward_sigpipe_restore()) == 0);
            int came = writes < at ? 0 : writes - at + 1 < number ? writes - at + 1 : number;
            first_write = 0;
            calls = 0;
            raise(SIGPIPE);
            /* A rival that came while another was being put back remembers what it saw: the one
             * before is out of reach. */
            int right = counted == 1 && (came == 0 || rival_calls[came - 1] == 1) &&
                        (came > 1 || calls == 1 + came);
            SAY("%s, %d of %d rivals from write %d: calls %d, %s\n", taking ? "taking" : "leaving",
                came, number, at, calls, right ? "right" : "lost");
            _exit(!right);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(status == 0);
    }
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
    sleep(patience(60));
    SAY("still here\n");
}

/* A kill(2) that meets code whose registers look like a failed write, but for the return of a
 * system call. */
static void *killing(void *unused) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    usleep(50000);
    kill(getpid(), SIGPIPE);
    return unused;
}

static void no_system_call(void) {
    pthread_t thread;
    CHECK(ward() == 0);
    alarm(patience(60));
    CHECK(pthread_create(&thread, NULL, killing, NULL) == 0);
#ifdef __x86_64__
    __asm__ volatile("1: pause; jmp 1b" ::"a"(-(long)EPIPE), "D"(broken_pipe()));
#else
    pause();
#endif
}

/* The mask that the handler returns to blocks the signal: only the default action itself may end
 * the process. */
static void suspended(void) {
    sigset_t set;
    CHECK(ward() == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGPIPE);
    sigemptyset(&set);
    sigsuspend(&set);
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

/* Every combination of flags, in a child each: what the handler sees, and what a second raise does.
 */
static void each_flag(int covered) {
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
            if (covered) put_chaining_on_top();
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

static void flags(void) { each_flag(0); }
/* Beneath another handler no kernel does it for the predecessor: the library must. */
static void flags_beneath(void) { each_flag(1); }

/* Passes on the number alone, from further down the stack than the kernel's frame is looked for. */
static void far_down(int signal) {
    volatile char room[100000];
    room[0] = 1;
    previous.sa_sigaction(signal, NULL, NULL);
    report("back", NULL);
    room[1] = room[0];
}

static void mask_without_context(void) {
    struct sigaction action = {.sa_handler = without_info};
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0);
    CHECK(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = far_down}, &previous) == 0);
    raise(SIGPIPE);
}

/* SIG_DFL with flags, as Go leaves it: still the default action and no function at address 0. */
static void flags_on_the_default(void) {
    struct sigaction action = {.sa_handler = SIG_DFL,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    CHECK(__sigaction(SIGPIPE, &action, NULL) == 0);
}
/* Before every constructor, so that ours finds it. */
__attribute__((section(".preinit_array"),
               used)) static void (*before_all)(void) = flags_on_the_default;

static void default_with_flags(void) {
    CHECK(ward() == 0);
    raise(SIGPIPE);
}

/* A handler with SA_RESETHAND has its one call; leaving after it gives back SIG_DFL and not the
 * handler. */
static void spent(void) {
    install(SIGPIPE, counting, SA_RESETHAND);
    CHECK(ward() == 0);
    raise(SIGPIPE);
    CHECK(sigward_sigpipe_restore() == 0);
    CHECK(calls == 1 && current_handler(SIGPIPE) == (void *)SIG_DFL);
    raise(SIGPIPE);
}

/* A child of vfork(2) has rows of its own, but our memory: the one call that a handler has there,
 * and the SIG_DFL that it writes there, are the child's. */
static void reporting(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    calls++;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
}

static int in_a_guest(int signal, int times) {
    int status;
    pid_t child = vfork();
    if (child == 0) {
        while (times-- > 0) kill(getpid(), signal);
        _exit(3);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void guests(void) {
    install(SIGPIPE, counting, SA_RESETHAND);
    install(SIGBUS, reporting, 0);
    CHECK(ward() == 0);
    for (int times = 1; times < 3; times++) {
        int pipe = in_a_guest(SIGPIPE, times), bus = in_a_guest(SIGBUS, times);
        SAY("PIPE %d, BUS %d, calls %d\n", pipe, bus, calls);
    }
    raise(SIGPIPE);
    raise(SIGBUS);
    SAY("calls %d\n", calls);
    raise(SIGPIPE);
}

/* What the predecessor has masked waits from the kernel's first step on, not from ours. */
static void first(int signal) { (void)signal; SAY("PIPE\n"); }
static void second(int signal) { (void)signal; SAY("ALRM\n"); }

static void order(void) {
    struct sigaction action = {.sa_handler = first};
    sigset_t both;
    sigaddset(&action.sa_mask, SIGALRM);
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    CHECK(ward() == 0);
    signal(SIGALRM, second);
    sigemptyset(&both);
    sigaddset(&both, SIGALRM);
    sigaddset(&both, SIGPIPE);
    sigprocmask(SIG_BLOCK, &both, NULL);
    raise(SIGALRM);
    raise(SIGPIPE);
    sigprocmask(SIG_UNBLOCK, &both, NULL);
}

/* A read that a handler interrupts: starts again with SA_RESTART, fails with EINTR without. The
 * signal meets it, and not what comes before. */
static void restart(void) {
    alarm(patience(100));
    for (int again = 0; again < 2; again++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        CHECK(sigward_sigpipe_restore() == 0);
        install(SIGPIPE, counting, again ? SA_RESTART : 0);
        CHECK(ward() == 0);
        pid_t reader = getpid();
        pid_t child = fork();
        if (child == 0) {
            until_it_waits(reader);
            kill(reader, SIGPIPE);
            until_it_waits(reader);
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
            alarm(patience(100));
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

/* A parent's kill while the child's quiet sends fail with EPIPE: no echo, though the registers look
 * like one. */
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
            alarm(patience(100));
            /* Not by send(3), where the number of the call is seen, and with it that it was asked
             * to raise nothing: the process id alone tells this kill from an echo. */
            for (;;)
                CHECK(syscall(SYS_sendto, ends[0], "x", 1L, (long)MSG_NOSIGNAL, NULL, 0L) == -1 &&
                      errno == EPIPE);
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
    alarm(patience(100));
    for (;;) CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
}

/* ---- entry points ---- */

#ifndef BARE
/* Each time another handler, as far as anybody can tell: until no entry point is left. */
static void used_up(void) {
    int status = 0, fd = memfd_create("file", 0);
    char here[16];
    sigward_map *map;
    CHECK(sigward_sigpipe_filter() == 0);
    for (int turn = 0; status == 0; turn++) {
        struct sigaction action = {.sa_sigaction = counting, .sa_flags = SA_SIGINFO | SA_ONSTACK};
        CHECK(turn < 28 && sigaddset(&action.sa_mask, SIGRTMIN + turn) == 0);
        CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
        status = sigward_ensure_on_top();
    }
    CHECK(status == -ENOSPC);
    CHECK(ftruncate(fd, 2 * PAGE_BYTES) == 0 && sigward_map_fd(fd, NULL, &map) == 0);
    CHECK(ftruncate(fd, 0) == 0);
    CHECK(sigward_map_read_at(map, PAGE_BYTES, here, sizeof here) == -EFAULT);
    CHECK(sigward_map_close(map) == 0);
    CHECK(sigward_try_copy_segv() == 0 && sigward_try_copy(here, (void *)16, sizeof here) == 0);
    CHECK(sigward_ensure_on_top() == -ENOSPC);
}
#else
static void used_up(void) {}
#endif

SCENARIOS({"used_up", used_up}, {"forked_theft", forked_theft}, {"own_kill", own_kill},
          {"circle", circle}, {"circle_above_a_handler", circle_above_a_handler},
          {"circle_of_garbage", circle_of_garbage}, {"circle_of_copies", circle_of_copies},
          {"circle_of_raises", circle_of_raises}, {"circle_above_two", circle_above_two},
          {"jumps_from_above", jumps_from_above}, {"mask_without_context", mask_without_context},
          {"circle_without_siginfo", circle_without_siginfo},
          {"leave_beneath_another", leave_beneath_another}, {"leave_on_top", leave_on_top},
          {"races", races}, {"between", between}, {"no_system_call", no_system_call},
          {"default_with_flags", default_with_flags}, {"spent", spent}, {"guests", guests},
          {"order", order}, {"flags_beneath", flags_beneath}, {"suspended", suspended},
          {"jumps", jumps}, {"raise_default", raise_default}, {"deeper_jumps", deeper_jumps},
          {"circle_in_a_thread", circle_in_a_thread}, {"again", again}, {"kill_self", kill_self},
          {"queue_self", queue_self}, {"kill_from_outside", kill_from_outside}, {"flags", flags},
          {"restart", restart}, {"forks", forks})
