/* Sequences of calls of every function of sigward.h, made of a seed, with hostile arguments
 * (sequences_calls.h), on several threads at once, while files are cut and replaced, signals arrive
 * and processes are forked. After each sequence all is as before: descriptors, mappings, threads,
 * masks, dispositions, no file left behind, and a new thread can do everything. Only built warded.
 *
 * A process of its own runs the sequences of one seed. When it ends otherwise than well, its last
 * calls are printed; `sequences run SEED 1 FOLDER` runs it again. */
#include "sequences_calls.h"
#include <dirent.h>
#include <sys/resource.h>
#include <time.h>

enum { WORKERS = 4, SEQUENCES = 6, LENGTH = 150, LAST = 24, WEIGHTS = 1024 };

#define NUMBERED(kind, weight, name, arguments) NUMBER_##name,
enum { CALLS(NUMBERED) COUNT };
#define NAMED(kind, weight, name, arguments) #name,
static const char *const names[] = {CALLS(NAMED)};
#define DEFINED(kind, weight, name, arguments)                                                     \
    static long call_##name(struct world *w) { return (void)w, (long)(name)arguments; }
CALLS(DEFINED)
#define LISTED(kind, weight, name, arguments) {call_##name, kind, weight},
static const struct {
    long (*call)(struct world *);
    enum kind kind;
    int weight;
} calls[] = {CALLS(LISTED)};

/* What the process that watches sees. */
static struct shared {
    atomic_ulong counts[COUNT], good[COUNT];
    struct last {
        int number[LAST];
        long answer[LAST];
        unsigned long next;
    } last[WORKERS + 1];
} * shared;

static char seen[256]; /* where stderr goes: the library's lines are many */
static atomic_bool over;
static atomic_int at_work;
static int left_out; /* where a thread may leave the seat no other may be copying */
static enum { NOTHING, A_MAP, AN_ADOPTED, A_LEASE, A_LOG } forgotten; /* what a twin never closes */

/* ---- one call ---- */

static void call(struct world *w, struct last *last, int number) {
    if (number == left_out) return;
    unsigned long place = last->next++ % LAST;
    last->number[place] = number, last->answer[place] = LONG_MIN;
    w->fresh = NULL;
    long answer = calls[number].call(w);
    last->answer[place] = answer;
    atomic_fetch_add_explicit(&shared->counts[number], 1, memory_order_relaxed);
    if (answer >= 0) atomic_fetch_add_explicit(&shared->good[number], 1, memory_order_relaxed);
    switch (calls[number].kind) {
    case NOT_CUT: CHECK(answer != -EINTR); /* fall through */
    case MAKES:
    case CODE: CHECK(answer > -4096 || answer == -SIGWARD_EUNSYNCED); break;
    case TEXT: CHECK(answer != 0); break;
    case FREE: break;
    }
    if (w->fresh == NULL) return;
    CHECK(calls[number].kind == MAKES && *w->fresh != JUNK);
    CHECK((answer == 0) == (*w->fresh != NULL));
}

static int any_number(struct world *w) {
    static int by_weight[WEIGHTS], total;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (total == 0) {
        pthread_mutex_lock(&lock);
        int sum = 0;
        for (int i = 0; i < COUNT; i++)
            for (int k = 0; k < calls[i].weight; k++) by_weight[sum++] = i;
        CHECK(sum <= WEIGHTS);
        total = sum;
        pthread_mutex_unlock(&lock);
    }
    return by_weight[draw(w, (uint64_t)total)];
}

/* ---- what a host does besides ---- */

/* What a file becomes; a leased one is left to who has it. */
static void disturb(struct world *w, char (*paths)[PATH_MAX + 64]) {
    const char *path = paths[once_in(w, 20) ? RECORDS : once_in(w, 2) ? DATA : OTHER];
    if (once_in(w, 6)) path = paths[LEASED];
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        (void)!ftruncate(fd, (off_t)draw(w, VIEW * 2 >> draw(w, 12)));
        close(fd);
    }
    if (path == paths[LEASED]) return;
    if (once_in(w, 3)) write_file(path, draw(w, VIEW * 2));
    if (once_in(w, 8)) unlink(path);
    if (once_in(w, 8)) rename(paths[OTHER], path);
}

