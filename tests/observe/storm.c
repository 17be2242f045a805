/* One million SIGPIPEs on eight threads: every one is swallowed, counted and numbered. Warded
 * only. */
#include "host.h"

enum { THREADS = 8, EACH = 125000 };

static void *writer(void *unused) {
    (void)unused;
    int fd = broken_pipe();
    for (int i = 0; i < EACH; i++) CHECK(write(fd, "x", 1) == -1 && errno == EPIPE);
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    sigward_counters counters;
    sigward_event events[64];
    uint64_t cursor = 0, read = 0;
    ssize_t count;
    CHECK(ward() == 0);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, writer, NULL) == 0);
    /* A reader meanwhile: it may miss events, but none comes twice or torn. */
    while (cursor < (uint64_t)THREADS * EACH) {
        uint64_t before = cursor;
        CHECK((count = sigward_read_events(&cursor, events, 64)) >= 0);
        for (ssize_t i = 0; i < count; i++) {
            CHECK(events[i].number > before && events[i].number <= cursor);
            CHECK(events[i].signal == SIGPIPE);
            CHECK(events[i].result == -EPIPE);
            before = events[i].number;
            read++;
        }
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK(sigward_read_counters(&counters) == 0);
    CHECK(counters.deliveries == (uint64_t)THREADS * EACH);
    CHECK(counters.swallowed == counters.deliveries && counters.chained == 0);
    CHECK(cursor == counters.swallowed && counters.cycles_cut == 0);
#ifdef __x86_64__
    CHECK(counters.unattributed == 0);
#endif
    SAY("{\"storm_swallowed\": %lu, \"storm_events_read\": %lu, \"storm_dropped\": %lu}\n",
        counters.swallowed, read, counters.events_dropped);
    return 0;
}
