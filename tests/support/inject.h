/* Makes one system call of a child fail: the n-th between two marks, with a number of our choice,
 * or cut short. The kernel does not see it, except where a call has an effect even if it fails. */
#include "host.h"
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

enum { SHORTER = 4096 }; /* instead of an errno: half of what was asked for */

static const long MARK = 0x5169;

/* In the child: from here on its calls are counted, up to `counted_until_here`. */
static void counted_from_here(void) { raise(SIGSTOP); }
static void counted_until_here(void) { syscall(SYS_getppid, MARK); }

struct registers {
    struct user_regs_struct all;
};

static void get(pid_t child, struct registers *registers) {
    struct iovec place = {&registers->all, sizeof registers->all};
    CHECK(ptrace(PTRACE_GETREGSET, child, 1 /* NT_PRSTATUS */, &place) == 0);
}

static void set(pid_t child, struct registers *registers) {
    struct iovec place = {&registers->all, sizeof registers->all};
    CHECK(ptrace(PTRACE_SETREGSET, child, 1, &place) == 0);
}

static void set_number(pid_t child, struct registers *registers, long number) {
#ifdef __x86_64__
    registers->all.orig_rax = (unsigned long long)number;
    set(child, registers);
#else
    (void)registers;
    int call = (int)number;
    struct iovec place = {&call, sizeof call};
    CHECK(ptrace(PTRACE_SETREGSET, child, 0x404 /* NT_ARM_SYSTEM_CALL */, &place) == 0);
#endif
}

static void set_result(pid_t child, long result) {
    struct registers registers;
    get(child, &registers);
#ifdef __x86_64__
    registers.all.rax = (unsigned long long)result;
#else
    registers.all.regs[0] = (unsigned long long)result;
#endif
    set(child, &registers);
}

/* Of calls that move bytes: which argument says how many; -1 for others. */
static int length_of(long number) {
    switch (number) {
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64: return 2;
    case SYS_sendfile: return 3;
    case SYS_copy_file_range: return 4;
    default: return -1;
    }
}

static void shorten(pid_t child, struct registers *registers, long number) {
    int at = length_of(number);
#ifdef __x86_64__
    unsigned long long *places[] = {&registers->all.rdi, &registers->all.rsi, &registers->all.rdx,
                                    &registers->all.r10, &registers->all.r8};
#else
    unsigned long long *places[] = {&registers->all.regs[0], &registers->all.regs[1],
                                    &registers->all.regs[2], &registers->all.regs[3],
                                    &registers->all.regs[4]};
#endif
    if (at < 0 || *places[at] < 2) return;
    *places[at] /= 2;
    set(child, registers);
}

/* Whether the result has to be changed, too. */
static int fail(pid_t child, long number, int error) {
    struct registers registers;
    get(child, &registers);
    if (error == SHORTER) {
        shorten(child, &registers, number);
        return 0;
    }
    /* Closed it is, whatever is said of it. */
    if (number != SYS_close) set_number(child, &registers, -1);
    return 1;
}

/* The counted calls of the last child, by number. */
static long calls[1 << 14];
static int call_count;

/* Follows the child to its end: its wait status. Its n-th counted call of this number fails with
 * this error. */
static int with_failing(pid_t child, long number, int n, int error) {
    int status, counting = 0, failing = 0, seen = 0;
    call_count = 0;
    for (;;) {
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFSTOPPED(status)) return status;
        int signal = WSTOPSIG(status);
        if (signal == SIGSTOP && !counting) {
            int options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
            CHECK(ptrace(PTRACE_SETOPTIONS, child, NULL, options) == 0);
            counting = 1;
            signal = 0;
        } else if (signal == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) > 0);
            signal = 0;
            if (info.op == PTRACE_SYSCALL_INFO_EXIT && failing) {
                failing = 0;
                set_result(child, -error);
            } else if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                long found = (long)info.entry.nr;
                if (found == SYS_getppid && (long)info.entry.args[0] == MARK) {
                    counting = 0;
                } else {
                    CHECK(call_count < (int)(sizeof calls / sizeof *calls));
                    calls[call_count++] = found;
                    if (found == number && ++seen == n) failing = fail(child, number, error);
                }
            }
        }
        CHECK(ptrace(counting ? PTRACE_SYSCALL : PTRACE_CONT, child, NULL, signal) == 0);
    }
}

