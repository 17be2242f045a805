/* What our handlers may use: the stack, errno, no allocation. Warded only. */
#include "maps.h"
#include "refuse.h"
#include <sched.h>
#include <sys/mount.h>

#define SIZE (256 * 1024)
static unsigned char *stack;

/* A signal stack that remembers how deep it was used; shared, so that it outlives a child. */
static void new_stack(void) {
    stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    memset(stack, 0xA5, SIZE);
    stack_t alternate = {.ss_sp = stack, .ss_size = SIZE};
    CHECK(sigaltstack(&alternate, NULL) == 0);
}

static int used(void) {
    int untouched = 0;
    while (untouched < SIZE && stack[untouched] == 0xA5) untouched++;
    return SIZE - untouched;
}

static void empty(int signal) { (void)signal; }

static void empty_on_stack(int signal) {
    struct sigaction action = {.sa_handler = empty, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(signal, &action, NULL) == 0);
}

/* What the kernel's own frame and an empty handler take. */
static int frame(void) {
    new_stack();
    CHECK(sigward_sigpipe_restore() == 0);
    empty_on_stack(SIGPIPE);
    raise(SIGPIPE);
    signal(SIGPIPE, SIG_DFL);
    return used();
}

static void stack_use(void) {
    int kernel = frame();
    new_stack();
    CHECK(sigward_init(NULL) == 0);
    int fd = broken_pipe();
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    SAY("swallow %d\n", used() - kernel);

    new_stack();
    CHECK(sigward_sigpipe_restore() == 0);
    empty_on_stack(SIGPIPE);
    CHECK(sigward_init(NULL) == 0);
    raise(SIGPIPE);
    SAY("chain %d\n", used() - kernel);

    new_stack();
    CHECK(sigward_sigpipe_restore() == 0);
    signal(SIGPIPE, SIG_DFL);
    CHECK(sigward_init(NULL) == 0);
    pid_t child = fork();
    if (child == 0) raise(SIGPIPE);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    SAY("default %d\n", used() - kernel);
}

/* ---- the same for SIGBUS ---- */

/* In a child each: how deep the stack was used beyond the kernel's frame when `run` had its
 * fault. */
static void measure(const char *what, int kernel, void (*run)(void)) {
    new_stack();
    pid_t child = fork();
    if (child == 0) {
        run();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && (status == 0 || WTERMSIG(status) == SIGBUS));
    SAY("%s %d\n", what, used() - kernel);
}

static void truncated(void) { survives(lose()); }

/* With its line on stderr, which goes nowhere. */
static void logged(void) {
    CHECK(dup2(open("/dev/null", O_WRONLY), 2) == 2);
    CHECK(sigward_init(&(sigward_options){.size = sizeof(sigward_options),
                                          .flags = SIGWARD_LOG_STDERR}) == 0);
    survives(lose());
}

