/* What badly behaved hosts do to a thread in the middle of our handler: a handler of theirs above
 * ours, with an open mask, that jumps, forks, ends its thread; an asynchronous cancellation; a
 * child that shares our memory and is killed; real-time priorities. The handler is held at the
 * mmap(2) that puts zeros over the lost pages by a supervisor (seccomp_unotify(2)). Bare dies:
 * there is nothing to be in the middle of. */
#include "maps.h"
#include "refuse.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>

static int listener = -1;
static sigward_map *map;
static const char *path;

/* Of this thread alone each such system call waits. */
static void wait_at(unsigned call) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    int made = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                            &program);
    CHECK(made >= 0);
    __atomic_store_n(&listener, made, __ATOMIC_RELEASE);
}

static void wait_at_mmap(void) { wait_at(SYS_mmap); }

static struct seccomp_notif held;

static void wait_for_handler(void) {
    memset(&held, 0, sizeof held);
    while (__atomic_load_n(&listener, __ATOMIC_ACQUIRE) < 0) usleep(100);
    CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &held) == 0);
}

static void let_go(void) {
    struct seccomp_notif_resp answer = {.id = held.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
}

static void lose_map(void) {
    path = new_file("harsh", LOST_LENGTH);
    map = open_map(path, NULL);
    CHECK(truncate(path, PAGE) == 0);
}

/* Others still read, open, fault, close, in this process and in children. */
static void all_is_well(void) {
    survives(map);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(patience(60));
        survives(map);
        sigward_map *own = lose();
        survives(own);
        CHECK(sigward_map_close(own) == 0 && sigward_map_close(map) == 0);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(sigward_map_close(map) == 0);
    WARD_CHECK(counters().maps == 0);
}

/* ---- what a signal handler does in the middle ---- */

enum { JUMP, FORK, EXIT, END, CANCEL };
enum { ABOVE = 8 };

static int how;
static sigjmp_buf before;
static struct sigaction below;
static volatile int came;
static volatile pid_t child = -1;

static void above(int number, siginfo_t *info, void *context) {
    if (WARDED) below.sa_sigaction(number, info, context);
    else signal(number, SIG_DFL);
}

static void in_the_middle(int signal) {
    (void)signal;
    came = 1;
    if (how == JUMP) siglongjmp(before, 1);
    if (how == FORK) child = fork();
    if (how == EXIT) pthread_exit(NULL);
    if (how == END) syscall(SYS_exit, 0);
}

static void *nothing(void *unused) {
    (void)unused;
    pthread_exit(NULL);
}

static void *reader(void *unused) {
    (void)unused;
    if (how == CANCEL) CHECK(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &(int){0}) == 0);
    wait_at_mmap();
    if (how == JUMP && sigsetjmp(before, 1) != 0) return NULL;
    touch(map, 3 * PAGE);
    if (child == 0) {
        alarm(patience(60));
        _exit(sigward_map_close(map) == 0 ? 0 : 1); /* (this thread's mmap(2) would wait for nobody)
                                                     */
    }
    if (how == CANCEL) for (;;) pthread_testcancel();
    return NULL;
}