/* Which errors a call can have; none for what cannot fail, or waits. */
static const struct errors {
    long number;
    const char *name;
    int errors[8];
} known[] = {
#define CALL(name, ...)                                                                            \
    {                                                                                              \
        SYS_##name, #name, { __VA_ARGS__ }                                                         \
    }
    CALL(openat, EMFILE, ENFILE, EACCES, ENOMEM, EINTR, EIO),
    CALL(close, EIO, EINTR),
    CALL(fstat, EIO, ENOMEM),
    CALL(newfstatat, EIO, ENOMEM, EACCES),
    CALL(statx, EIO, ENOSYS, EPERM),
    CALL(fstatfs, EIO, ENOSYS),
    CALL(read, EIO, EINTR, SHORTER),
    CALL(pread64, EIO, EINTR, SHORTER),
    CALL(write, ENOSPC, EDQUOT, EIO, EINTR, SHORTER),
    CALL(pwrite64, ENOSPC, EDQUOT, EIO, EINTR, SHORTER),
    CALL(pwritev2, EOPNOTSUPP, ENOSYS, EIO, EINTR),
    CALL(sendto, EINTR, ENOBUFS),
    CALL(sendmsg, EINTR, ENOBUFS),
    CALL(lseek, EINVAL, EOVERFLOW),
    CALL(fallocate, ENOSPC, EDQUOT, EIO, EINTR, EOPNOTSUPP, EFBIG),
    CALL(ftruncate, EIO, EINTR, EFBIG, EPERM),
    CALL(fsync, EIO, ENOSPC, EINTR),
    CALL(fdatasync, EIO, ENOSPC, EINTR),
    CALL(msync, EIO, ENOMEM),
    CALL(mmap, ENOMEM, EAGAIN, EPERM),
    CALL(munmap, ENOMEM),
    CALL(mremap, ENOMEM, EAGAIN),
    CALL(mprotect, ENOMEM, EACCES),
    CALL(madvise, EAGAIN, EINVAL, ENOMEM),
    CALL(mincore, EAGAIN, ENOSYS),
    CALL(renameat2, EIO, ENOSPC, EACCES, EINVAL, EPERM, ENOSYS),
    CALL(linkat, EIO, ENOSPC, ENOENT, EPERM, EEXIST),
    CALL(unlinkat, EIO, EACCES, EROFS),
    CALL(flock, EWOULDBLOCK, EINTR, ENOLCK),
    CALL(fcntl, EINVAL, EMFILE, EAGAIN, EACCES),
    CALL(ioctl, ENOTTY, EOPNOTSUPP, EINVAL, EIO),
    CALL(fchmod, EPERM, EIO, EROFS),
    CALL(fchown, EPERM, EIO),
    CALL(fgetxattr, EOPNOTSUPP, EIO, EPERM),
    CALL(fsetxattr, EOPNOTSUPP, ENOSPC, EPERM),
    CALL(flistxattr, EOPNOTSUPP, EIO),
    CALL(listxattr, EOPNOTSUPP, EIO, EACCES),
    CALL(getxattr, EOPNOTSUPP, EIO),
    CALL(getcwd, ENOENT, EACCES),
    CALL(geteuid),
    CALL(getuid),
    CALL(getegid),
    CALL(statfs, EIO, ENOSYS),
    CALL(faccessat, EACCES, EIO),
    CALL(renameat, EIO, ENOSPC, EACCES, EROFS),
    CALL(sysinfo, ENOSYS),
    CALL(uname),
    CALL(getpid),
    CALL(copy_file_range, EIO, EXDEV, EINVAL, ENOSPC, ENOSYS, EOPNOTSUPP, SHORTER),
    CALL(sendfile, EIO, EINVAL, ENOSPC, EINTR, SHORTER),
    CALL(memfd_create, EMFILE, ENOMEM, EINVAL),
    CALL(eventfd2, EMFILE, ENFILE, ENOMEM),
    CALL(rt_sigaction, EPERM, ENOSYS),
    CALL(rt_sigprocmask),
    CALL(clock_nanosleep),
    CALL(pipe2, EMFILE, ENFILE),
    CALL(process_vm_readv, ENOSYS, EPERM, EFAULT),
    CALL(getrandom, ENOSYS, EINTR),
    CALL(clone3, ENOSYS, EAGAIN),
    CALL(clone, EAGAIN, ENOMEM),
    CALL(prctl, EPERM, EINVAL),
    CALL(prlimit64, EPERM),
    CALL(ppoll, EINTR, ENOMEM),
    CALL(readlinkat, ENOENT, EACCES),
    CALL(getdents64, EIO, ENOENT),
    CALL(setsockopt, EPERM, ENOPROTOOPT),
    CALL(getsockopt, ENOTSOCK, ENOMEM),
    CALL(utimensat, EPERM, EROFS),
    CALL(rt_sigpending, EPERM),
#ifdef __x86_64__
    CALL(open, EMFILE, EACCES),
    CALL(stat, EIO, EACCES),
    CALL(readlink, ENOENT, EACCES),
    CALL(poll, EINTR, ENOMEM),
    CALL(access, EACCES, EIO),
    CALL(rename, EIO, ENOSPC, EACCES),
    CALL(getdents, EIO),
#endif
    CALL(gettid),
    CALL(futex),
    CALL(rt_sigreturn),
    CALL(rt_sigtimedwait),
    CALL(brk),
    CALL(set_robust_list),
    CALL(tgkill),
    CALL(sched_yield),
};

static const struct errors *errors_of(long number) {
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].number == number) return &known[i];
    return NULL;
}
