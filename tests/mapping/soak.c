/* soak SECONDS SEED [FOLDER FOLDER]: the chaos soak of guarded maps (soak.h tells how it judges).
   The first folder is in memory, the other on a disk; both are empty, and removed at the end.

   A first quarter warms up: the library makes what it keeps. Then everything is closed, descriptors
   and mappings are counted, the soak goes on, longer where something that should be tested has not
   happened yet (one processor, or much else to do), and at its end they must be the same. Prints
   one line of figures; exits 1 if one of the
   wrongs is not 0, 2 if something that should be tested did not happen. */
#include "soak.h"
#include <dirent.h>
#include <malloc.h>
#include <stdarg.h>

struct shared *soak;
pthread_t threads[THREADS];
unsigned thread_count;
__thread unsigned own_number;
static __thread uint64_t chance = 1;

uint64_t any(uint64_t below) {
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (chance * 0x2545F4914F6CDD1D >> 11) % below;
}

void tell(const char *what, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    int start = snprintf(text, sizeof text, "%s: ", what);
    int end = vsnprintf(text + start, sizeof text - (size_t)start - 1, format, arguments);
    va_end(arguments);
    size_t length = least((uint64_t)(start + end), sizeof text - 2);
    text[length++] = '\n';
    if (atomic_fetch_add(&soak->told, 1) < 10 && write(2, text, length) < 0) _exit(98);
    atomic_store(&soak->stop, true);
}

/* ---- threads ---- */

static const struct kind {
    void (*run)(void);
    unsigned count;
} kinds[] = {
    {reader, 4},  {writer, 2},   {opener, 3}, {refresher, 1}, {stale_reader, 2}, {truncator, 2},
    {grower, 2},  {replacer, 1}, {forker, 1}, {neighbour, 1}, {foreigner, 1},    {sink, 3},
#ifndef NAIVE
    {adopter, 1}, {piper, 1},
#endif
    {noise, 1}, /* last: joined first */
};

enum { STACK = 1 << 20 };
static char *stacks;
static uint64_t seed;

struct start {
    const struct kind *kind;
    unsigned number, index;
} starts[THREADS];

static void *enter(void *argument) {
    const struct start *start = argument;
    own_number = start->number;
    chance = (seed * THREADS + start->index + 1) * 0x9E3779B97F4A7C15;
    start->kind->run();
    return NULL;
}

/* The stacks are ours, so that what the C library keeps of them does not look like a leak. */
static void start_one(const struct kind *kind, unsigned number) {
    pthread_attr_t attributes;
    unsigned index = thread_count;
    starts[index] = (struct start){kind, number, index};
    pthread_attr_init(&attributes);
    MUST(pthread_attr_setstack(&attributes, stacks + (size_t)index * STACK, STACK) == 0);
    MUST(pthread_create(&threads[index], &attributes, enter, &starts[index]) == 0);
    pthread_attr_destroy(&attributes);
    thread_count++;
}

/* Everything that should be tested was at least once. */
static bool happened(void) {
    sigward_counters counters;
    MUST(sigward_read_counters(&counters) == 0);
    bool all = counters.faults > 0 && counters.patches > 0;
#define NEEDED(name) all &= atomic_load(&soak->name) > 0;
    TALLIES(NEEDED)
    return all;
}

enum { LONGER = 120 }; /* seconds */

/* `more`: for so many seconds longer, until everything has happened. */
static void run_for(double seconds, double more) {
    struct itimerval often = {{0, 1500}, {0, 1500}}, never = {0};
    atomic_store(&soak->stop, false);
    sink_begin();
    thread_count = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (unsigned i = 0; i < kinds[k].count; i++) start_one(&kinds[k], i);
    setitimer(ITIMER_PROF, &often, NULL);
    for (int i = 0; going() && i < (int)((seconds + more) * 100); i++) {
        if (i >= (int)(seconds * 100) && happened()) break;
        usleep(10000);
    }
    setitimer(ITIMER_PROF, &never, NULL);
    atomic_store(&soak->stop, true);
    while (thread_count) pthread_join(threads[--thread_count], NULL);
    views_close_all();
}

/* ---- what the process has ---- */

struct possessions {
    unsigned descriptors, areas, of_files;
    uint64_t bytes;
    uint64_t maps; /* registered */
};

