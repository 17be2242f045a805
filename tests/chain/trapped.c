/* A sandbox that traps a system call, and a handler for SIGSYS that answers in the kernel's place:
 * calls of the library are answered so as well, and nobody dies of a blocked SIGSYS. */
#include "host.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <ucontext.h>

static volatile int trapped;

static void refuse(int signal, siginfo_t *info, void *context) {
    (void)signal;
    mcontext_t *registers = &((ucontext_t *)context)->uc_mcontext;
    trapped = info->si_syscall;
#ifdef __x86_64__
    registers->gregs[REG_RAX] = -EPERM;
#else
    registers->regs[0] = (unsigned long long)-EPERM;
#endif
}

static void trap(unsigned number) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    install(SIGSYS, refuse, 0);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int memory(void) {
    int fd = memfd_create("trapped", 0);
    CHECK(fd >= 0);
    return fd;
}

static void reserve(void) {
    int fd = memory();
    trap(SYS_fallocate);
#ifdef BARE
    CHECK(fallocate(fd, 0, 0, 4096) == -1 && errno == EPERM);
#else
    CHECK(sigward_reserve(fd, 0, 4096) == -EPERM);
#endif
    CHECK(trapped == SYS_fallocate);
}

static void init(void) {
    trap(SYS_rt_sigaction);
#ifdef BARE
    CHECK(signal(SIGPIPE, SIG_IGN) == SIG_ERR && errno == EPERM);
#else
    CHECK(ward() == -EPERM);
#endif
    CHECK(trapped == SYS_rt_sigaction);
}

static void write_there(void) {
    int fd = memory();
    trap(SYS_pwritev2);
#ifdef BARE
    struct iovec part = {"x", 1}; /* musl has no pwritev2(3) */
    CHECK(syscall(SYS_pwritev2, fd, &part, 1L, -1L, 0L, 0L) == -1 && errno == EPERM);
#else
    CHECK(sigward_write(fd, "x", 1) == 1);
#endif
    CHECK(trapped == SYS_pwritev2);
}

/* What the handler asks is answered as well, but not on a stack of its own: with all signals
 * blocked there the kernel ends the process. */
static void echoes(void) {
    int fd = broken_pipe();
    CHECK(ward() == 0);
    trap(SYS_ppoll);
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE && trapped == SYS_ppoll);
}

static void echo_with_little_stack(void) {
    static char room[1 << 16] __attribute__((aligned(16)));
    stack_t little = {.ss_sp = room, .ss_size = getauxval(51 /* AT_MINSIGSTKSZ */) + 4096};
    CHECK(sigaltstack(&little, NULL) == 0);
    echoes();
}

SCENARIOS({"reserve", reserve}, {"init", init}, {"write", write_there}, {"echo", echoes},
          {"echo_with_little_stack", echo_with_little_stack})
