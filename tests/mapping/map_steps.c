/* fork at any instruction of ours. A tracer lets a process open, read, lose, refresh, grow and
 * close maps, or take and leave the seat, instruction by instruction, and at each one that is the
 * library's own it makes the process fork there (ptrace(2)): the child finds tables, slots, pins
 * and locks as they are between two stores, and has to get along with them. */
#include "maps.h"
#include <sys/ptrace.h>
#include <sys/user.h>

#ifdef __x86_64__
extern const char __executable_start[], etext[];

static const char *path, *other_path;
static sigward_map *other; /* once it is there */

/* ---- what is traced ---- */

enum { MAPS = 4 };

static void work(void) {
    sigward_map *more[MAPS], *map;
    other = open_map(other_path, NULL); /* the first of all: seat, spares, slots, the table's first
                                           nodes */
    for (int i = 0; i < MAPS; i++) more[i] = open_map(path, OPTIONS(.len = PAGE));
    map = open_map(path, OPTIONS(.writable = 1, .capacity = 1 << 20));
    CHECK(truncate(path, PAGE) == 0);
    CHECK(bytes(map)[3 * PAGE] == 0 && poison(map) == PAGE);
    CHECK(sigward_map_refresh(map) == 0 && sigward_map_grow(map, 4 * PAGE) == 0 &&
          sigward_map_grow(map, 2 << 20) == 0);
    CHECK(sigward_map_retire(more[0]) == 0);
    for (int i = 1; i < MAPS; i++) CHECK(sigward_map_close(more[i]) == 0);
    CHECK(sigward_map_close(map) == 0);
}

/* Only when the seat stands may a copy rely on it. */
static const char *view; /* a page that the file has, and one that it has not */
static void seat(void) {
    char copied[PAGE];
    for (int i = 0; i < 2; i++) {
        CHECK(sigward_sigbus_guard() == 0);
        CHECK(sigward_try_copy(copied, view, PAGE) == PAGE);
        CHECK(sigward_sigbus_restore() == 0);
    }
}

/* ---- what each child does: as a process that has no other thread ---- */

static void child_with_seat(void) {
    static char copied[2 * PAGE];
    alarm(patience(60));
    CHECK(sigward_try_copy(copied, view, 2 * PAGE) == PAGE);
    CHECK(sigward_sigbus_guard() == 0);
    CHECK(sigward_try_copy(copied, view, 2 * PAGE) == PAGE);
    CHECK(sigward_sigbus_restore() == 0);
    CHECK(sigward_try_copy(copied, view, 2 * PAGE) == PAGE);
    _exit(0);
}

static void child(void) {
    sigward_map *own[3];
    alarm(patience(60));
    if (other != NULL) holds(other, 0, 0, LOST_LENGTH);
    for (int i = 0; i < 3; i++) own[i] = open_map(path, NULL);
    CHECK(sigward_map_close(own[1]) == 0);
    own[1] = lose();
    survives(own[1]);
    CHECK(poison(own[0]) == INTACT && poison(own[2]) == INTACT && touch(own[0], 0) != 0 &&
          touch(own[2], 0) != 0);
    for (int i = 0; i < 3; i++) CHECK(sigward_map_close(own[i]) == 0);
    if (other != NULL) CHECK(sigward_map_close(other) == 0);
    _exit(0);
}

/* Which of both. */
static void (*traced)(void) = work, (*forked)(void) = child;

static unsigned char own_stack[1 << 17] __attribute__((aligned(16)));

__asm__(".text\nfork_here: syscall\nnop\n");
extern const char fork_here[];

static int stopped(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status));
    return status >> 8;
}

/* Makes the stopped process fork where it stands; its child, a child of ours, goes on in `child`.
 */
static pid_t fork_there(pid_t pid) {
    struct user_regs_struct before, regs;
    unsigned long made, none = 0;
    CHECK(ptrace(PTRACE_GETREGS, pid, NULL, &before) == 0);
    regs = before;
    regs.rip = (unsigned long)fork_here, regs.rax = SYS_clone, regs.orig_rax = (unsigned long)-1;
    regs.rdi = CLONE_PARENT | SIGCHLD, regs.rsi = 0, regs.rdx = 0, regs.r10 = 0, regs.r8 = 0;
    CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &regs) == 0 &&
          ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
    CHECK(stopped(pid) >> 8 != 0 && ptrace(PTRACE_GETEVENTMSG, pid, NULL, &made) == 0);
    CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0 && stopped(pid) == SIGTRAP);
    CHECK(ptrace(PTRACE_SETREGS, pid, NULL, &before) == 0);
    pid_t new = (pid_t)made;
    stopped(new);
    CHECK(ptrace(PTRACE_GETREGS, new, NULL, &regs) == 0);
    regs.rip = (unsigned long)forked, regs.rsp = (unsigned long)own_stack + sizeof own_stack - 8,
    regs.eflags &= ~0x100UL;
    regs.orig_rax = (unsigned long)-1;
    CHECK(ptrace(PTRACE_SETREGS, new, NULL, &regs) == 0);
    CHECK(ptrace(PTRACE_SETSIGMASK, new, (void *)sizeof none, &none) == 0 &&
          ptrace(PTRACE_DETACH, new, NULL, NULL) == 0);
    return new;
}

static void end_well(pid_t pid, unsigned long at) {
    int status;
    CHECK(waitpid(pid, &status, __WALL) == pid);
    if (status == 0) return;
    fprintf(stderr, "the child of the fork at %#lx ended with status %#x\n",
            at - (unsigned long)__executable_start, status);
    _exit(99);
}

/* Forks at each of our instructions the first time that it is met: a loop is not of interest at
 * every turn. The second argument says which half of them. */
static void steps(void) {
    static bool met[8 << 20];
    CHECK(arguments[1] != NULL);
    unsigned half = (unsigned)atoi(arguments[1]);
    long ours = 0, forks = 0;
    int status, signal = 0;
    path = new_file("steps", LOST_LENGTH);
    other_path = new_file("other", LOST_LENGTH);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        traced();
        _exit(0);
    }
    stopped(pid);
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, NULL,
                 PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0);
    for (;;) {
        CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, signal) == 0 &&
              waitpid(pid, &status, __WALL) == pid);
        if (WIFEXITED(status)) break;
        CHECK(WIFSTOPPED(status));
        signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
        if (signal != 0) continue;
        struct user_regs_struct regs;
        CHECK(ptrace(PTRACE_GETREGS, pid, NULL, &regs) == 0);
        if (regs.rip < (unsigned long)__executable_start || regs.rip >= (unsigned long)etext)
            continue;
        size_t at = regs.rip - (unsigned long)__executable_start;
        CHECK(at < sizeof met);
        ours++;
        if (at % 2 == half && !met[at]) end_well(fork_there(pid), regs.rip), forks++;
        met[at] = true;
    }
    CHECK(WEXITSTATUS(status) == 0 && forks > (traced == work ? 1000 : 100));
    SAY("%ld forks at %ld instructions\n", forks, ours);
}

static void seat_steps(void) {
    int fd = open(new_file("view", 2 * PAGE), O_RDWR);
    view = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(view != MAP_FAILED && ftruncate(fd, PAGE) == 0);
    traced = seat, forked = child_with_seat;
    steps();
}
#else
static void steps(void) { _exit(77); }
static void seat_steps(void) { _exit(77); }
#endif

SCENARIOS({"steps", steps}, {"seat_steps", seat_steps})
