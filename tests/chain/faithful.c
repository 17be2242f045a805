/* Watches a child of its own with ptrace(2) die by default: which siginfo, at which instruction. */
#include "stops.h"

static void run_child(const char *how) {
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    CHECK(ward() == 0);
    if (strcmp(how, "raise") == 0) raise(SIGPIPE);
    if (strcmp(how, "kill") == 0) kill(getpid(), SIGPIPE);
    if (strcmp(how, "queue") == 0) sigqueue(getpid(), SIGPIPE, (union sigval){.sival_int = 4711});
    if (strcmp(how, "own code") == 0) {
        /* A code that the kernel does not know: it takes the siginfo only if the bytes it does not
         * use are zero. */
        siginfo_t own = {.si_signo = SIGPIPE, .si_code = -100};
        own.si_pid = getpid();
        CHECK(syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t)syscall(SYS_gettid), SIGPIPE, &own) ==
              0);
    }
    for (;;) pause();
}

/* Follows the child to its end and says what the last SIGPIPE before it was. */
static void watch(const char *how) {
    pid_t child = fork();
    if (child == 0) run_child(how);
    siginfo_t last = {0};
    int stops, status = stops_of(child, SIGPIPE, &stops, &last);
    SAY("%s: %s %d, code %d, own pid %d, value %d\n", how, WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), last.si_code,
        last.si_pid == child, last.si_code == SI_QUEUE ? last.si_value.sival_int : 0);
#ifndef BARE
    CHECK(stops == 2); /* once to our handler, once by default */
#else
    CHECK(stops == 1);
#endif
}

static void siginfo(void) {
    watch("raise");
    watch("kill");
    watch("queue");
    watch("own code");
}

/* As the init process of a pid namespace the kernel drops what has its default action. */
static void init_process(void) {
    CHECK(ward() == 0);
    CHECK(getpid() == 1);
    raise(SIGPIPE);
    kill(1, SIGPIPE);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
#ifndef BARE
    sigward_sigpipe_report report;
    CHECK(sigward_sigpipe_status(&report) == 0 && report.seat == SIGWARD_SEAT_ON_TOP);
#endif
    /* What is dropped interrupts nothing. */
    int ends[2];
    char byte;
    CHECK(pipe(ends) == 0);
    if (fork() == 0) {
        usleep(100000);
        kill(1, SIGPIPE);
        usleep(100000);
        _exit(write(ends[1], "x", 1) != 1);
    }
    CHECK(read(ends[0], &byte, 1) == 1);
    SAY("lived\n");
}

SCENARIOS({"siginfo", siginfo}, {"init_process", init_process})