static void interrupted(long with) {
    pthread_t thread, first;
    how = (int)with & 7;
    /* The C library loads its unwinder now, not with the thread's mmap(2) held. */
    CHECK(pthread_create(&first, NULL, nothing, NULL) == 0 && pthread_join(first, NULL) == 0);
    lose_map();
    if (with & ABOVE) {
        struct sigaction action = {.sa_sigaction = above, .sa_flags = SA_SIGINFO};
        CHECK(sigaction(SIGBUS, &action, &below) == 0);
    }
    signal(SIGUSR1, in_the_middle);
    CHECK(pthread_create(&thread, NULL, reader, NULL) == 0);
    wait_for_handler();
    CHECK(how == CANCEL ? pthread_cancel(thread) == 0 : pthread_kill(thread, SIGUSR1) == 0);
    CHECK(!came);
    let_go();
    if (how == END) {
        while (!came) usleep(100);
        while (syscall(SYS_tgkill, getpid(), (pid_t)held.pid, 0) == 0) usleep(100);
    } else {
        void *end;
        CHECK(pthread_join(thread, &end) == 0 && (how != CANCEL || end == PTHREAD_CANCELED));
    }
    if (how == FORK) {
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    all_is_well();
}

/* ---- a child that shares our memory is killed in the middle ---- */

static int reads_in_our_memory(void *unused) {
    (void)unused;
    wait_at_mmap();
    return bytes(map)[3 * PAGE];
}

static void killed(long unused) {
    (void)unused;
    lose_map();
    const unsigned char *data = sigward_map_data(map);
    char *stack = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid =
        clone(reads_in_our_memory, stack + (1 << 18), CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
    CHECK(pid > 0);
    if (!WARDED) {
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        raise(WTERMSIG(status));
    }
    wait_for_handler();
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    /* It held the lock: others get through. It held a pin: closing comes back, and the addresses
     * are nobody's. */
    all_is_well();
#ifndef BARE
    CHECK(counters().leaked == 1);
#endif
    for (int i = 0; i < 200; i++) {
        unsigned char *other = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(other != MAP_FAILED && (other < data || other >= data + LOST_LENGTH));
    }
    sigward_map *next = lose();
    survives(next);
    CHECK(sigward_map_close(next) == 0);
}

#ifdef BARE
static void killed_registering(long unused) { (void)unused, lose_map(), touch(map, 3 * PAGE); }
static void killed_growing(long unused) { (void)unused, lose_map(), touch(map, 3 * PAGE); }
#else
/* The child dies with the lock that its work takes, and none of ours is ever held up by it. */
static pid_t shares_our_memory(int (*work)(void *)) {
    char *stack = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid = clone(work, stack + (1 << 18), CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
    CHECK(pid > 0);
    return pid;
}

/* Whoever waits at the call is not left behind, and takes with it what it has opened, as a child of
 * vfork(2) does. */
static void wait_alone_at(unsigned call) {
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    wait_at(call);
    CHECK(unshare(CLONE_FILES) == 0);
}

static int opens_many(void *unused) {
    sigward_map *one;
    (void)unused;
    wait_alone_at(SYS_mmap);
    for (int i = 0; i < 1000; i++) CHECK(sigward_map_open(path, NULL, &one) == 0);
    return 0;
}

/* Memory that is no file's is the registry's own: it wants room for more maps, under its lock. */
static void killed_registering(long unused) {
    (void)unused;
    lose_map();
    pid_t pid = shares_our_memory(opens_many);
    for (wait_for_handler(); (int)held.data.args[4] >= 0; wait_for_handler()) let_go();
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    sigward_map *many[100];
    for (int i = 0; i < 100; i++) many[i] = lose(), survives(many[i]);
    for (int i = 0; i < 100; i++) CHECK(sigward_map_close(many[i]) == 0);
    survives(map);
    CHECK(sigward_map_close(map) == 0 && counters().leaked == 0);
}

static int grows(void *unused) {
    (void)unused;
    wait_alone_at(SYS_fallocate);
    return sigward_map_grow(map, 8 * LOST_LENGTH);
}

static void killed_growing(long unused) {
    (void)unused;
    path = new_file("grown", LOST_LENGTH);
    map = open_map(path, OPTIONS(.writable = 1, .capacity = 64 * LOST_LENGTH));
    pid_t pid = shares_our_memory(grows);
    wait_for_handler();
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    CHECK(sigward_map_len(map) == LOST_LENGTH && sigward_map_grow(map, 16 * LOST_LENGTH) == 0);
    CHECK(sigward_map_len(map) == 16 * LOST_LENGTH && bytes(map)[16 * LOST_LENGTH - 1] == 0);
    CHECK(poison(map) == INTACT);
    holds(map, 0, 0, LOST_LENGTH);
    CHECK(sigward_map_close(map) == 0);
}
#endif

/* ---- a real-time reader waits for an ordinary one that has no other processor ---- */

static volatile int ran_for; /* milliseconds of processor time */
static cpu_set_t their_processor;

static void *real_time(void *unused) {
    struct sched_param priority = {.sched_priority = 50};
    struct timespec used;
    (void)unused;
    CHECK(sched_setaffinity(0, sizeof their_processor, &their_processor) == 0);
    CHECK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0);
    touch(map, 4 * PAGE);
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    ran_for = (int)(used.tv_sec * 1000 + used.tv_nsec / 1000000);
    return NULL;
}

static void *held_reader(void *unused) {
    (void)unused;
    CHECK(sched_setaffinity(0, sizeof their_processor, &their_processor) == 0);
    wait_at_mmap();
    touch(map, 3 * PAGE);
    return NULL;
}

static void sched_fifo(long unused) {
    pthread_t threads[2];
    cpu_set_t all;
    (void)unused;
    /* One that we may have. */
    int number = 0;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(number, &all)) number++;
    CPU_ZERO(&their_processor);
    CPU_SET(number, &their_processor);
    lose_map();
    CHECK(pthread_create(&threads[0], NULL, held_reader, NULL) == 0);
    wait_for_handler();
    CHECK(pthread_create(&threads[1], NULL, real_time, NULL) == 0);
    usleep(100000); /* it waits by now, or had no processor yet: then it proves nothing, and nothing
                       fails */
    let_go();
    for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(ran_for < 50);
    all_is_well();
}

/* ---- a daemon that closes all descriptors, whose numbers become others' ---- */

enum { REFRESH, GROW, FOLLOW, FAULT, CLOSE, NOT_OPEN = 8 };

static int strangers[16];

/* A file of somebody else's: none of its bytes, and nothing of its length, is ours. */
static int stranger(void) {
    int fd = (int)syscall(SYS_memfd_create, "stranger", 0);
    CHECK(fd >= 0 && ftruncate(fd, LOST_LENGTH) == 0 && pwrite(fd, "S", 1, 0) == 1);
    return fd;
}

static void closed_by_the_host(long with) {
    int what = (int)with & 7;
    int fd = nameless(LOST_LENGTH);
    sigward_map_options options = {.size = sizeof options, .writable = 1};
#ifndef BARE
    if (what == GROW || what == FOLLOW) options.capacity = 4 * LOST_LENGTH;
#endif
    CHECK(sigward_map_fd(fd, &options, &map) == 0);
    if (what == FAULT || !WARDED) CHECK(ftruncate(fd, PAGE) == 0);
    for (int i = 3; i < 32; i++) close(i);
    if ((with & NOT_OPEN) == 0) for (int i = 0; i < 16; i++) strangers[i] = stranger();
    if (!WARDED) touch(map, 3 * PAGE);
#ifndef BARE
    if (what == REFRESH)
        CHECK(sigward_map_verify(map) == -EBADF && sigward_map_refresh(map) == -EBADF);
    if (what == GROW) CHECK(sigward_map_grow(map, 2 * LOST_LENGTH) == -EBADF);
    if (what == FOLLOW) CHECK(sigward_map_follow(map) == -EBADF);
    if (what == FAULT) {
        survives(map);
        CHECK(status_of(map).cause == SIGWARD_CAUSE_UNKNOWN);
        holds(map, 0, 0, PAGE);
    } else {
        CHECK(sigward_map_status(map, NULL) == 0 && sigward_map_len(map) == LOST_LENGTH);
        holds(map, 0, 0, LOST_LENGTH);
    }
#endif
    CHECK(sigward_map_close(map) == 0);
    for (int i = 0; (with & NOT_OPEN) == 0 && i < 16; i++) {
        char byte;
        struct stat file;
        CHECK(pread(strangers[i], &byte, 1, 0) == 1 && byte == 'S');
        CHECK(fstat(strangers[i], &file) == 0 && file.st_size == LOST_LENGTH);
    }
}

/* The very file, opened by the host under the number that ours had. */
static void same_number(long unused) {
    (void)unused;
    lose_map();
    if (!WARDED) touch(map, 3 * PAGE);
    for (int i = 3; i < 32; i++) close(i);
    for (int i = 0; i < 16; i++) CHECK((strangers[i] = open(path, O_RDONLY)) >= 0);
    CHECK(sigward_map_close(map) == 0);
    for (int i = 0; i < 16; i++) CHECK(fcntl(strangers[i], F_GETFD) >= 0);
}

static void descriptors(void) {
    static const struct row rows[] = {
        {"refresh", closed_by_the_host, REFRESH},
        {"grow", closed_by_the_host, GROW},
        {"follow", closed_by_the_host, FOLLOW},
        {"fault", closed_by_the_host, FAULT},
        {"close", closed_by_the_host, CLOSE},
        {"refresh, none", closed_by_the_host, REFRESH | NOT_OPEN},
        {"grow, none", closed_by_the_host, GROW | NOT_OPEN},
        {"follow, none", closed_by_the_host, FOLLOW | NOT_OPEN},
        {"fault, none", closed_by_the_host, FAULT | NOT_OPEN},
        {"close, none", closed_by_the_host, CLOSE | NOT_OPEN},
        {"same number", same_number, 0},
    };
    ROWS(rows);
}

/* ---- bytes that go straight into a system call: it says EFAULT, and no signal is raised ---- */

static void straight(long populate) {
    int to[2];
    lose_map();
    if (!WARDED) touch(map, 3 * PAGE);
    CHECK(pipe(to) == 0 && write(to[1], sigward_map_data(map), PAGE) == PAGE &&
          poison(map) == INTACT);
    CHECK(write(to[1], (const char *)sigward_map_data(map) + 3 * PAGE, PAGE) == -1 &&
          errno == EFAULT);
    if (populate) CHECK(sigward_map_populate(map, 3 * PAGE, PAGE) == -EFAULT);
    else CHECK(sigward_map_status(map, NULL) == 1);
    CHECK(poison(map) == PAGE && status_of(map).cause == SIGWARD_CAUSE_TRUNCATED &&
          status_of(map).len_now == PAGE);
    CHECK(sigward_map_close(map) == 0);
}

static void straight_in(void) {
    static const struct row rows[] = {{"status", straight, 0}, {"populate", straight, 1}};
    ROWS(rows);
}

/* ---- limits that were lowered, rights that were changed ---- */

enum { DATA, ADDRESSES, RIGHTS };

/* Bytes of address space that the process has. */
static rlim_t addresses(void) {
    char text[32] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0 && close(fd) == 0);
    return strtoull(text, NULL, 10) * PAGE;
}

