/* Programs that die of SIGPIPE and SIGBUS, or live on, and what is said of it. Bare, the library is
 * preloaded or absent; else the host asks for last words itself. The first argument is a folder. */
#include "host.h"
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define PAGE PAGE_BYTES
#define LENGTH (16 * PAGE)

static void arm(void) {
#ifndef BARE
    sigward_options options = {.size = sizeof options, .sigpipe = SIGWARD_SIGPIPE_LEAVE};
    options.flags = SIGWARD_EXPLAIN;
    CHECK(sigward_init(&options) == 0);
#endif
}

/* The bare program has them by SIGWARD=explain,SEGV,… if at all. */
static void arm_further(void) {
#ifdef BARE
    arm();
#else
    int signals[] = {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ, SIGSYS};
    CHECK(sigward_explain_signals(signals, sizeof signals / sizeof *signals) == 0);
#endif
}

static const char *path_of(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%.3000s/%.900s", arguments[0], name);
    return path;
}

static volatile unsigned char *map(const char *name, int rights, int kind) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, LENGTH) == 0);
    void *data = mmap(NULL, LENGTH, rights, kind, fd, 0);
    CHECK(data != MAP_FAILED && close(fd) == 0);
    return data;
}

static volatile unsigned char *cut(void) {
    volatile unsigned char *data = map("geo.mmdb", PROT_READ, MAP_SHARED);
    CHECK(truncate(path_of("geo.mmdb"), 0) == 0);
    return data;
}

/* ---- SIGPIPE ---- */

static void *write_to_socket(void *unused) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), ours = socket(AF_INET, SOCK_STREAM, 0);
    prctl(PR_SET_NAME, "pool-3");
    CHECK(bind(listener, (void *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (void *)&address, &size) == 0);
    CHECK(connect(ours, (void *)&address, size) == 0 && dup2(ours, 17) == 17);
    SAY("%d\n", ntohs(address.sin_port));
    int theirs = accept(listener, NULL, NULL);
    struct linger reset = {.l_onoff = 1};
    CHECK(setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    CHECK(close(theirs) == 0);
    await_reset(17);
    CHECK(send(17, "x", 1, MSG_NOSIGNAL) == -1 && errno == ECONNRESET);
    CHECK(write(17, "x", 1) == -1); /* dies here */
    return unused;
}

static void tcp(void) {
    arm();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, write_to_socket, NULL) == 0);
    pthread_join(thread, NULL);
}

static void broken(void) {
    arm();
    CHECK(write(broken_pipe(), "x", 1) == 1); /* dies here */
}

static void sent(void) {
    arm();
    kill(getpid(), SIGPIPE); /* dies here */
}

