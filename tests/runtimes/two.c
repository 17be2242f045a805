/* Two copies of sigward in one process, taken and left in any order. */
#include "ward.h"

#include <dlfcn.h>

/* One copy, through a library of its own or a namespace of its own. */
struct copy {
    int (*init)(const void *);
    int (*restore)(void);
    int (*mend)(void);
};

static volatile sig_atomic_t handled;

static void count(int signal) {
    (void)signal;
    handled++;
}

static struct copy load(const char *path, const char *how) {
    int flags = RTLD_NOW | (strcmp(how, "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL);
    int apart = strcmp(how, "namespace") == 0;
    void *library = apart ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW) : dlopen(path, flags);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    const char *prefix = dlsym(library, "part_init") ? "part" : "sigward";
    char name[64];
    struct copy copy;
    snprintf(name, sizeof name, "%s_init", prefix);
    *(void **)&copy.init = dlsym(library, name);
    snprintf(name, sizeof name, "%s_sigpipe_restore", prefix);
    *(void **)&copy.restore = dlsym(library, name);
    snprintf(name, sizeof name, "%s_ensure_on_top", prefix);
    *(void **)&copy.mend = dlsym(library, name);
    CHECK(copy.init && copy.restore && copy.mend);
    return copy;
}

static void step(const char *name) {
    struct sigaction now;
    int error = foreign_write(0);
    int vectored = foreign_write(1);
    printf("%s %s", name, error == EPIPE && vectored == EPIPE ? "EPIPE" : "?");
    handled = 0;
    CHECK(sigaction(SIGPIPE, NULL, &now) == 0);
    printf(" %s\n", now.sa_handler == SIG_DFL ? "default"
                    : now.sa_handler == count ? "own"
                                              : "another");
    fflush(stdout);
}

/* two MODE HOW INIT LEAVE FIRST SECOND: INIT and LEAVE are AB or BA. MODE: default, handler or
 * storm. */
int main(int argc, char **argv) {
    CHECK(argc == 7);
    const char *mode = argv[1], *how = argv[2], *init = argv[3], *leave = argv[4];
    int own = strcmp(mode, "handler") == 0;
    if (own) signal(SIGPIPE, count);
    struct copy copies[2];
    copies[0] = load(argv[5], strcmp(how, "namespace") == 0 ? "local" : how);
    copies[1] = load(argv[6], how);
    for (int i = 0; i < 2; i++) CHECK(copies[init[i] - 'A'].init(NULL) == 0);
    if (strcmp(mode, "storm") == 0) {
        /* Each takes the top again and again, as two libraries that do not know of each other
         * would. */
        for (int i = 0; i < 200; i++) {
            int code = copies[i % 2].mend();
            CHECK(code == 0 || code == -ENOSPC);
            if (code != 0) break;
        }
    }
    step("both");
    CHECK(copies[leave[0] - 'A'].restore() == 0);
    step("one");
    if (own) {
        foreign_write(0);
        kill(getpid(), SIGPIPE);
        raise(SIGPIPE);
        printf("handled %d\n", (int)handled);
        fflush(stdout);
    }
    CHECK(copies[leave[1] - 'A'].restore() == 0);
    step("none");
    if (own) {
        kill(getpid(), SIGPIPE);
        printf("handled %d\n", (int)handled);
    }
    return 0;
}