static void lowered(long what) {
    path = new_file("lowered", LOST_LENGTH);
    map = open_map(path, what == RIGHTS ? OPTIONS(.copy_on_write = 1) : OPTIONS(.writable = 1));
    CHECK(truncate(path, PAGE) == 0);
    volatile unsigned char *data = bytes(map);
    if (what == RIGHTS) CHECK(mprotect((void *)data, LOST_LENGTH, PROT_READ | PROT_WRITE) == 0);
    if (what == DATA) CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){PAGE, PAGE}) == 0);
    /* (Below what there is, the kernel makes no mapping at all, not even in the place of another.)
     */
    rlim_t room = addresses();
    if (what == ADDRESSES) CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){room, room}) == 0);
    if (what != RIGHTS) survives(map);
    data[4 * PAGE] = 7;
    CHECK(data[4 * PAGE] == 7 && data[5 * PAGE] == 0);
    holds(map, 0, 0, PAGE);
    CHECK(sigward_map_close(map) == 0);
}

/* The store comes first: the patch is made for it. */
static void stored(long what) {
    path = new_file("stored", LOST_LENGTH);
    map = open_map(path, OPTIONS(.writable = 1));
    CHECK(truncate(path, PAGE) == 0);
    if (what == DATA) CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){PAGE, PAGE}) == 0);
    bytes(map)[4 * PAGE] = 7;
    CHECK(bytes(map)[4 * PAGE] == 7 && poison(map) <= PAGE);
    CHECK(sigward_map_close(map) == 0);
}

