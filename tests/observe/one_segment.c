/* An executable whose literals lie in the segment of its code: one that is on the stack does not
 * pass for a caller. Warded only; linked with `-z noseparate-code`, as linkers for aarch64 do
 * anyway. */
#include "host.h"
#include <dlfcn.h>

static void *idle(void *unused) {
    pause();
    return unused;
}

int main(int argc, char **argv) {
    long (*relay)(int, const void *, size_t);
    pthread_t thread;
    CHECK(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW);
    CHECK(library);
    *(void **)&relay = dlsym(library, "relay");
    /* With a second thread the C library's write keeps its arguments on the stack. */
    CHECK(relay && ward() == 0 && pthread_create(&thread, NULL, idle, NULL) == 0);
    uint64_t cursor = 0;
    for (int i = 0; i < 2; i++) {
        int fd = broken_pipe();
        CHECK(relay(fd, i ? "a literal of the executable" : "another one", 10) == -1 &&
              errno == EPIPE);
        sigward_event event;
        char name[64];
        CHECK(sigward_read_events(&cursor, &event, 1) == 1 &&
              sigward_event_library(&event, name, sizeof name) >= 0);
        SAY("by %s\n", name);
        CHECK(strcmp(name, "libcaller.so") == 0);
    }
    return 0;
}
