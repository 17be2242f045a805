/* Preloaded beside the library: asks it for an audit of the process for each letter that comes from
 * the FIFO SIGWARD_ASK, and puts the answer beside that. p: takes SIGPIPE from the library before;
 * m: makes a guarded map and takes SIGBUS; others change nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static const char *fifo;

static void handler(int signal) {
    (void)signal;
}

static void answer(void) {
    typedef ssize_t (*Audit)(char *, size_t);
    Audit audit = (Audit)dlsym(RTLD_DEFAULT, "sigward_audit_json");
    char tiny[2] = "x", name[4096], ready[4096];
    if (!audit || audit(tiny, sizeof tiny) < 2 || tiny[0] || audit(0, 1) >= 0) abort();
    static char text[1 << 18];
    ssize_t length = audit(text, sizeof text);
    if (length < 0 || length >= (ssize_t)sizeof text || length != (ssize_t)strlen(text)) abort();
    snprintf(name, sizeof name, "%s.new", fifo);
    snprintf(ready, sizeof ready, "%s.out", fifo);
    int out = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (write(out, text, length) != length || close(out) || rename(name, ready)) abort();
}

static void *wait_for_letters(void *unused) {
    char letter;
    int in = open(fifo, O_RDONLY | O_CLOEXEC);
    while (read(in, &letter, 1) == 1) {
        if (letter == 'p') signal(SIGPIPE, handler);
        if (letter == 'm') {
            int (*map)(const char *, void *, void **) =
                (int (*)(const char *, void *, void **))dlsym(RTLD_DEFAULT, "sigward_map_open");
            void *made;
            if (!map || map("/proc/self/exe", 0, &made)) abort();
            signal(SIGBUS, SIG_DFL);
        }
        answer();
    }
    return unused;
}

__attribute__((constructor)) static void start(void) {
    pthread_t thread;
    fifo = getenv("SIGWARD_ASK");
    /* Children of the program are not asked. */
    unsetenv("SIGWARD_ASK");
    if (fifo && pthread_create(&thread, 0, wait_for_letters, 0)) abort();
}