static void adopted(void) {
    int fd = nameless(LOST_LENGTH);
    volatile unsigned char *data = mmap(NULL, LOST_LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    sigward_adopted *adopted = adopt((void *)data, LOST_LENGTH, fd, 0);
    CHECK(ftruncate(fd, 0) == 0 && data[3 * PAGE] == 0 && loss_at(adopted) == 0);
}

/* Kernels before 6.11 have no ioctl for it: /proc/self/maps is read. */
static void adopted_on_an_old_kernel(void) {
    refuse(SYS_ioctl, ENOTTY);
    adopted();
}

/* On a file system of one page, which is this namespace's alone. */
static void no_space(void) {
    CHECK(unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("none", arguments[0], "tmpfs", 0, "size=4k") == 0);
    const char *path = new_file("full", PAGE);
    CHECK(truncate(path, LOST_LENGTH) == 0);
    sigward_map *map = open_map(path, OPTIONS(.writable = 1));
    bytes(map)[2 * PAGE] = 1;
    CHECK(status_of(map).cause == SIGWARD_CAUSE_NO_SPACE);
}

static void copied(void) {
    unsigned char byte;
    CHECK(sigward_sigbus_guard() == 0 && sigward_try_copy(&byte, foreign(), 1) == 0);
}

static void chained_signal(void) {
    empty_on_stack(SIGBUS);
    survives(lose());
    raise(SIGBUS);
}

static void by_default(void) {
    CHECK(sigward_sigbus_guard() == 0);
    *(volatile unsigned char *)foreign();
}

static void bus_stack_use(void) {
    int kernel = frame();
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    measure("truncated", kernel, truncated);
    measure("logged", kernel, logged);
    measure("adopted", kernel, adopted);
    measure("adopted, old kernel", kernel, adopted_on_an_old_kernel);
    measure("no space", kernel, no_space);
    measure("copied", kernel, copied);
    measure("chained", kernel, chained_signal);
    measure("default", kernel, by_default);
}

/* ---- allocation: these stand before the C library's in a program that defines them ---- */

static volatile int watching, allocations;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
void *malloc(size_t size) { return allocations += watching, __libc_malloc(size); }
void *calloc(size_t count, size_t size) {
    return allocations += watching, __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) { return allocations += watching, __libc_realloc(old, size); }
void free(void *old) { allocations += watching, __libc_free(old); }

static int chained;
static void count_chained(int signal) { (void)signal, chained++; }

static void *writing(void *fd) {
    /* The first signal of a thread that has never run our code. */
    watching = 1;
    int failed = write(*(int *)fd, "x", 1) == -1 && errno == EPIPE;
    errno = 77;
    raise(SIGUSR2);
    failed = failed && errno == 77;
    watching = 0;
    return failed ? fd : NULL;
}

static void no_allocation(void) {
    int fd = broken_pipe();
    pthread_t thread;
    void *failed;
    CHECK(sigward_init(NULL) == 0);
    signal(SIGUSR2, count_chained);
    CHECK(pthread_create(&thread, NULL, writing, &fd) == 0 && pthread_join(thread, &failed) == 0);
    CHECK(failed == &fd && allocations == 0);
    /* The counters would have seen one. */
    watching = 1;
    free(malloc(1));
    CHECK(allocations == 2);
    watching = 0;
}

static void *faulting(void *lost) {
    /* The first signal of a thread that has never run our code. */
    watching = 1;
    errno = 77;
    int byte = *(volatile unsigned char *)lost;
    raise(SIGBUS);
    int kept = errno == 77 && byte == 0;
    watching = 0;
    return kept ? lost : NULL;
}

/* Truncated, adopted, and one for the predecessor. */
static void bus_no_allocation(void) {
    void *lost[3], *same;
    pthread_t thread;
    signal(SIGBUS, count_chained);
    lost[0] = (void *)(bytes(lose()) + 3 * PAGE);
    int fd = nameless(LOST_LENGTH);
    lost[1] = mmap(NULL, LOST_LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    adopt(lost[1], LOST_LENGTH, fd, 0);
    CHECK(ftruncate(fd, 0) == 0);
    sigward_map *map = open_map(new_file("closed", LOST_LENGTH), OPTIONS(.no_descriptor = 1));
    CHECK(truncate(path_of("closed"), 0) == 0);
    lost[2] = (void *)bytes(map);
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&thread, NULL, faulting, lost[i]) == 0);
        CHECK(pthread_join(thread, &same) == 0);
        CHECK(same == lost[i] && allocations == 0 && chained == i + 1);
    }
    CHECK(counters().faults == 3);
}

static void errno_kept(void) {
    CHECK(sigward_init(NULL) == 0);
    int fd = broken_pipe();
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
#ifdef __x86_64__
    /* What fails inside the handler (there is no peer to name) is nobody's errno. */
    long result;
    int unconnected = socket(AF_INET, SOCK_STREAM, 0);
    errno = 77;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_write), "D"(unconnected), "S"("x"), "d"(1)
                     : "rcx", "r11", "memory");
    CHECK(errno == 77 && result == -EPIPE);
#endif
    errno = 77;
    /* A half-finished call: the signal of another thread's kill must not change this one's
     * errno. */
    CHECK(sigward_sigpipe_restore() == 0);
    signal(SIGPIPE, count_chained);
    CHECK(sigward_init(NULL) == 0);
    errno = 77;
    raise(SIGPIPE);
    CHECK(errno == 77 && chained == 1);
}

SCENARIOS({"stack_use", stack_use}, {"no_allocation", no_allocation}, {"errno_kept", errno_kept},
          {"bus_stack_use", bus_stack_use}, {"bus_no_allocation", bus_no_allocation})
