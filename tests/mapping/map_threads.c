/* Opening, closing, faulting and forking at the same time: nobody hangs, nothing leaks, nobody
 * else's memory is touched. */
#include "maps.h"
#include <dirent.h>
#include <setjmp.h>
#include <spawn.h>

#define LENGTH (16 * PAGE)
#define THREADS 4

static volatile int stop;

static void *in_thread(pthread_t *thread, void *(*run)(void *), void *with) {
    CHECK(pthread_create(thread, NULL, run, with) == 0);
    return thread;
}

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

static int areas(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    int count = 0, byte;
    while ((byte = fgetc(maps)) != EOF) count += byte == '\n';
    fclose(maps);
    return count;
}

/* ---- everything at once ---- */

/* Maps a file, reads it, loses it, reads it, lets it go. Nothing but a loss may differ from the
 * file. */
static void round_trip(int fd, unsigned seed) {
    sigward_map *map = NULL;
    uint64_t keep = PAGE + seed % (14 * PAGE);
    fill(fd, 0, LENGTH);
    CHECK(sigward_map_fd(fd, OPTIONS(.writable = seed % 2, .populate = seed % 3 == 0), &map) == 0);
    for (uint64_t at = 0; at < LENGTH; at += 999) CHECK(touch(map, at) == content(at));
    CHECK(poison(map) == INTACT);
    CHECK(ftruncate(fd, (off_t)keep) == 0);
    for (uint64_t at = LENGTH - 1; at >= keep + PAGE; at -= 999) CHECK(touch(map, at) == 0);
    CHECK(touch(map, LENGTH - 1) == 0);
    WARD_CHECK(poison(map) == keep);
    holds(map, 0, 0, keep);
    CHECK(sigward_map_close(map) == 0);
}

static void *churn(void *seed) {
    int fd = nameless(LENGTH);
    for (unsigned i = 0; !stop; i++) round_trip(fd, (unsigned)(uintptr_t)seed * 7919 + i * 104729);
    close(fd);
    return NULL;
}

static sigward_map *inherited[8];

static void child(unsigned seed) {
    alarm(patience(100)); /* a child that hangs dies of it */
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++) {
        if (i % 2) survives(inherited[i]);
        else CHECK(touch(inherited[i], 3 * PAGE) == content(3 * PAGE));
        WARD_CHECK(poison(inherited[i]) == (i % 2 ? PAGE : INTACT));
    }
    int fd = nameless(LENGTH);
    for (unsigned i = 0; i < 3; i++) round_trip(fd, seed + i);
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        CHECK(sigward_map_close(inherited[i]) == 0);
    _exit(0);
}

static void forks(void) {
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        inherited[i] = i % 2 ? lose() : open_map(new_file("inherited", LENGTH), NULL);
    for (int i = 0; i < 80; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) child((unsigned)i * 31);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0 || !WARDED);
    }
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        CHECK(sigward_map_close(inherited[i]) == 0);
}

static void together(void) {
    pthread_t threads[THREADS];
    int descriptors = 0, first = 0;
    for (int turn = 0; turn < 2; turn++) {
        stop = 0;
        for (uintptr_t i = 0; i < THREADS; i++) in_thread(&threads[i], churn, (void *)i);
        forks();
        stop = 1;
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        CHECK(counters().maps == 0);
        /* The first turn makes what stays for ever. */
        if (turn == 0) descriptors = open_descriptors(), first = areas();
        CHECK(open_descriptors() == descriptors);
        CHECK(areas() <= first + 4);
    }
}

/* ---- a child of a process whose other threads are in the handler ---- */

#define VICTIMS 400
static sigward_map *victims[VICTIMS];
static int victim_files[VICTIMS];
static int next_victim, released;

/* As many as have been released, which is some for each fork. */
static void *lose_victims(void *unused) {
    int i;
    (void)unused;
    while ((i = __atomic_fetch_add(&next_victim, 1, __ATOMIC_RELAXED)) < VICTIMS) {
        while (__atomic_load_n(&released, __ATOMIC_ACQUIRE) <= i) sched_yield();
        CHECK(ftruncate(victim_files[i], PAGE) == 0);
        survives(victims[i]);
    }
    return NULL;
}

