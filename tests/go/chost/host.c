// A C program that hosts Go: cmd/library, as an archive, as a shared library, or loaded with
// dlopen.
//
//     host SET-UP ACTION
//
// The arguments and the one line on stderr are those of cmd/matrix. LOADED_LATE is the path to
// dlopen.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef LOADED_LATE
static void (*library_ready)(void);
static void (*library_notify)(void);
static int (*library_notified)(void);
static int (*library_go_pipe)(void);

static void *find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return symbol;
}

static void load(void) {
    void *library = dlopen(LOADED_LATE, RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    library_ready = find(library, "library_ready");
    library_notify = find(library, "library_notify");
    library_notified = find(library, "library_notified");
    library_go_pipe = find(library, "library_go_pipe");
}
#else
extern void library_ready(void);
extern void library_notify(void);
extern int library_notified(void);
extern int library_go_pipe(void);

static void load(void) {}
#endif

static void *write_broken(void *errno_of_write) {
    int ends[2];
    if (pipe(ends) != 0) {
        return NULL;
    }
    close(ends[0]);
    *(int *)errno_of_write = write(ends[1], "x", 1) < 0 ? errno : 0;
    close(ends[1]);
    return NULL;
}

static int write_on_thread(void) {
    pthread_t thread;
    int result = -1;
    if (pthread_create(&thread, NULL, write_broken, &result) == 0) {
        pthread_join(thread, NULL);
    }
    return result;
}

static atomic_int enough;

static void *keep_writing(void *errno_of_write) {
    do {
        write_broken(errno_of_write);
    } while (!atomic_load(&enough));
    return NULL;
}

// One thread writes and writes while Go starts.
static pthread_t writer;
static int writer_result = -1;

static int stop_writing(void) {
    atomic_store(&enough, 1);
    pthread_join(writer, NULL);
    return writer_result;
}

static int write_on_main(void) {
    int result = -1;
    write_broken(&result);
    return result;
}

static void pause_briefly(void) {
    struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

// Another process sends the signal, while every thread of ours sleeps. Any thread that then comes
// out of a blocked mask might take it instead of the main thread: fork blocks all for a moment, and
// so does each new thread of Go's. Hence both pauses.
static int killed_from_outside(void) {
    pid_t child = fork();
    if (child == 0) {
        pause_briefly();
        _exit(kill(getppid(), SIGPIPE) == 0 ? 0 : 1);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    pause_briefly();
    return status;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: host SET-UP ACTION\n");
        return 2;
    }
    const char *setup = argv[1], *action = argv[2];
    int meanwhile = strcmp(action, "thread writes meanwhile") == 0;
    load();
    if (meanwhile && pthread_create(&writer, NULL, keep_writing, &writer_result) != 0) {
        return 2;
    }
    if (strcmp(action, "thread write at once") != 0) {
        library_ready();
    }
    if (strcmp(setup, "Notify") == 0) {
        library_notify();
    }
    const char *outcome = "E";
    int result, want = EPIPE;
    if (meanwhile) {
        result = stop_writing();
    } else if (strncmp(action, "thread write", strlen("thread write")) == 0) {
        result = write_on_thread();
    } else if (strcmp(action, "main write") == 0) {
        result = write_on_main();
    } else if (strcmp(action, "Go pipe") == 0) {
        result = library_go_pipe();
    } else if (strcmp(action, "kill -PIPE") == 0) {
        result = killed_from_outside();
        want = 0;
        outcome = "lived";
    } else {
        fprintf(stderr, "host: no action %s\n", action);
        return 2;
    }
    if (result != want) {
        fprintf(stderr, "host: %s: %d, not %d\n", action, result, want);
        return 2;
    }
    fprintf(stderr, "%s%s\n", outcome, library_notified() ? " N" : "");
    return 0;
}
