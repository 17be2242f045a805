#define _GNU_SOURCE
#include "native.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

static int on_a_thread(void *(*act)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, act, argument);
    return error != 0 ? error : pthread_join(thread, NULL);
}

static void *touch(void *address) {
    (void)*(volatile const char *)address;
    return NULL;
}

int native_touch(const void *address, int on_thread) {
    if (on_thread) {
        return on_a_thread(touch, (void *)address);
    }
    touch((void *)address);
    return 0;
}

static void *raise_here(void *unused) {
    pthread_kill(pthread_self(), SIGBUS);
    return unused;
}

int native_raise(int on_thread) {
    if (on_thread) {
        return on_a_thread(raise_here, NULL);
    }
    raise_here(NULL);
    return 0;
}

int native_default(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    return sigaction(SIGBUS, &action, NULL) == 0 ? 0 : errno;
}

uintptr_t native_handler(void) {
    struct sigaction action = {0};
    sigaction(SIGBUS, NULL, &action);
    return (uintptr_t)action.sa_sigaction;
}
