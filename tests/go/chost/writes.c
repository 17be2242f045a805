// A C program that hosts cmd/writes and leaves SIGXFSZ and SIGPIPE at their defaults.
//
//     writes ACTION FOLDER
//
// It prints the name of the errno. LOADED_LATE is the path to dlopen.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifdef LOADED_LATE
static int (*writes_do)(const char *action, const char *folder);

static int load(void) {
    void *library = dlopen(LOADED_LATE, RTLD_NOW);
    if (library != NULL) {
        writes_do = dlsym(library, "writes_do");
    }
    return writes_do != NULL;
}
#else
extern int writes_do(const char *action, const char *folder);

static int load(void) { return 1; }
#endif

int main(int argc, char **argv) {
    if (argc != 3 || !load() || writes_do("none", "") != -2) {
        return 2;
    }
    // The host's own word, spoken after the library has armed the process.
    signal(SIGPIPE, SIG_DFL);
    int result = writes_do(argv[1], argv[2]);
    sigset_t pending, blocked;
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&pending, SIGXFSZ) || sigismember(&pending, SIGPIPE)) {
        printf("a signal is left behind\n");
        return 2;
    }
    if (sigismember(&blocked, SIGXFSZ) || sigismember(&blocked, SIGPIPE)) {
        printf("a signal is left blocked\n");
        return 2;
    }
    printf("%s", result == 0 ? "0" : result < 0 ? "?" : strerrorname_np(result));
    return 0;
}