/* Reads as the manual says: bytes, fence, poison word. */
static void read_directly(struct world *w) {
    sigward_bytes look;
    unsigned sum = 0;
    if (sigward_map_look(MAP, &look) != 0 || sigward_thread_check() != 0) return;
    for (size_t at = 0; at < look.len; at += 4096) sum += ((const volatile char *)look.data)[at];
    atomic_thread_fence(memory_order_acquire);
    (void)(*(const volatile uint64_t *)look.poison + sum);
}

static void go_on(struct world *w, struct last *last, int length);

/* A child has its parent's handles, but for replacements, which are one thread's. */
static void fork_one(struct world *w, struct last *last) {
    if (w->guards_entered > 0) return; /* the manual forbids it */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        memset(w->replacements, 0, sizeof w->replacements);
        go_on(w, last, 20);
        close_handles(w);
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) CHECK(errno == EINTR);
    CHECK(status == 0);
}

static void theirs(int signal) { (void)signal; }

static void be_a_host(struct world *w, struct last *last) {
    static void (*const rows[])(int) = {theirs, SIG_DFL, SIG_IGN};
    switch (draw(w, 24)) {
    case 0: fork_one(w, last); break;
    case 1: map_view(w); break;
    case 2: signal(SIGPIPE, rows[draw(w, 3)]); break;
    case 3:
    case 4:
    case 5: {
        int *slot = &w->fds[NONE + draw(w, FDS - NONE)];
        if (*slot >= 0) close(*slot);
        *slot = opened(w, (int)draw(w, KINDS));
        break;
    }
    case 6:
    case 7: read_directly(w); break;
    default: disturb(w, w->paths); break;
    }
}

static void go_on(struct world *w, struct last *last, int length) {
    for (int i = 0; i < length; i++) {
        call(w, last, any_number(w));
        if (once_in(w, 8)) be_a_host(w, last);
    }
}

/* Only what is signal-safe. */
static void arrives(int signal, siginfo_t *info, void *context) {
    static atomic_uint next;
    static _Thread_local char bytes[512];
    (void)signal, (void)info, (void)context;
    sigward_bytes look;
    sigward_rows rows;
    sigward_counters counters;
    sigward_fault fault;
    sigward_thread_guard guard;
    uint64_t cursor = 0;
    int before = errno;
    switch (atomic_fetch_add(&next, 1) % 9) {
    case 0: sigward_map_look(shared_map, &look); break;
    case 1: sigward_map_read_at(shared_map, next % VIEW, bytes, sizeof bytes); break;
    case 2: sigward_map_status(shared_map, &fault); break;
    case 3: sigward_adopted_status(shared_adopted, &fault); break;
    case 4: sigward_rows_save(&rows); break;
    case 5: sigward_read_counters(&counters); break;
    case 6: sigward_read_events(&cursor, (sigward_event *)(void *)bytes, 1); break;
    case 7:
        if (sigward_thread_guard_enter(&guard) == 0) sigward_thread_guard_leave(&guard);
        break;
    default: sigward_write(-1, bytes, 1), sigward_lease_is_wanted(shared_lease); break;
    }
    errno = before;
}

/* ---- a sequence ---- */

struct worker {
    struct world world;
    pthread_t thread;
    struct last *last;
    int length;
};

static void *work(void *argument) {
    struct worker *worker = argument;
    sigset_t before = {0}, after = {0}; /* the kernel fills a part */
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    go_on(&worker->world, worker->last, worker->length);
    finish(&worker->world);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    atomic_fetch_sub(&at_work, 1);
    while (!over) usleep(100); /* whoever signals it needs it alive */
    return NULL;
}

static int entries(const char *folder, const char *beginning) {
    DIR *listed = opendir(folder);
    int count = 0;
    CHECK(listed != NULL);
    for (struct dirent *entry; (entry = readdir(listed)) != NULL;)
        count += strncmp(entry->d_name, beginning, strlen(beginning)) == 0;
    closedir(listed);
    return count;
}

/* Mappings of files of ours, and of memory that the library has a name for. */
static int file_mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 200];
    int count = 0;
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, scratch) != NULL || strstr(line, "memfd:") != NULL;
    fclose(maps);
    return count;
}

