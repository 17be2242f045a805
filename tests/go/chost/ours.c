// A C program that links sigward itself and loads a Go library without it: ours WHEN LIBRARY, where
// WHEN is before (init, then Go), after (Go, then init), again (init, Go, ensure_on_top) or bare
// (built with -DBARE).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef BARE
static int sigward_init(const void *options) { return options != NULL; }
static int sigward_ensure_on_top(void) { return 0; }
#else
#include "sigward.h"
#endif

static void check(int ok, const char *what) {
    if (ok) return;
    printf("%s\n", what);
    fflush(stdout);
    _exit(3);
}

static void *write_once(void *unused) {
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    close(ends[0]);
    check(write(ends[1], "x", 1) == -1 && errno == EPIPE, "no EPIPE");
    close(ends[1]);
    return unused;
}

int main(int argc, char **argv) {
    check(argc == 3, "usage");
    if (strcmp(argv[1], "after") != 0) check(sigward_init(NULL) == 0, "init");
    void *library = dlopen(argv[2], RTLD_NOW);
    check(library != NULL, "dlopen");
    void (*ready)(void), (*notify)(void);
    int (*go_pipe)(void), (*notified)(void);
    *(void **)&ready = dlsym(library, "library_ready");
    *(void **)&notify = dlsym(library, "library_notify");
    *(void **)&go_pipe = dlsym(library, "library_go_pipe");
    *(void **)&notified = dlsym(library, "library_notified");
    check(ready && notify && go_pipe && notified, "dlsym");
    ready();
    if (strcmp(argv[1], "after") == 0) check(sigward_init(NULL) == 0, "init");
    if (strcmp(argv[1], "again") == 0) check(sigward_ensure_on_top() == 0, "ensure_on_top");

    // A thread that has never been in Go, and this one, which has.
    pthread_t thread;
    check(pthread_create(&thread, NULL, write_once, NULL) == 0 && pthread_join(thread, NULL) == 0,
          "thread");
    write_once(NULL);
    check(go_pipe() == EPIPE, "Go's own write");
    puts("lived");
    return 0;
}
