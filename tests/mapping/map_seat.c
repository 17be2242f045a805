/* Our seat for SIGBUS: kept whatever a predecessor does, covered and taken again, left; and how
 * faithful the death of a fault is that is not ours. */
#include "maps.h"
#include "stops.h"
#include <setjmp.h>

/* ---- the seat: warded lives where bare dies ---- */

static void kept_after_giving_up(long unused) {
    (void)unused;
    install(SIGBUS, give_up, SA_ONSTACK);
    sigward_map *map = lose();
    if (WARDED) kill(getpid(), SIGBUS); /* asynchronous: given up, and nothing else happens */
#ifndef BARE
    CHECK(sigward_thread_check() == 0);
#endif
    survives(map);
    survives(lose());
}

static void born_ignored(long unused) {
    (void)unused;
    signal(SIGBUS, SIG_IGN);
    survives(lose());
}

static sigjmp_buf back;
static void jump(int signal, siginfo_t *info, void *context) {
    note(signal, info, context);
    siglongjmp(back, 1);
}

static void covered(long unused) {
    (void)unused;
    sigward_map *map = lose();
    unsigned char *other = foreign();
    install(SIGBUS, jump, 0);
#ifndef BARE
    CHECK(sigward_thread_check() == SIGWARD_THREAD_COVERED);
    if (sigsetjmp(back, 1) == 0) touch(map, PAGE);
    CHECK(calls == 1 && poison(map) == INTACT && seen.si_addr == (void *)(bytes(map) + PAGE));
    CHECK(sigward_ensure_on_top() == 0 && sigward_thread_check() == 0);
#else
    signal(SIGBUS, SIG_DFL);
#endif
    survives(map);
    CHECK(!WARDED || calls == 1);
    if (sigsetjmp(back, 1) == 0) *(volatile unsigned char *)other;
    CHECK(calls == 2 && seen.si_addr == other);
}

static struct sigaction beneath;
static void pass_on(int signal, siginfo_t *info, void *context) {
    note(signal, info, context);
    if (beneath.sa_flags & SA_SIGINFO) beneath.sa_sigaction(signal, info, context);
    else sigaction(SIGBUS, &beneath, NULL);
}

/* Above us and passing on: what it passes is still ours. */
static void passed_on(long again) {
    sigward_map *map = lose();
    struct sigaction action = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO};
    CHECK(sigaction(SIGBUS, &action, &beneath) == 0);
    if (again) CHECK(sigward_ensure_on_top() == 0);
    survives(map);
    CHECK(calls == !again);
    if (again == 2) *(volatile unsigned char *)foreign();
}

static void seat(void) {
    static const struct row rows[] = {
        {"after a predecessor gave up", kept_after_giving_up, 0},
        {"born with it ignored", born_ignored, 0},
        {"covered, then on top", covered, 0},
        {"beneath one that passes on", passed_on, 0},
        {"above and beneath it", passed_on, 1},
    };
    ROWS(rows);
}

/* A circle of handlers ends in the death that the fault means. */
static void circle(void) { passed_on(2); }

/* ---- pc and address of a death, seen from outside ---- */

static void watch(const char *how, const unsigned char *other) {
    pid_t child = fork();
    if (child == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        sigward_map *map = lose();
        (void)map;
        if (strcmp(how, "load") == 0) *(volatile unsigned char *)(other + 3 * PAGE + 5);
        if (strcmp(how, "store") == 0) *(volatile unsigned char *)(other + 3 * PAGE + 6) = 1;
        if (strcmp(how, "queue") == 0)
            sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 4711});
        _exit(0);
    }
    siginfo_t last = {0};
    int stops, status = stops_of(child, SIGBUS, &stops, &last);
    SAY("%s: %s %d, code %d, address %ld, value %d\n", how, WIFSIGNALED(status) ? "signal" : "exit",
        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), last.si_code,
        last.si_code > 0 ? (long)((unsigned char *)last.si_addr - other) : 0,
        last.si_code == SI_QUEUE ? last.si_value.sival_int : 0);
    CHECK(stops == 1 + WARDED); /* once to our handler, once by default */
}