static void remove_all(const char *folder) {
    DIR *listed = opendir(folder);
    char path[PATH_MAX];
    if (listed == NULL) return;
    for (struct dirent *entry; (entry = readdir(listed)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path) != 0 && rmdir(path) != 0) remove_all(path);
    }
    closedir(listed);
    rmdir(folder);
}

static void open_shared(struct world *w) {
    const sigward_map_options options = {
        .size = sizeof options, .writable = 1, .capacity = LONGEST_FILE};
    (void)sigward_map_open(w->paths[DATA], &options, &shared_map);
    (void)sigward_adopt_file(w->paths[DATA], &shared_adopted);
    (void)sigward_lease_take(w->paths[LEASED], &shared_lease);
    (void)(sigward_log_open)(w->paths[RECORDS], NULL, NULL, &shared_log);
}

static void close_shared(void) {
    if (forgotten != A_MAP) CHECK(sigward_map_close(shared_map) == 0);
    if (forgotten != AN_ADOPTED) CHECK(sigward_adopted_close(shared_adopted) == 0);
    if (forgotten != A_LEASE) (void)sigward_lease_release(shared_lease);
    if (forgotten != A_LOG) (void)sigward_log_close(shared_log);
    shared_map = NULL, shared_adopted = NULL, shared_lease = NULL, shared_log = NULL;
}

/* A lock that somebody has left held would keep it for ever. */
static void *everything(void *argument) {
    struct worker *worker = argument;
    for (int i = 0; i < COUNT; i++)
        if (i != NUMBER_sigward_audit_json || once_in(&worker->world, 6))
            call(&worker->world, worker->last, i);
    finish(&worker->world);
    return NULL;
}

static void settled(const struct sigaction *before, int descriptors) {
    char folder[256];
    sigward_counters counters;
    CHECK(sigward_sigpipe_restore() == 0 && sigward_explain_signals(NULL, 0) == 0);
    CHECK(sigward_sigbus_restore() == 0);
    CHECK(current_handler(SIGBUS) == (void *)before[SIGBUS].sa_sigaction);
    CHECK(sigward_read_counters(&counters) == 0 && counters.maps == 0 && counters.leaked == 0);
    CHECK(entries("/proc/self/fd", "") == descriptors && file_mappings() == 0);
    for (unsigned turn = 0; entries("/proc/self/task", "") != 3; turn++, usleep(1000))
        CHECK(turn < patience(30000));
    for (int who = 0; who <= WORKERS; who++) {
        snprintf(folder, sizeof folder, "%s/%d", scratch, who);
        if (access(folder, F_OK) != 0) continue;
        CHECK(entries(folder, ".sigward-") == 0);
        remove_all(folder);
    }
}

static void sequence(uint64_t seed) {
    static struct worker workers[WORKERS + 1];
    struct sigaction before[NSIG] = {0};
    struct world *common = &workers[WORKERS].world;
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, NULL, &before[signal]);
    int descriptors = entries("/proc/self/fd", "");
    memset(workers, 0, sizeof workers);
    for (int i = 0; i <= WORKERS; i++) {
        workers[i].last = &shared->last[i];
        prepare(&workers[i].world, seed, i);
    }
    over = false;
    if (forgotten || once_in(common, 2)) open_shared(common);
    int count = 1 + (int)draw(common, WORKERS);
    left_out = once_in(common, 2) ? NUMBER_sigward_try_copy : NUMBER_sigward_sigbus_restore;
    if (count == 1) left_out = -1;
    at_work = count;
    for (int i = 0; i < count; i++) {
        workers[i].length = LENGTH;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (; at_work > 0; usleep(50)) {
        struct worker *one = &workers[draw(common, (uint64_t)count)];
        disturb(common, one->world.paths);
        disturb(common, common->paths);
        pthread_kill(one->thread, SIGUSR1);
    }
    over = true;
    for (int i = 0; i < count; i++) CHECK(pthread_join(workers[i].thread, NULL) == 0);
    for (int i = count; i < WORKERS; i++) finish(&workers[i].world);
    close_shared();
    left_out = -1;
    CHECK(pthread_create(&workers[WORKERS].thread, NULL, everything, &workers[WORKERS]) == 0);
    CHECK(pthread_join(workers[WORKERS].thread, NULL) == 0);
    signal(SIGPIPE, SIG_DFL);
    settled(before, descriptors);
}

