/* callers NAME LIBRARY OTHER: NAME made all these writes, whatever return addresses into OTHER
 * earlier calls have left on the stack. It is said, or it is unknown; nobody else is named. LIBRARY
 * is NAME's path, or - where all of that is in this program (-DONE). Warded only. */
#include "host.h"
#include <dlfcn.h>

#define ALL(of)                                                                                  \
    of(direct) of(vector) of(message) of(pointer) of(of_table) of(of_dlsym) of(of_argument)      \
    of(by_helper) of(jumps) of(by_jump) of(buffered) of(printed)
typedef long way(int);
#define ENTRY(name) {#name, NULL},
static struct {
    const char *name;
    way *call;
} ways[] = {ALL(ENTRY)};
#ifdef ONE
#define DECLARED(name) long name(int);
#define PUT(name) ways[at++].call = name;
ALL(DECLARED)
#endif

static void *idle(void *unused) {
    pause();
    return unused;
}

/* The stack below is full of this word, in whatever frame a later call makes of it. */
static __attribute__((noinline)) void leave(const void *word) {
    const void *volatile below[2048];
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) below[i] = word;
}

static int socket_to_nobody(void) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    close(ends[1]);
    return ends[0];
}

static uint64_t cursor;

static int check(const char *wanted, int which, const void *stale) {
    char library[64];
    sigward_event event;
    int fd = socket_to_nobody();
    leave(stale);
    long result = ways[which].call(fd);
    CHECK(result == -1 && errno == EPIPE);
    CHECK(sigward_read_events(&cursor, &event, 1) == 1);
    CHECK(sigward_event_library(&event, library, sizeof library) >= 0);
    close(fd);
    if (*library && strcmp(library, wanted) != 0) {
        SAY("%s: %s\n", ways[which].name, library);
        _exit(1);
    }
    return *library != 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    pthread_t thread;
    const void *stale[4] = {(void *)(uintptr_t)main, argv};
    int at = 0;
#ifdef ONE
    ALL(PUT)
#else
    void *library = dlopen(argv[2], RTLD_NOW), *other = dlopen(argv[3], RTLD_NOW);
    const void *(*address)(int);
    CHECK(library && other);
    *(void **)&address = dlsym(other, "other_return_address");
    stale[2] = address(0), stale[3] = address(1);
    for (; at < (int)(sizeof ways / sizeof *ways); at++) {
        *(void **)&ways[at].call = dlsym(library, ways[at].name);
        CHECK(ways[at].call);
    }
#endif
    CHECK(ward() == 0);
    for (int threads = 1; threads <= 2; threads++) {
        for (int i = 0; i < at; i++) {
            int named = 0;
            for (int word = 0; word < 4; word++) named += check(argv[1], i, stale[word]);
            const char *how = named == 4 ? "named" : named == 0 ? "unknown" : "by chance";
            SAY("%s, %d threads: %s\n", ways[i].name, threads, how);
        }
        /* With a second thread the C library's write keeps its arguments on the stack. */
        if (threads == 1) CHECK(pthread_create(&thread, NULL, idle, NULL) == 0);
    }
    return 0;
}
