/* Runs a program with the registers that `syscall` leaves on a processor with FRED: RCX and R11 are
 * what they were before, and not RIP and the flags. At each system call's end both get other
 * values, which every program must expect. */
#include "host.h"
#include <sys/ptrace.h>
#include <sys/user.h>

static void change(pid_t thread) {
#ifdef __x86_64__
    struct user_regs_struct registers;
    CHECK(ptrace(PTRACE_GETREGS, thread, NULL, &registers) == 0);
    if (registers.rax == (unsigned long)-ENOSYS) return; /* the call begins */
    registers.rcx = 0x5ca1ab1e;
    registers.r11 = 0xfeedface;
    CHECK(ptrace(PTRACE_SETREGS, thread, NULL, &registers) == 0);
#else
    (void)thread;
#endif
}

int main(int argc, char **argv) {
    CHECK(argc > 1);
    pid_t program = fork();
    if (program == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        execv(argv[1], argv + 1);
        _exit(99);
    }
    int status;
    CHECK(waitpid(program, &status, 0) == program && WIFSTOPPED(status));
    long options =
        PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL;
    CHECK(ptrace(PTRACE_SETOPTIONS, program, NULL, options) == 0);
    CHECK(ptrace(PTRACE_SYSCALL, program, NULL, NULL) == 0);
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        CHECK(thread > 0);
        if (!WIFSTOPPED(status)) {
            if (thread != program) continue;
            if (WIFEXITED(status)) return WEXITSTATUS(status);
            signal(WTERMSIG(status), SIG_DFL);
            raise(WTERMSIG(status));
        }
        int signal = WSTOPSIG(status);
        if (signal == (SIGTRAP | 0x80)) change(thread);
        if (signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP) signal = 0;
        ptrace(PTRACE_SYSCALL, thread, NULL, signal);
    }
}