/* ---- processes ---- */

static void sequences(uint64_t seed) {
    const struct rlimit longest = {LONGEST_FILE, LONGEST_FILE};
    CHECK(setpgid(0, 0) == 0);
    int lines = open(seen, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    CHECK(lines >= 0 && dup2(lines, 2) == 2 && close(lines) == 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &longest) == 0);
    signal(SIGXFSZ, SIG_IGN);
    install(SIGUSR1, arrives, SA_ONSTACK);
    for (int i = 0; i < SEQUENCES; i++) sequence(seed * SEQUENCES + (uint64_t)i);
}

static void tell(uint64_t seed, int status) {
    char line[4096];
    fprintf(stderr, "seed %llu ended with status %x\n", (unsigned long long)seed, status);
    for (int i = 0; i <= WORKERS; i++) {
        struct last *last = &shared->last[i];
        for (unsigned long k = last->next < LAST ? 0 : last->next - LAST; k < last->next; k++)
            fprintf(stderr, "%d: %s = %ld\n", i, names[last->number[k % LAST]],
                    last->answer[k % LAST]);
    }
    FILE *lines = fopen(seen, "re");
    if (lines == NULL) return;
    if (fseek(lines, -6000, SEEK_END) != 0) rewind(lines);
    for (size_t got; (got = fread(line, 1, sizeof line, lines)) > 0;) fwrite(line, 1, got, stderr);
    fclose(lines);
}

/* Whether all went well. What hangs is ended. */
static bool runs(uint64_t seed) {
    memset(shared->last, 0, sizeof shared->last);
    fflush(NULL);
    pid_t child = fork();
    int status = -1;
    CHECK(child >= 0);
    if (child == 0) {
        sequences(seed);
        exit(0); /* and no other way: leaks are looked for here */
    }
    for (unsigned turn = 0; waitpid(child, &status, WNOHANG) == 0; turn++, usleep(1000))
        if (turn == patience(120000)) kill(-child, SIGKILL);
    if (status != 0) tell(seed, status);
    remove_all(scratch);
    CHECK(mkdir(scratch, 0755) == 0);
    return status == 0;
}

static void begin(const char *folder) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && folder != NULL);
    static char path[160];
    snprintf(path, sizeof path, "%s/sequences", folder);
    snprintf(seen, sizeof seen, "%s/seen", path);
    scratch = path;
    CHECK(mkdir(path, 0755) == 0);
}

static void end(time_t started) {
    unsigned long all = 0;
    for (int i = 0; i < COUNT; i++) {
        all += shared->counts[i];
        printf("%s %lu %lu\n", names[i], shared->counts[i], shared->good[i]);
    }
    fprintf(stderr, "%lu calls in %ld seconds\n", all, (long)(time(NULL) - started));
    remove_all(scratch);
}

/* run SEED COUNT FOLDER: seeds from this one on. */
static void run(void) {
    time_t started = time(NULL);
    uint64_t seed = strtoull(arguments[0], NULL, 10), count = strtoull(arguments[1], NULL, 10);
    begin(arguments[2]);
    for (uint64_t i = 0; i < count; i++)
        if (!runs(seed + i)) _exit(99);
    end(started);
}

/* fuzz SEED SECONDS FOLDER: as many as there is time for; all that fail are told. */
static void fuzz(void) {
    time_t started = time(NULL);
    uint64_t seed = strtoull(arguments[0], NULL, 10), failed = 0;
    long seconds = atol(arguments[1]);
    begin(arguments[2]);
    for (; time(NULL) - started < seconds; seed++) failed += !runs(seed);
    end(started);
    if (failed > 0) _exit(99);
}

/* Of each kind of handle one is never closed, which must be seen. */
static void forgets(int kind) {
    forgotten = kind;
    run();
}
static void forgets_map(void) { forgets(A_MAP); }
static void forgets_adopted(void) { forgets(AN_ADOPTED); }
static void forgets_lease(void) { forgets(A_LEASE); }
static void forgets_log(void) { forgets(A_LOG); }

SCENARIOS({"run", run}, {"fuzz", fuzz}, {"forgets_map", forgets_map},
          {"forgets_adopted", forgets_adopted}, {"forgets_lease", forgets_lease},
          {"forgets_log", forgets_log})