static void faithful(void) {
    const unsigned char *other = foreign();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    watch("load", other);
    watch("store", other);
    watch("queue", other);
}

/* ---- taking and leaving it; warded only ---- */

#ifndef BARE
static void thread_check(void) {
    sigset_t set;
    CHECK(sigward_thread_check() == SIGWARD_THREAD_UNGUARDED);
    CHECK(sigward_sigbus_guard() == 0 && sigward_sigbus_guard() == 0 &&
          sigward_thread_check() == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK(sigward_thread_check() == SIGWARD_THREAD_BLOCKED);
    install(SIGBUS, note, 0);
    CHECK(sigward_thread_check() == (SIGWARD_THREAD_BLOCKED | SIGWARD_THREAD_COVERED));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK(sigward_thread_check() == SIGWARD_THREAD_COVERED);
    CHECK(sigward_ensure_on_top() == 0 && sigward_thread_check() == 0);
    CHECK(sigward_sigbus_restore() == 0 && current_handler(SIGBUS) == (void *)note);
    CHECK(sigward_thread_check() == SIGWARD_THREAD_UNGUARDED);
}

static void leaving(void) {
    CHECK(sigward_sigbus_restore() == 0); /* nothing to leave */
    sigward_map *map = lose();
    void *ours = current_handler(SIGBUS);
    CHECK(ours != (void *)SIG_DFL);
    CHECK(sigward_sigbus_restore() == -EBUSY && current_handler(SIGBUS) == ours);
    survives(map);
    CHECK(sigward_map_close(map) == 0);
    CHECK(sigward_sigbus_restore() == 0 && current_handler(SIGBUS) == (void *)SIG_DFL);
    CHECK(sigward_sigbus_restore() == 0);
    /* The next map takes it again, a thousand times if need be. */
    for (int i = 0; i < 1000; i++) {
        map = lose();
        if (i % 100 == 0) survives(map);
        CHECK(sigward_map_close(map) == 0 && sigward_sigbus_restore() == 0);
    }
    CHECK(sigward_init(NULL) == 0 && sigward_thread_check() == 0);
    CHECK(sigward_sigbus_restore() == 0);
    raise(SIGBUS);
}
/* ---- what is told of a loss ---- */

static void event(void) {
    uint64_t cursor = 0;
    sigward_event told[2];
    char line[512];
    CHECK(pthread_setname_np(pthread_self(), "reader") == 0);
    const char *path = new_file("told", LOST_LENGTH);
    struct stat file;
    sigward_map *map = open_map(path, OPTIONS(.offset = PAGE));
    CHECK(truncate(path, 3 * PAGE + 7) == 0 && stat(path, &file) == 0);
    survives(map);
    survives(map);
    CHECK(sigward_read_events(&cursor, told, 2) == 1);
    CHECK(told->signal == SIGBUS && told->tid == (int32_t)syscall(SYS_gettid) &&
          strcmp(told->thread, "reader") == 0);
    CHECK(told->result == -EFAULT && told->cause == SIGWARD_CAUSE_TRUNCATED && told->write == 0);
    CHECK(told->offset == 2 * PAGE + 7 && told->len_now == 3 * PAGE + 7 &&
          told->inode == file.st_ino);
    CHECK(told->fd_kind == 4 && fstat(told->fd, &file) == 0 && file.st_ino == told->inode);
    size_t length = strlen(path) < sizeof told->peer ? strlen(path) : sizeof told->peer;
    CHECK(told->peer_len == length &&
          memcmp(told->peer, path + strlen(path) - length, length) == 0);
    CHECK(sigward_event_format(told, line, sizeof line) > 20 && strstr(line, "told") != NULL);
    SAY("%s\n", line);
}
#else
static void thread_check(void) {}
static void leaving(void) {}
static void event(void) {}
#endif

SCENARIOS({"seat", seat}, {"circle", circle}, {"faithful", faithful},
          {"thread_check", thread_check}, {"leaving", leaving}, {"event", event})
