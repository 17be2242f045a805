/* Signed return addresses: the library that called is named all the same. Warded only. */
#include "host.h"

long caller(int fd, int calls);

int main(void) {
    CHECK(ward() == 0);
    uint64_t cursor = 0;
    for (int calls = 0; calls < 2; calls++) {
        CHECK(caller(broken_pipe(), calls) == -EPIPE);
        sigward_event event;
        char library[64];
        CHECK(sigward_read_events(&cursor, &event, 1) == 1);
        CHECK(sigward_event_library(&event, library, sizeof library) >= 0);
        SAY("%s: link %#lx, by %s\n", calls ? "called" : "leaf", (unsigned long)event.stack[0],
            library);
        CHECK(strcmp(library, "libsigned.so") == 0);
    }
    return 0;
}
