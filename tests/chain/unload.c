/* dlopen, init, dlclose: the kernel still has the address of our handlers. */
#include "host.h"
#include <dlfcn.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

static int call(void *library, const char *name, const void *argument) {
    int (*function)(const void *);
    *(void **)&function = dlsym(library, name);
    CHECK(function);
    return function(argument);
}

static void fault(void) {
    int fd = memfd_create("cut", 0);
    volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(byte != MAP_FAILED);
    (void)*byte;
}

#ifdef __x86_64__
/* A handler that interrupts the loader in the middle of adding an object makes the first call. */
static void *plug;
static const char *plug_init;
static volatile int initialised = -1;

static void on_system_call(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 0; /* it is left out */
    if (initialised != -1 || _r_debug.r_state == RT_CONSISTENT) return;
    initialised = -2;
    initialised = call(plug, plug_init, NULL);
}

static void load_another(const char *path) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    install(SIGSYS, on_system_call, SA_NODEFER);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
    void *another = dlopen(path, RTLD_NOW);
    CHECK(another && dlclose(another) == 0 && initialised == 0);
}
#else
static void load_another(const char *path) { (void)path; }
#endif

/* A second copy comes above, and signal(3) takes our row's flags away. */
static void flip_above(const char *path, const char *init) {
    void *another = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(another && call(another, init, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        void (*saved)(int) = signal(SIGPIPE, SIG_IGN);
        CHECK(saved != SIG_DFL && signal(SIGPIPE, saved) == SIG_IGN);
        int fd = broken_pipe();
        CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
        close(fd);
    }
    CHECK(dlclose(another) == 0);
}

/* unload LIBRARY INIT pipe|bus|segv|adopted|busy|flip [ANOTHER] */
int main(int argc, char **argv) {
    char name[32];
    int fd = memfd_create("adopted", 0);
    CHECK(argc >= 4 && ftruncate(fd, 4096) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    const char *argument = strcmp(argv[3], "adopted") == 0 ? name : NULL;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) fprintf(stderr, "%s\n", dlerror());
#ifdef __x86_64__
    plug = library, plug_init = argv[2];
#endif
    /* The next call does what the first could not. */
    if (library && strcmp(argv[3], "busy") == 0) load_another(argv[4]);
    CHECK(library && call(library, argv[2], argument) == 0);
    if (strcmp(argv[3], "flip") == 0) flip_above(argv[4], argv[2]);
    CHECK(dlclose(library) == 0);
    const char *what = argv[3];
    if (strcmp(what, "flip") == 0 || strcmp(what, "pipe") == 0 || strcmp(what, "busy") == 0)
        CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    if (strcmp(argv[3], "bus") == 0) fault();
    /* A lost page of a guarded file is zeros. */
    if (argument) CHECK(byte != MAP_FAILED && ftruncate(fd, 0) == 0 && *byte == 0);
    if (strcmp(argv[3], "segv") == 0) *(volatile char *)16;
    CHECK(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL);
    return 0;
}