static void sent_by_child(void) {
    arm();
    pid_t parent = getpid();
    if (fork() == 0) {
        /* So that it is there still when the parent asks for its name. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        kill(parent, SIGPIPE);
        close(1);
        close(2);
        for (;;) pause();
    }
    for (;;) pause(); /* dies here */
}

static void sent_by_named(void) {
    arm();
    SAY("%d\n", getpid());
    for (;;) pause();
}

/* By a number that the handler does not know, so that it asks more. */
static void *write_cancelled(void *fd) {
    CHECK(pthread_cancel(pthread_self()) == 0);
    syscall(SYS_write, *(int *)fd, "x", 1); /* dies here */
    return NULL;
}

static void cancelled(void) {
    arm();
    pthread_t thread;
    int fd = broken_pipe();
    CHECK(pthread_create(&thread, NULL, write_cancelled, &fd) == 0);
    pthread_join(thread, NULL);
}

/* ---- SIGBUS ---- */

static void truncated(void) {
    arm();
    volatile unsigned char *data = cut();
    (void)data[5 * PAGE + 5]; /* dies here */
}

static void in_libc(void) {
    arm();
    unsigned char copy[2 * PAGE];
    volatile unsigned char *data = cut();
    memcpy(copy, (const void *)(data + 5 * PAGE), sizeof copy); /* dies here */
    SAY("%d\n", copy[3]);
}

static void full_disk(void) {
    arm();
    volatile unsigned char *data = map("app.db", PROT_READ | PROT_WRITE, MAP_SHARED);
    int fd = open(path_of("ballast"), O_RDWR | O_CREAT, 0600);
    static char block[1 << 18] = {1};
    for (size_t size = sizeof block; size >= 512; size /= 8)
        while (write(fd, block, size) > 0) continue;
    CHECK(errno == ENOSPC);
    data[7 * PAGE] = 1; /* dies here */
}

static void deleted(void) {
    arm();
    volatile unsigned char *data = cut();
    CHECK(unlink(path_of("geo.mmdb")) == 0);
    (void)data[PAGE]; /* dies here */
}

/* Without /proc nobody says what is mapped. */
static void without_proc(void) {
    arm();
    volatile unsigned char *data = cut();
    if (chroot(arguments[0]) != 0) {
        SAY("no leave\n");
        return;
    }
    (void)data[PAGE]; /* dies here */
}

/* poll(2) refuses. */
static void without_descriptors(void) {
    arm();
    int fd = broken_pipe();
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(write(fd, "x", 1) == 1); /* dies here */
}

static void long_name(void) {
    arm();
    char name[256] = "line\nfeed-";
    memset(name + strlen(name), 'x', 200);
    volatile unsigned char *data = map(name, PROT_READ, MAP_SHARED);
    CHECK(truncate(path_of(name), 0) == 0);
    (void)data[PAGE]; /* dies here */
}

/* ---- stderr ---- */

static void die_in_child(void) {
    pid_t child = fork();
    if (child == 0) {
        volatile unsigned char *data = cut();
        (void)data[5 * PAGE + 5];
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    int signal = WIFSIGNALED(status);
    SAY("%s %d\n", signal ? "signal" : "exit", signal ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void forked(void) {
    arm();
    die_in_child();
    die_in_child();
    volatile unsigned char *data = cut();
    (void)data[5 * PAGE + 5]; /* dies here */
}

static void full_pipe(void) {
    int ends[2];
    CHECK(pipe(ends) == 0 && dup2(ends[1], 2) == 2 && fcntl(2, F_SETFL, O_NONBLOCK) == 0);
    arm();
    while (write(2, "x", 1) == 1) continue;
    CHECK(errno == EAGAIN && fcntl(2, F_SETFL, 0) == 0);
    die_in_child();
}

static void broken_stderr(void) {
    int ends[2];
    CHECK(pipe(ends) == 0 && dup2(ends[1], 2) == 2 && close(ends[1]) == 0);
    arm();
    CHECK(close(ends[0]) == 0);
    die_in_child();
}

static void closed(void) {
    arm();
    CHECK(close(2) == 0);
    die_in_child();
}

/* The number is a peer's by then. */
static void reuse(void) {
    int ends[2];
    char bytes[8];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && ends[0] == 2);
    die_in_child();
    CHECK(close(2) == 0);
    SAY("received %zd\n", read(ends[1], bytes, sizeof bytes));
}

static void reused(void) {
    arm();
    CHECK(close(2) == 0);
    reuse();
}

static void closed_before(void) {
    CHECK(close(2) == 0);
    arm();
    reuse();
}

static void another_descriptor(void) {
#ifndef BARE
    int words = open(path_of("words"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(words >= 0 && sigward_last_words(words) == 0);
#endif
    arm();
    CHECK(close(2) == 0);
    die_in_child();
}

static void unwanted(void) {
    arm();
#ifndef BARE
    CHECK(sigward_last_words(-1) == 0);
#endif
    die_in_child();
}

/* ---- stacks and threads ---- */

/* An alternate stack with room for the kernel's frame and so much more, under a guard page. */
static void small_stack(void) {
    arm();
    size_t least = getauxval(AT_MINSIGSTKSZ);
    if (least < (size_t)MINSIGSTKSZ) least = MINSIGSTKSZ;
    for (size_t more = 0; more <= 32 << 10; more = more ? more * 2 : 512) {
        size_t size = least + more, whole = (size + PAGE - 1) / PAGE * PAGE;
        int rights = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
        char *memory = mmap(NULL, whole + PAGE, rights, kind, -1, 0);
        CHECK(memory != MAP_FAILED && mprotect(memory, PAGE, PROT_NONE) == 0);
        stack_t stack = {.ss_sp = memory + PAGE + whole - size, .ss_size = size};
        CHECK(sigaltstack(&stack, NULL) == 0);
        die_in_child();
    }
}

static void take_stack(void) {
    static char memory[1 << 16];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
    CHECK(sigaltstack(&stack, NULL) == 0);
}

/* A push to where no address can be. */
static void no_stack(void) {
#ifdef __x86_64__
    __asm__ volatile("movq %0, %%rsp\n\tpushq %%rax" : : "r"(0x8000000000001100) : "memory");
#endif
}

static void lost_stack(void) {
    arm();
    take_stack();
    no_stack(); /* dies here */
}

static void report_lost_stack(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    SAY("reported\n");
    _exit(0);
}

static void lost_stack_reported(void) {
    install(SIGBUS, report_lost_stack, SA_ONSTACK);
    arm();
    take_stack();
    no_stack();
}

static void *fault(void *data) {
    (void)*(volatile unsigned char *)data; /* dies here */
    return NULL;
}

static void small_thread(void) {
    arm();
    pthread_attr_t attributes;
    pthread_t thread;
    volatile unsigned char *data = cut();
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0);
    CHECK(pthread_create(&thread, &attributes, fault, (void *)data) == 0);
    pthread_join(thread, NULL);
}

static pthread_barrier_t together;

static void *fault_together(void *data) {
    pthread_barrier_wait(&together);
    return fault(data);
}

/* Many deaths of eight threads at once. */
static void at_once(void) {
    enum { THREADS = 8 };
    arm();
    for (int i = 0; i < 40; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t threads[THREADS];
            volatile unsigned char *data = cut();
            pthread_barrier_init(&together, NULL, THREADS);
            for (int t = 0; t < THREADS; t++) {
                char *lost = (char *)data + t * PAGE;
                CHECK(pthread_create(threads + t, NULL, fault_together, lost) == 0);
            }
            for (;;) pause();
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
        CHECK(WTERMSIG(status) == SIGBUS);
    }
}

/* ---- others' handlers ---- */

static sigjmp_buf place;

static void jump(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    siglongjmp(place, 1);
}

static void survived(void) {
    install(SIGBUS, jump, 0);
    arm();
    volatile unsigned char *data = cut();
    for (volatile int i = 0; i < 30; i++)
        if (sigsetjmp(place, 1) == 0) (void)data[i % 16 * PAGE];
    SAY("lived\n");
}

static struct sigaction before;

/* As CPython's faulthandler does. */
static void raise_again(int signal, siginfo_t *info, void *context) {
    (void)info, (void)context;
    SAY("reported\n");
    CHECK(sigaction(signal, &before, NULL) == 0);
    raise(signal);
}

static void raised(void) {
    arm();
    struct sigaction action = {.sa_sigaction = raise_again, .sa_flags = SA_SIGINFO | SA_NODEFER};
    CHECK(sigaction(SIGBUS, &action, &before) == 0);
    volatile unsigned char *data = cut();
    (void)data[5 * PAGE + 5]; /* dies here */
}

static void filtered(void) {
    arm();
#ifndef BARE
    sigward_status_report report = {.size = sizeof report};
    CHECK(sigward_status(&report) == 0 && !report.sigpipe.armed && report.sigbus.armed);
    CHECK(report.outcome == SIGWARD_OUTCOME_UNTOUCHED);
    CHECK(sigward_set_nosigpipe(1) == -ENOTSUP);
    CHECK(sigward_init(NULL) == 0);
#endif
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
}

static void ignored(void) {
    signal(SIGPIPE, SIG_IGN);
    arm();
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    CHECK(current_handler(SIGPIPE) == (void *)SIG_IGN);
}

/* ---- further signals ---- */

static unsigned char *volatile nowhere = (unsigned char *)0x10;

static void null(void) {
    arm_further();
    (void)*(volatile unsigned char *)nowhere; /* dies here */
}

static void read_only(void) {
    arm_further();
    volatile unsigned char *data = map("geo.mmdb", PROT_READ, MAP_SHARED);
    data[5 * PAGE + 5] = 1; /* dies here */
}

static void jump_nowhere(void) {
    arm_further();
    void (*volatile function)(void) = (void (*)(void))nowhere;
    function(); /* dies here */
}

static void in_libc_null(void) {
    arm_further();
    unsigned char copy[2 * PAGE];
    void *(*volatile function)(void *, const void *, size_t) = memcpy;
    function(copy, nowhere, sizeof copy); /* dies here */
    SAY("%d\n", copy[3]);
}

static volatile int deepest = 1 << 30;

/* Also where the limit is none. */
static void limit_stack(void) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    limit.rlim_cur = 8 << 20;
    CHECK(limit.rlim_max < limit.rlim_cur || setrlimit(RLIMIT_STACK, &limit) == 0);
}

static int deeper(volatile int *above) {
    volatile int here[1024];
    here[0] = *above + 1;
    return here[0] > deepest ? 0 : deeper(here) + here[0];
}

/* On an alternate stack a thread has something to say it on. */
static void no_stack_left(void) {
    arm_further();
    static char room[64 << 10];
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    CHECK(sigaltstack(&stack, NULL) == 0);
    limit_stack();
    volatile int start = 0;
    SAY("%d\n", deeper(&start)); /* dies here */
}

static void no_stack_at_all(void) {
    arm_further();
    limit_stack();
    volatile int start = 0;
    SAY("%d\n", deeper(&start)); /* dies here */
}

static void aborted(void) {
    arm_further();
    abort(); /* dies here */
}

static void abort_sent(void) {
    arm_further();
    kill(getpid(), SIGABRT); /* dies here */
}

static void divided(void) {
    arm_further();
    volatile int zero = 0, number = 7;
    SAY("%d\n", number / zero); /* dies here */
}

static void illegal(void) {
    arm_further();
    __builtin_trap(); /* dies here */
}

static void too_long(void) {
    arm_further();
    struct rlimit limit = {.rlim_cur = PAGE, .rlim_max = RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    int fd = open(path_of("app.log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && dup2(fd, 17) == 17);
    CHECK(pwrite(17, "x", 1, PAGE - 1) == 1);
    CHECK(pwrite(17, "x", 1, PAGE) == 0); /* dies here */
}

static void forbidden(void) {
    arm_further();
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sethostname, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    syscall(SYS_sethostname, "x", 1); /* dies here */
}

/* An emulator answers SIGSYS so, and a log rotates at SIGXFSZ. */
static volatile sig_atomic_t answered_;
static void answering(int signal) { (void)signal, answered_++; }

static void answered(void) {
    signal(SIGSYS, answering);
    signal(SIGXFSZ, answering);
    arm_further();
    struct rlimit limit = {.rlim_cur = PAGE, .rlim_max = RLIM_INFINITY};
    int fd = open(path_of("app.log"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(pwrite(fd, "x", 1, PAGE) == -1 && errno == EFBIG && answered_ == 1);
    CHECK(raise(SIGSYS) == 0 && answered_ == 2);
}

static bool is_default(int signal) { return current_handler(signal) == (void *)SIG_DFL; }

static void as_json(void) {
#ifndef BARE
    CHECK(sigward_last_words_json(1) == 0);
#endif
    arm_further();
    prctl(PR_SET_NAME, "a\"b\\c\xff");
    const char *name = "a\"b\\\xff\n";
    volatile unsigned char *data = map(name, PROT_READ, MAP_SHARED);
    CHECK(truncate(path_of(name), 0) == 0);
    (void)data[5 * PAGE + 5]; /* dies here */
}

static void json_again(void) {
#ifndef BARE
    CHECK(sigward_last_words_json(1) == 0 && sigward_last_words_json(0) == 0);
#endif
    null();
}

/* What nobody has asked for is not told, and its row is nobody's. */
static void not_chosen(void) {
    CHECK(is_default(SIGABRT) && is_default(SIGSEGV));
#ifndef BARE
    int wrong[] = {SIGABRT, SIGTERM}, right[] = {SIGABRT, SIGPIPE, SIGBUS};
    CHECK(sigward_explain_signals(wrong, 2) == -EINVAL);
    CHECK(sigward_explain_signals(NULL, 1) == -EINVAL);
    CHECK(is_default(SIGABRT) && is_default(SIGBUS));
    CHECK(sigward_explain_signals(right, 3) == 0 && !is_default(SIGABRT));
    CHECK(is_default(SIGSEGV) && is_default(SIGSYS));
    arm_further();
    CHECK(sigward_explain() == 0 && !is_default(SIGSEGV));
    CHECK(sigward_explain_signals(NULL, 0) == 0);
    CHECK(is_default(SIGABRT) && is_default(SIGSEGV) && !is_default(SIGBUS));
    CHECK(sigward_try_copy_segv() == 0);
    arm_further();
    CHECK(sigward_explain_signals(NULL, 0) == 0 && !is_default(SIGSEGV));
#endif
    (void)*(volatile unsigned char *)nowhere; /* dies here */
}

static void ignored_further(void) {
    signal(SIGXFSZ, SIG_IGN);
    arm_further();
    CHECK(current_handler(SIGXFSZ) == (void *)SIG_IGN);
}

static void jump_from_abort(int signal, siginfo_t *info, void *context) {
    CHECK(signal == SIGABRT && info->si_code == SI_TKILL && info->si_pid == getpid());
    (void)context;
    siglongjmp(place, 1);
}

static void abort_survived(void) {
    install(SIGABRT, jump_from_abort, 0);
    arm_further();
    if (sigsetjmp(place, 1) == 0) raise(SIGABRT);
    SAY("lived\n");
}

static volatile sig_atomic_t faults;

static void count_and_skip(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    faults++;
    siglongjmp(place, 1);
}

/* As a JVM does: code that was made as the program runs, and faults that are looked for. */
static void made_code(void) {
#ifdef __x86_64__
    static const unsigned char load[] = {0x0f, 0xb6, 0x07, 0xc3}; /* movzbl (%rdi), %eax; ret */
#else
    /* ldrb w0, [x0]; ret */
    static const unsigned char load[] = {0x00, 0x00, 0x40, 0x39, 0xc0, 0x03, 0x5f, 0xd6};
#endif
    int rights = PROT_READ | PROT_WRITE;
    unsigned char *code = mmap(NULL, PAGE, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code != MAP_FAILED);
    memcpy(code, load, sizeof load);
    CHECK(mprotect(code, PAGE, PROT_READ | PROT_EXEC) == 0);
    __builtin___clear_cache((char *)code, (char *)code + sizeof load);
    int (*made)(unsigned char *) = (int (*)(unsigned char *))(void *)code;
    install(SIGSEGV, count_and_skip, 0);
    install(SIGABRT, jump_from_abort, 0);
    arm_further();
    for (volatile int i = 0; i < 100; i++)
        if (sigsetjmp(place, 1) == 0) made(nowhere);
    if (sigsetjmp(place, 1) == 0) raise(SIGABRT);
    SAY("%d\n", faults);
}

SCENARIOS({"null", null}, {"read_only", read_only}, {"jump_nowhere", jump_nowhere},
          {"in_libc_null", in_libc_null}, {"no_stack_left", no_stack_left},
          {"no_stack_at_all", no_stack_at_all}, {"aborted", aborted}, {"abort_sent", abort_sent},
          {"divided", divided}, {"illegal", illegal}, {"too_long", too_long},
          {"forbidden", forbidden}, {"answered", answered}, {"not_chosen", not_chosen},
          {"ignored_further", ignored_further}, {"abort_survived", abort_survived},
          {"made_code", made_code}, {"as_json", as_json}, {"json_again", json_again},
          {"tcp", tcp}, {"broken", broken}, {"cancelled", cancelled}, {"lost_stack", lost_stack},
          {"lost_stack_reported", lost_stack_reported}, {"sent", sent},
          {"sent_by_child", sent_by_child}, {"sent_by_named", sent_by_named},
          {"truncated", truncated}, {"in_libc", in_libc},
          {"full_disk", full_disk}, {"deleted", deleted}, {"long_name", long_name},
          {"without_proc", without_proc}, {"without_descriptors", without_descriptors},
          {"forked", forked}, {"full_pipe", full_pipe}, {"broken_stderr", broken_stderr},
          {"closed", closed}, {"reused", reused}, {"closed_before", closed_before},
          {"another_descriptor", another_descriptor}, {"unwanted", unwanted},
          {"small_stack", small_stack}, {"small_thread", small_thread}, {"at_once", at_once},
          {"survived", survived}, {"raised", raised}, {"filtered", filtered}, {"ignored", ignored})
