/* A child that asked to be traced, stop by stop. */
#include "host.h"
#include <sys/ptrace.h>
#include <sys/user.h>

/* Follows it to its end: its wait status. It stops for this signal alone, each time at the same
 * instruction, or `moved ` is said; how often, and what the last one said. */
__attribute__((unused)) static int stops_of(pid_t child, int signal, int *stops, siginfo_t *last) {
    unsigned long long where = 0;
    int status;
    *stops = 0;
    for (;;) {
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFSTOPPED(status)) return status;
        struct user_regs_struct registers;
        struct iovec all = {&registers, sizeof registers};
        CHECK(WSTOPSIG(status) == signal && *stops < 10);
        CHECK(ptrace(PTRACE_GETSIGINFO, child, NULL, last) == 0);
        CHECK(ptrace(PTRACE_GETREGSET, child, 1 /* NT_PRSTATUS */, &all) == 0);
#ifdef __x86_64__
        unsigned long long at = registers.rip;
#else
        unsigned long long at = registers.pc;
#endif
        if ((*stops)++ && at != where) SAY("moved ");
        where = at;
        CHECK(ptrace(PTRACE_CONT, child, NULL, signal) == 0);
    }
}