static struct possessions count(const char *const *folders) {
    struct possessions all = {0};
    char line[512];
    DIR *open_ones = opendir("/proc/self/fd");
    while (readdir(open_ones)) all.descriptors++;
    closedir(open_ones);
    FILE *areas = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, areas)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) != 2 || strstr(line, "[heap]") ||
            strstr(line, "[stack]"))
            continue;
        all.areas++;
        all.bytes += to - from;
        all.of_files += strstr(line, folders[0]) || strstr(line, folders[1]);
    }
    fclose(areas);
    sigward_counters counters;
    MUST(sigward_read_counters(&counters) == 0);
    all.maps = counters.maps;
    return all;
}

/* The library may keep a little more than before, such as nodes of its registry for addresses that
   are new to it. A leak is more: thousands of maps have come and gone. */
static void compare(const struct possessions *before, const struct possessions *after) {
    if (after->maps) WRONG(leaks, "%lu maps are still registered", after->maps);
    if (after->of_files) WRONG(leaks, "%u files are still mapped", after->of_files);
    if (after->descriptors != before->descriptors)
        WRONG(leaks, "%u descriptors, now %u", before->descriptors, after->descriptors);
    if (after->areas > before->areas + 48 || after->bytes > before->bytes + (4 << 20))
        WRONG(leaks, "%u areas of %lu bytes, now %u of %lu", before->areas, before->bytes,
              after->areas, after->bytes);
}

/* ---- the run ---- */

static void prepare(const char *const *folders) {
    soak = mmap(NULL, sizeof *soak, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    stacks = mmap(NULL, (size_t)THREADS * STACK, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(soak != MAP_FAILED && stacks != MAP_FAILED && sysconf(_SC_PAGESIZE) == PAGE);
#ifdef NAIVE
    COUNT(adopted), COUNT(pipes); /* it has neither */
#endif
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &soak->slots[i];
        snprintf(slot->path, sizeof slot->path, "%s/map%u", folders[i % 2], i);
        atomic_store(&slot->file, file_new(slot->path, 1 + any(LONGEST)));
    }
}

static int report(void) {
    sigward_counters counters;
    MUST(sigward_read_counters(&counters) == 0);
    printf("{\"faults\": %lu, \"patches\": %lu, \"healed\": %lu", counters.faults, counters.patches,
           counters.healed);
#define PRINT(name) printf(", \"" #name "\": %llu", (unsigned long long)atomic_load(&soak->name));
    TALLIES(PRINT)
    WRONGS(PRINT)
    printf("}\n");
    unsigned long long wrong = 0;
#define ADD(name) wrong += atomic_load(&soak->name);
    WRONGS(ADD)
    if (wrong) return 1;
    bool idle = !happened();
    if (idle) fprintf(stderr, "something did not happen at all: nothing is proved\n");
    return idle ? 2 : 0;
}

/* A process of its own: threads that wait for each other in a handler have every signal blocked,
   and a defect can make all of them fault for ever. */
static void watch(unsigned seconds) {
    static const char text[] = "stuck: the threads did not end, or read and write no more\n";
    enum { NOTHING_DONE = 60 };
    pid_t soaking = getpid();
    if (fork() != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    unsigned long long before = 0, now;
    for (unsigned idle = 0; seconds > 0 && idle < NOTHING_DONE; seconds--, before = now) {
        sleep(1);
        now = atomic_load(&soak->reads) + atomic_load(&soak->writes);
        idle = now == before ? idle + 1 : 0;
    }
    if (getppid() != soaking || write(2, text, sizeof text - 1) < 0) _exit(98);
    kill(soaking, SIGKILL);
    _exit(0);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 5;
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)getpid();
    chance = seed * 2 + 1;
    char memory[] = "/dev/shm/soak-XXXXXX", disk[] = "/tmp/soak-XXXXXX";
    const char *folders[2] = {argc > 4 ? argv[3] : mkdtemp(memory),
                              argc > 4 ? argv[4] : mkdtemp(disk)};
    mallopt(M_ARENA_MAX, 1); /* further ones come by chance, and are large */
    install_handlers();
#ifndef NAIVE
    handle_pipes();
#endif
    prepare(folders);
    watch((unsigned)seconds + LONGER + 120);
    MUST(sigward_init(NULL) == 0 && sigward_sigbus_guard() == 0 && sigward_try_copy_segv() == 0);
    run_for(seconds / 4, 0);
    struct possessions before = count(folders);
    bool clean = atomic_load(&soak->told) == 0;
    if (clean) {
        run_for(seconds * 3 / 4, LONGER);
        struct possessions after = count(folders);
        compare(&before, &after);
    }
    for (unsigned i = 0; i < SLOTS; i++) unlink(soak->slots[i].path);
    rmdir(folders[0]);
    rmdir(folders[1]);
    return report();
}
