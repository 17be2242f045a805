/* stop_at N PROGRAM ARGUMENTS…: runs it and kills it where it enters its Nth system call, which is
 * not made then. Exits with 0 if it was killed so, with 1 if it had ended before with 0, with 2 if
 * it ended otherwise. */
#include "host.h"
#include <sys/ptrace.h>

int main(int argc, char **argv) {
    CHECK(argc > 2);
    long left = atol(argv[1]);
    pid_t child = fork();
    if (child == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        execv(argv[2], argv + 2);
        _exit(96);
    }
    int status, entering = 1;
    CHECK(waitpid(child, &status, 0) == child && WIFSTOPPED(status)); /* after execve */
    CHECK(ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
    for (int signal = 0;;) {
        CHECK(ptrace(PTRACE_SYSCALL, child, NULL, signal) == 0);
        CHECK(waitpid(child, &status, 0) == child);
        signal = 0;
        if (WIFEXITED(status) || WIFSIGNALED(status)) return status == 0 ? 1 : 2;
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            signal = WSTOPSIG(status);
            continue;
        }
        if (entering && --left == 0) {
            CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
            CHECK(WIFSIGNALED(status));
            return 0;
        }
        entering = !entering;
    }
}