static void in_the_middle(void) {
    pthread_t threads[THREADS];
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){4 * VICTIMS, 4 * VICTIMS}) == 0);
    for (int i = 0; i < VICTIMS; i++) {
        victim_files[i] = memfd_create("victim", 0);
        fill(victim_files[i], 0, LENGTH);
        CHECK(sigward_map_fd(victim_files[i], NULL, &victims[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) in_thread(&threads[i], lose_victims, NULL);
    for (int now = 0; now < VICTIMS; now += THREADS) {
        __atomic_store_n(&released, now + THREADS, __ATOMIC_RELEASE);
        for (volatile int pause = now % 64 * 100; pause > 0; pause--) {}
        pid_t pid = fork();
        if (pid == 0) {
            alarm(patience(100));
            /* Whatever a handler of the parent was doing to these, here nobody waits for it. */
            for (int i = now > 12 ? now - 12 : 0; i < now + 12 && i < VICTIMS; i++) {
                unsigned char byte;
                CHECK(ftruncate(victim_files[i], PAGE) == 0); /* the parent may come to it later */
                survives(victims[i]);
                WARD_CHECK(poison(victims[i]) == PAGE && status_of(victims[i]).offset == PAGE);
                WARD_CHECK(sigward_map_read_at(victims[i], 2 * PAGE, &byte, 1) == -EFAULT);
                holds(victims[i], 0, 0, PAGE);
                CHECK(sigward_map_close(victims[i]) == 0);
            }
            _exit(0);
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(!WARDED || status == 0);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < VICTIMS; i++)
        CHECK(poison(victims[i]) == PAGE && sigward_map_close(victims[i]) == 0);
    CHECK(counters().maps == 0);
}

/* ---- vfork and posix_spawn ---- */

extern char **environ;

static void spawned(void) {
    pthread_t threads[THREADS];
    int status;
    for (uintptr_t i = 0; i < THREADS; i++) in_thread(&threads[i], churn, (void *)i);
    sigward_map *map = lose(), *other = lose();
    for (int i = 0; i < 100; i++) {
        pid_t pid;
        char *const command[] = {"true", NULL};
        CHECK(posix_spawnp(&pid, "true", NULL, NULL, command, environ) == 0);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    /* The child runs in our memory: what it loses, we have lost. */
    pid_t pid = vfork();
    if (pid == 0) {
        (void)bytes(map)[3 * PAGE];
        execlp("true", "true", NULL);
        _exit(1);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(!WARDED || (status == 0 && poison(map) == PAGE));
    survives(map);
    survives(other);
    stop = 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* ---- addresses that change hands while others fault there ---- */

#define ROUNDS 400
static unsigned char *place;
static volatile unsigned long faults_elsewhere;

/* Bare, and between two guards: somebody else's handler, who waits for better times. */
static void wait_for_better(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    CHECK((unsigned char *)info->si_addr >= place &&
          (unsigned char *)info->si_addr < place + LENGTH);
    faults_elsewhere++;
    sched_yield();
}

static void *read_place(void *seed) {
    unsigned next = (unsigned)(uintptr_t)seed;
    while (!stop) {
        next = next * 1103515245 + 12345;
        unsigned char byte = *(volatile unsigned char *)(place + next % LENGTH);
        CHECK(byte == 0 || byte == 0xA5);
    }
    return NULL;
}

static void only_pattern(void) {
    for (uint64_t i = 0; i < LENGTH; i++) CHECK(((volatile unsigned char *)place)[i] == 0xA5);
}

static void changing_hands(void) {
    pthread_t threads[2];
    int lost = nameless(LENGTH), pattern = memfd_create("pattern", 0);
    static unsigned char block[LENGTH];
    memset(block, 0xA5, LENGTH);
    CHECK(write(pattern, block, LENGTH) == LENGTH && ftruncate(lost, 0) == 0);
    install(SIGBUS, wait_for_better, 0);
    place = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, pattern, 0);
    for (uintptr_t i = 0; i < 2; i++) in_thread(&threads[i], read_place, (void *)i);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(mmap(place, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, lost, 0) == place);
        sigward_adopted *adopted = adopt(place, LENGTH, lost, 0);
        /* The loss is told before the patch: closing now meets a handler at work, as often as can
         * be. */
        for (unsigned spin = 1; loss_at(adopted) == INTACT; spin++)
            if (spin % 1000 == 0) sched_yield();
        CHECK(sigward_adopted_close(adopted) == 0);
        /* From here on no handler may put anything there. */
        CHECK(mmap(place, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, pattern, 0) == place);
        only_pattern();
        if (i % 8 == 0) sched_yield();
        only_pattern();
    }
    CHECK(counters().faults >= ROUNDS);
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    CHECK(counters().maps == 0);
    SAY("faults %llu elsewhere %lu\n", (unsigned long long)counters().faults, faults_elsewhere);
}

/* ---- a handler that jumps out of a flush ---- */

static sigjmp_buf before;
static volatile int flushing;

static void jumps(int signal) {
    (void)signal;
    siglongjmp(before, 1);
}

/* In place of the C library's: what came meanwhile is delivered with its end. */
int msync(void *start, size_t len, int flags) {
    int status = (int)syscall(SYS_msync, start, len, flags);
    if (flushing) {
        flushing = 0;
        raise(SIGUSR1);
    }
    return status;
}

static void *flushes(void *map) {
    CHECK(sigward_map_flush(map) == 0);
    return NULL;
}

/* Who goes on there flushes as before, and so do others after that. */
static void jumped_out(void) {
    pthread_t thread;
    static sigward_map *map;
    alarm(patience(100));
    signal(SIGUSR1, jumps);
    CHECK(sigward_map_fd(nameless(LENGTH), OPTIONS(.writable = 1), &map) == 0);
    if (sigsetjmp(before, 1) == 0) {
        flushing = 1;
        sigward_map_flush(map);
        CHECK(false);
    }
    CHECK(!flushing);
    flushes(map);
    in_thread(&thread, flushes, map);
    CHECK(pthread_join(thread, NULL) == 0 && sigward_map_close(map) == 0);
}

SCENARIOS({"together", together}, {"in_the_middle", in_the_middle}, {"spawned", spawned},
          {"changing_hands", changing_hands}, {"jumped_out", jumped_out})