static void limits(void) {
    static const struct row rows[] = {
        {"data", lowered, DATA}, {"addresses", lowered, ADDRESSES}, {"data, stored", stored, DATA},
        {"stored", stored, ADDRESSES},
        {"rights", lowered, RIGHTS},
    };
    ROWS(rows);
}

/* ---- huge pages that cannot be had ---- */

/* Every question for a page is answered with yes. */
static void believe_nothing(void) {
    refuse(SYS_madvise, 0);
}

/* A child that stores into a private huge page of which there is no second one. */
static void private_huge(int lied_to) {
    int fd = (int)syscall(SYS_memfd_create, "huge", MFD_HUGETLB), status;
    const size_t one = huge_page();
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(2 * one)) == 0);
    unsigned char *own = mmap(NULL, 2 * one, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (own == MAP_FAILED) {
        SAY("no huge pages\n");
        _exit(77);
    }
    own[0] = 'A', own[one] = 'B';
    CHECK(sigward_map_fd(fd, OPTIONS(.writable = 1, .copy_on_write = 1), &map) == 0 &&
          bytes(map)[0] == 'A');
    for (;;) {
        unsigned char *more = mmap(NULL, one, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
        if (more == MAP_FAILED) break;
        *more = 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        alarm(patience(100));
        if (lied_to) believe_nothing();
        bytes(map)[5] = 1;
        WARD_CHECK(poison(map) == 0 && status_of(map).cause == SIGWARD_CAUSE_UNKNOWN);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(own[0] == 'A' && bytes(map)[0] == 'A' && sigward_map_close(map) == 0);
    if (WIFSIGNALED(status)) raise(WTERMSIG(status));
    _exit(WEXITSTATUS(status));
}

static void huge(void) { private_huge(0); }
static void huge_lie(void) { private_huge(1); }

/* ---- one thread leaves the seat whenever it may, another one makes maps ---- */

static volatile int enough;

static void *leaves(void *unused) {
    (void)unused;
#ifndef BARE
    while (!enough) sigward_sigbus_restore();
#endif
    return NULL;
}

static void left_meanwhile(long rounds) {
    pthread_t thread;
    if (!WARDED) *(volatile unsigned char *)foreign();
    CHECK(pthread_create(&thread, NULL, leaves, NULL) == 0);
#ifndef BARE
    int fd = nameless(PAGE);
    for (long i = 0; i < rounds; i++) {
        CHECK(sigward_map_fd(fd, NULL, &map) == 0 && sigward_thread_check() == 0 &&
              sigward_map_close(map) == 0);
    }
#endif
    enough = 1;
    CHECK(rounds > 0 && pthread_join(thread, NULL) == 0);
}

static void seat(void) {
    static const struct row rows[] = {{"left meanwhile", left_meanwhile, 20000}};
    ROWS(rows);
}

static void middle(void) {
    static const struct row rows[] = {
        {"jumps", interrupted, JUMP},
        {"forks", interrupted, FORK},
        {"exits its thread", interrupted, EXIT},
        {"ends its thread", interrupted, END},
        {"is cancelled", interrupted, CANCEL},
        {"above ours, jumps", interrupted, ABOVE | JUMP},
        {"above ours, forks", interrupted, ABOVE | FORK},
        {"above ours, exits its thread", interrupted, ABOVE | EXIT},
        {"above ours, ends its thread", interrupted, ABOVE | END},
        {"above ours, is cancelled", interrupted, ABOVE | CANCEL},
        {"killed", killed, 0},
        {"killed while registering", killed_registering, 0},
        {"killed while growing", killed_growing, 0},
    };
    ROWS(rows);
}

static void real_time_row(void) {
    static const struct row rows[] = {{"real time", sched_fifo, 0}};
    ROWS(rows);
}

SCENARIOS({"middle", middle}, {"real_time", real_time_row}, {"descriptors", descriptors},
          {"straight_in", straight_in}, {"limits", limits}, {"huge", huge}, {"huge_lie", huge_lie},
          {"seat", seat})
