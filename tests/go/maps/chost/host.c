// A C program that has mapped files, and loads a Go library.
//
//     host FOLDER LIBRARY ORDER END
//
// ORDER is who came when: "ours, Go, ours again" (init, dlopen, ensure_on_top), "Go, ours" (dlopen,
// init), "ours, Go" (init, dlopen and nothing more), "package" (the library brings sigward, the
// host has none) or, built with -DBARE, "none". END is what happens last, after every guarded read:
// "exit", "stray on C thread" or "stray in Go". It prints what it came through, each step when it
// is over.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef BARE
#include "sigward.h"
#endif

#define SIZE (64 << 10)

static const char *folder;

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "host.c:%d: %s (errno %d)\n", __LINE__, #condition, errno); \
            _exit(3);                                                          \
        }                                                                      \
    } while (0)

// A step that is over is said at once: what follows may end the process.
static void say(const char *what) {
    printf("%s; ", what);
    fflush(stdout);
}

// ---- the Go library -------------------------------------------------------

static void (*guest_ready)(void);
static void (*guest_touch)(const void *address);
static int (*guest_recovers)(const void *stray);
static void *(*guest_map)(const char *path);
static int (*guest_truncated)(void);

static void *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW);
    CHECK(library != NULL);
    *(void **)&guest_ready = dlsym(library, "guest_ready");
    *(void **)&guest_touch = dlsym(library, "guest_touch");
    *(void **)&guest_recovers = dlsym(library, "guest_recovers");
    *(void **)&guest_map = dlsym(library, "guest_map");
    *(void **)&guest_truncated = dlsym(library, "guest_truncated");
    CHECK(guest_ready && guest_touch && guest_recovers && guest_map && guest_truncated);
    guest_ready();
    return library;
}

// ---- files, threads, the kernel's table -----------------------------------

// Writes a file and returns its path, which stays until the next call.
static const char *file(const char *name) {
    static char path[PATH_MAX], content[SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    memset(content, 'x', sizeof content);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, content, sizeof content) == SIZE && close(fd) == 0);
    return path;
}

// A mapping that nobody guards, with nothing beneath it.
static const char *stray(void) {
    int fd = open(file("stray"), O_RDWR);
    char *data = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(fd >= 0 && data != MAP_FAILED && ftruncate(fd, 0) == 0 && close(fd) == 0);
    return data + SIZE / 2;
}

static void *touch(void *address) {
    (void)*(volatile const char *)address;
    return NULL;
}

static void touch_on_thread(const void *address) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, touch, (void *)address) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

#ifndef BARE
static uintptr_t handler(void) {
    struct sigaction action;
    CHECK(sigaction(SIGBUS, NULL, &action) == 0);
    return (uintptr_t)action.sa_sigaction;
}

// ---- guarded reads --------------------------------------------------------

enum reader { C_THREAD, THIS_THREAD, GO, READERS };

// One reader meets the end of a truncated file; the map knows, and read_at does not give a byte.
static void guarded(enum reader reader) {
    const char *path = file("guarded");
    sigward_map *map = NULL;
    CHECK(sigward_map_open(path, NULL, &map) == 0);
    const char *data = sigward_map_data(map);
    CHECK(data[SIZE / 2] == 'x' && sigward_map_status(map, NULL) != 1);
    CHECK(truncate(path, 0) == 0);
    switch (reader) {
    case C_THREAD: touch_on_thread(data + SIZE / 2); break;
    case GO: guest_touch(data + SIZE / 2); break;
    default: touch((void *)(data + SIZE / 2));
    }
    char byte = '?';
    struct sigward_fault fault;
    CHECK(*sigward_map_poison_word(map) <= SIZE / 2);
    CHECK(sigward_map_status(map, &fault) == 1 && fault.cause == SIGWARD_CAUSE_TRUNCATED);
    CHECK(fault.len_now == 0);
    CHECK(sigward_map_read_at(map, SIZE / 2, &byte, 1) == -EFAULT);
    CHECK(sigward_map_close(map) == 0);
}

static void all_guarded(void) {
    CHECK(sigward_thread_check() == 0);
    guarded(THIS_THREAD);
    guarded(C_THREAD);
    say("C read");
    guarded(GO);
    say("Go read");
}

static void ours_go_ours(const char *library) {
    uintptr_t before = handler();
    CHECK(sigward_init(NULL) == 0);
    uintptr_t beneath = handler();
    CHECK(beneath != before);
    guarded(C_THREAD);
    load(library);
    uintptr_t go = handler();
    CHECK(go != beneath && sigward_thread_check() == SIGWARD_THREAD_COVERED);
    CHECK(sigward_ensure_on_top() == 0);
    // Go keeps the address beneath it for ever and forwards to it. The same address on top would be
    // a circle.
    uintptr_t top = handler();
    CHECK(top != go && top != beneath && top != before);
    CHECK(sigward_ensure_on_top() == 0 && handler() == top);
    all_guarded();
    // Leaving gives Go its place again, and coming back is the same seat.
    CHECK(sigward_sigbus_restore() == 0 && handler() == go);
    CHECK(sigward_sigbus_guard() == 0 && handler() != go && handler() != beneath);
    all_guarded();
}

static void go_ours(const char *library) {
    load(library);
    uintptr_t go = handler();
    CHECK(sigward_init(NULL) == 0 && handler() != go);
    all_guarded();
}

// Go forwards a fault of code that is not its own to the handler beneath it: C threads are still
// safe, Go code is not.
static void ours_go(const char *library) {
    CHECK(sigward_init(NULL) == 0);
    load(library);
    CHECK(sigward_thread_check() == SIGWARD_THREAD_COVERED);
    guarded(THIS_THREAD);
    guarded(C_THREAD);
    say("C read");
    guarded(GO);
    say("Go read");
}
#endif

// The library maps, this program truncates, both read.
static void package(const char *library) {
    load(library);
    for (int reader = 0; reader < 2; reader++) {
        const char *path = file("theirs");
        const char *data = guest_map(path);
        CHECK(data != NULL && data[SIZE / 2] == 'x' && guest_truncated() == 0);
        CHECK(truncate(path, 0) == 0);
        if (reader == 0) {
            touch_on_thread(data + SIZE / 2);
        } else {
            guest_touch(data + SIZE / 2);
        }
        CHECK(guest_truncated() == 1);
        say(reader == 0 ? "C read" : "Go read");
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 5);
    folder = argv[1];
    const char *library = argv[2], *order = argv[3], *end = argv[4];
    if (strcmp(order, "package") == 0) {
        package(library);
#ifndef BARE
    } else if (strcmp(order, "ours, Go, ours again") == 0) {
        ours_go_ours(library);
    } else if (strcmp(order, "Go, ours") == 0) {
        go_ours(library);
    } else if (strcmp(order, "ours, Go") == 0) {
        ours_go(library);
#else
    } else if (strcmp(order, "none") == 0) {
        load(library);
#endif
    } else {
        CHECK(!"no such order");
    }
    CHECK(guest_recovers(stray()));
    say("Go recovers");
    if (strcmp(end, "stray on C thread") == 0) {
        touch_on_thread(stray());
    } else if (strcmp(end, "stray in Go") == 0) {
        guest_touch(stray());
    } else {
        CHECK(strcmp(end, "exit") == 0);
        printf("lived\n");
        return 0;
    }
    say("a stray fault did not end it");
    return 4;
}
