/* asked HOW: has handlers of its own, says which rows the kernel has for it, and waits, until a
   byte comes on stdin, in a call that must not end before ("read", "sleep"), or not ("run");
   "filtered": below a seccomp filter. Then it says whether all was as if nobody had asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void handler(int signal) { (void)signal; }
static void with_info(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
}

static int asks_to_end(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    return poll(&input, 1, 0) == 1;
}

static unsigned long sum(const unsigned long *words, int count) {
    unsigned long sum = 0;
    for (int i = 0; i < count; i++) sum = sum * 31 + words[i];
    return sum;
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    const int flags[] = {SA_RESTART, SA_ONSTACK | SA_NODEFER, SA_RESETHAND, 0};
    for (int i = 0; i < 4; i++) {
        struct sigaction action = {.sa_flags = flags[i]};
        if (i % 2) action.sa_flags |= SA_SIGINFO, action.sa_sigaction = with_info;
        else action.sa_handler = handler;
        if (sigaction(SIGRTMIN + i, &action, NULL)) return 2;
    }
    signal(SIGHUP, SIG_IGN);
    for (int number = 1; number <= 64; number++) {
        unsigned long row[4] = {0};
        if (syscall(SYS_rt_sigaction, number, NULL, row, 8) || row[0] == 0) continue;
        printf("%d %#lx %#lx\n", number, row[0], row[1]);
    }
    if (!strcmp(how, "filtered")) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 3;
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 3;
        if (write(1, "ready\n", 6) != 6) syscall(SYS_exit, 5);
        char byte;
        syscall(SYS_exit, read(0, &byte, 1) == 1 ? 0 : 4);
    }
    puts("ready");
    fflush(stdout);
    /* Its stack, and what lies below it, stay as they are. */
    unsigned long words[64];
    for (int i = 0; i < 64; i++) words[i] = (unsigned long)i * 0x9e3779b97f4a7c15;
    unsigned long before = sum(words, 64), turns = 0;
    char byte;
    if (!strcmp(how, "read") && read(0, &byte, 1) != 1) return 4;
    if (!strcmp(how, "sleep")) {
        struct timespec time = {3600, 0};
        while (!asks_to_end()) {
            time = (struct timespec){0, 300000000};
            if (nanosleep(&time, NULL)) return 4;
        }
    }
    while (!strcmp(how, "run") && !asks_to_end()) turns += sum(words, 64) == before;
    return sum(words, 64) == before ? 0 : 6;
}
