/* A handler held in the middle of its work, as long as the test wants: the system call that puts
 * zeros over the lost pages waits for a supervisor (seccomp_unotify(2)). What others do meanwhile
 * is then no matter of luck. Bare dies: there is nobody to wait for. */
#include "maps.h"
#include <linux/filter.h>
#include <poll.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>

static int listener = -1;
static sigward_map *map;
static volatile unsigned char *lost;

static unsigned at_call = SYS_mmap;

/* Reads a lost byte; of this thread alone each such system call waits. */
static void *reader(void *unused) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, at_call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    (void)unused;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    int made = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                            &program);
    CHECK(made >= 0);
    __atomic_store_n(&listener, made, __ATOMIC_RELEASE);
    CHECK(*lost == 0);
    return NULL;
}

static pthread_t thread;
static struct seccomp_notif held;

/* Comes back when the reader's handler stands at its system call. */
static void begin(void) {
    CHECK(pthread_create(&thread, NULL, reader, NULL) == 0);
    while (__atomic_load_n(&listener, __ATOMIC_ACQUIRE) < 0) sched_yield();
    CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &held) == 0);
}

/* At its mmap, which begins at `first`. */
static void hold_at(const volatile unsigned char *first) {
    begin();
    WARD_CHECK(held.data.args[0] == (uint64_t)(uintptr_t)first);
}

static void hold(void) {
    map = lose();
    lost = bytes(map) + 3 * PAGE;
    hold_at(bytes(map) + PAGE);
}

/* The mapping is the host's own, so it outlives its guard. */
static sigward_adopted *hold_adopted(void) {
    int file = nameless(LOST_LENGTH);
    unsigned char *data = mmap(NULL, LOST_LENGTH, PROT_READ, MAP_SHARED, file, 0);
    sigward_adopted *adopted = adopt(data, LOST_LENGTH, file, 0);
    CHECK(ftruncate(file, PAGE) == 0);
    lost = data + 3 * PAGE;
    hold_at(lost);
    return adopted;
}

static void let_go(void) {
    struct seccomp_notif_resp answer = {.id = held.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    CHECK(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0);
}

/* ---- closing waits ---- */

static volatile int closed;

static void *close_adopted(void *adopted) {
    CHECK(sigward_adopted_close(adopted) == 0);
    closed = 1;
    return NULL;
}

static void closing(long unused) {
    pthread_t closer;
    (void)unused;
    sigward_adopted *adopted = hold_adopted();
    CHECK(pthread_create(&closer, NULL, close_adopted, adopted) == 0);
    usleep(200000);
    CHECK(!closed); /* now its owner would unmap it, and others come to the addresses */
    let_go();
    pthread_join(closer, NULL);
    pthread_join(thread, NULL);
    CHECK(*lost == 0 && counters().maps == 0);
}

/* ---- what is good stays good, what is lost is told, before the patch is there ---- */

static void telling(long unused) {
    sigward_fault fault;
    (void)unused;
    hold();
    WARD_CHECK(poison(map) == PAGE && sigward_map_status(map, &fault) == 1 && fault.offset == PAGE);
    holds(map, 0, 0, PAGE);
    let_go();
    pthread_join(thread, NULL);
    survives(map);
    CHECK(sigward_map_close(map) == 0);
}

/* ---- who looks while a handler asks a file system that does not answer is told after a second,
 * and can be interrupted ---- */

static volatile int alarms;
static void on_alarm(int signal) { (void)signal, alarms++; }

static void verifying(long unused) {
    (void)unused;
    map = lose();
    lost = bytes(map) + 3 * PAGE;
    at_call = SYS_fstat;
    begin();
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    /* By the kernel's own clock: another process may not run for as long as this one waits. */
    struct sigevent by_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec often = {{0, 50000000}, {0, 50000000}}, never = {0};
    int timer;
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &by_signal, &timer) == 0);
    CHECK(syscall(SYS_timer_settime, timer, 0, &often, NULL) == 0);
    CHECK(sigward_map_verify(map) == -EFAULT);
    CHECK(syscall(SYS_timer_settime, timer, 0, &never, NULL) == 0);
    CHECK(alarms > 0);
    WARD_CHECK(poison(map) == PAGE && status_of(map).offset == PAGE);
    CHECK(sigward_map_verify(map) == -EFAULT); /* it does not wait twice */
    /* The handler comes back to the same loss, and knows why. */
    let_go();
    while (pthread_tryjoin_np(thread, NULL) != 0) {
        struct pollfd next = {.fd = listener, .events = POLLIN};
        if (poll(&next, 1, 10) != 1) continue;
        memset(&held, 0, sizeof held);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &held) == 0) let_go();
    }
    survives(map);
    WARD_CHECK(poison(map) == PAGE);
    CHECK(sigward_map_close(map) == 0);
}

/* ---- other readers wait for the first, wherever in their own handlers they are, and nobody
 * patches twice ---- */

static void *another(void *unused) {
    (void)unused;
    CHECK(*lost == 0);
    WARD_CHECK(poison(map) == PAGE);
    closed = 1;
    return NULL;
}

static void many_readers(long unused) {
    pthread_t others[8];
    (void)unused;
    hold();
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&others[i], NULL, another, NULL) == 0);
    usleep(50000);
    CHECK(!closed);
    let_go();
    for (int i = 0; i < 8; i++) pthread_join(others[i], NULL);
    pthread_join(thread, NULL);
    WARD_CHECK(counters().patches == 1);
    CHECK(sigward_map_close(map) == 0);
}

/* ---- a child of that moment has no such thread: it waits for nobody ---- */

static void forking(long unused) {
    int status;
    (void)unused;
    hold();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(patience(60));
        survives(map);
        WARD_CHECK(poison(map) == PAGE && status_of(map).cause == SIGWARD_CAUSE_TRUNCATED);
        holds(map, 0, 0, PAGE);
        sigward_map *own = lose();
        survives(own);
        CHECK(sigward_map_close(own) == 0 && sigward_map_close(map) == 0);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(!WARDED || status == 0);
    let_go();
    pthread_join(thread, NULL);
    survives(map);
    WARD_CHECK(counters().patches == 1);
    CHECK(sigward_map_close(map) == 0);
}

/* ---- the reader's other signals wait until its handler is through ---- */

static volatile int others;

static void other_signal(int signal) {
    (void)signal;
    others++;
    if (WARDED) survives(map); /* would wait for its own patch lock for ever */
}

static void signalled(long unused) {
    (void)unused;
    signal(SIGUSR1, other_signal);
    hold();
    pthread_kill(thread, SIGUSR1);
    usleep(50000);
    CHECK(others == 0);
    let_go();
    pthread_join(thread, NULL);
    CHECK(others == 1);
}

static void held_up(void) {
    static const struct row rows[] = {
        {"closing", closing, 0}, {"telling", telling, 0}, {"verifying", verifying, 0},
        {"many readers", many_readers, 0}, {"forking", forking, 0}, {"signalled", signalled, 0},
    };
    ROWS(rows);
}

SCENARIOS({"held_up", held_up})
