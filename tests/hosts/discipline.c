/* What our handler may use: its stack, errno, no allocation. Warded only. */
#include "host.h"

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

static void empty_on_stack(void) {
    struct sigaction action = {.sa_handler = empty, .sa_flags = SA_ONSTACK};
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
}

/* What the kernel's own frame and an empty handler take. */
static int frame(void) {
    new_stack();
    CHECK(sigward_sigpipe_restore() == 0);
    empty_on_stack();
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
    empty_on_stack();
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

/* ---- allocation: these stand before the C library's in a program that defines them ---- */

static volatile int watching, allocations;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
void *malloc(size_t size) { return allocations += watching, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocations += watching, __libc_calloc(count, size); }
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

static void errno_kept(void) {
    CHECK(sigward_init(NULL) == 0);
    int fd = broken_pipe();
    CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
#ifdef __x86_64__
    /* What fails inside the handler (there is no peer to name) is nobody's errno. */
    long result;
    int unconnected = socket(AF_INET, SOCK_STREAM, 0);
    errno = 77;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_write), "D"(unconnected), "S"("x"), "d"(1) : "rcx", "r11", "memory");
    CHECK(errno == 77 && result == -EPIPE);
#endif
    errno = 77;
    /* A half-finished call: the signal of another thread's kill must not change this one's errno. */
    CHECK(sigward_sigpipe_restore() == 0);
    signal(SIGPIPE, count_chained);
    CHECK(sigward_init(NULL) == 0);
    errno = 77;
    raise(SIGPIPE);
    CHECK(errno == 77 && chained == 1);
}

SCENARIOS({"stack_use", stack_use}, {"no_allocation", no_allocation}, {"errno_kept", errno_kept})
