/* Those who disturb: they change the files, fork, send signals, and own memory that nobody else may
   touch. See soak.h. */
#include "soak.h"

/* ---- files ---- */

static void change(void (*how)(struct file *file)) {
    struct file *file = file_any();
    if (file && file_hold(file)) {
        how(file);
        file_let_go(file);
    }
    if (file) file_release(file);
}

static void cut_somewhere(struct file *file) {
    uint64_t length = any(atomic_load(&file->length) + 1);
    if (any(2)) length = down(length, PAGE);
    file_cut(file, length);
}

/* Cut and grown again before anybody may have looked: the same length, other bytes. */
static void cut_and_regrow(struct file *file) {
    uint64_t before = atomic_load(&file->length);
    cut_somewhere(file);
    file_grow(file, any(2) ? before : 1 + any(LONGEST));
}

static void grow_somewhere(struct file *file) {
    uint64_t length = 1 + any(LONGEST);
    file_grow(file, any(2) ? up(length, PAGE) : length);
}

static void rewrite_somewhere(struct file *file) {
    uint64_t length = atomic_load(&file->length);
    if (length == 0) return;
    uint64_t from = any(length);
    file_rewrite(file, from, from + 1 + any(length - from));
    COUNT(rewrites);
}

void truncator(void) {
    while (going()) {
        change(any(2) ? cut_somewhere : cut_and_regrow);
        rest(400);
    }
}

void grower(void) {
    while (going()) {
        change(any(4) ? grow_somewhere : rewrite_somewhere);
        rest(200);
    }
}

void replacer(void) {
    while (going()) {
        struct slot *slot = &soak->slots[any(SLOTS)];
        char fresh[300];
        snprintf(fresh, sizeof fresh, "%s.new%u", slot->path, own_number);
        struct file *file = file_new(fresh, 1 + any(LONGEST));
        uint64_t even = atomic_load(&slot->replaced) & ~1ull;
        if (atomic_compare_exchange_strong(&slot->replaced, &(unsigned long long){even},
                                           even + 1)) {
            MUST(rename(fresh, slot->path) == 0);
            struct file *old = atomic_exchange(&slot->file, file);
            atomic_store(&slot->replaced, even + 2);
            file_release(old);
            COUNT(replaces);
        } else {
            unlink(fresh);
            file_release(file);
        }
        rest(3000);
    }
}

/* ---- children and signals ---- */

/* The child has our maps and this one thread. It judges by the same state: that is shared. */
static void child(struct view *const *views, unsigned count) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned turn = 0; turn < 12; turn++) {
        struct view *view = views[turn % count];
        if (!view_read(view, turn % HOWS)) view_check(view);
    }
    _exit(0);
}

/* Its end, or SIGKILL's: a child that turns in circles must not outlive the run. */
static int end_of(pid_t pid) {
    int status = 0;
    for (int waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited++) {
        if (waited == 120000) kill(pid, SIGKILL);
        usleep(500);
    }
    return status;
}

void forker(void) {
    while (going()) {
        struct view *views[4];
        unsigned count = 0;
        for (unsigned i = 0; i < 4; i++) {
            views[count] = view_enter();
            count += views[count] != NULL;
        }
        if (count) {
            pid_t pid = fork();
            MUST(pid >= 0);
            if (pid == 0) child(views, count);
            int status = end_of(pid);
            if (status != 0) WRONG(unexpected, "a child ended with status %#x", status);
            COUNT(forks);
        }
        for (unsigned i = 0; i < count; i++) view_leave(views[i]);
        rest(5000);
    }
}

/* A signal handler reads maps too, wherever it interrupts. */
static void on_signal(int signal) {
    int saved = errno;
    (void)signal;
    struct view *view = view_enter();
    if (view) {
        view_read(view, HOW_READ_AT);
        view_read(view, HOW_POINTER);
        view_leave(view);
    }
    COUNT(signals);
    errno = saved;
}

void noise(void) {
    while (going()) {
        pthread_kill(threads[any(thread_count)], SIGUSR1);
        rest(300);
    }
}

/* ---- other people's memory ---- */

/* Takes and gives back pages all the time, so that what a map left is used again at once. */
void neighbour(void) {
    enum { KEPT = 24 };
    struct {
        uint64_t *data, words, seed;
    } kept[KEPT] = {0};
    for (unsigned turn = 0; going() || turn % KEPT; turn++) {
        unsigned at = turn % KEPT;
        for (uint64_t i = 0; i < kept[at].words; i++)
            if (kept[at].data[i] != kept[at].seed + i) {
                WRONG(clobbers, "memory of others at %p: %lx", (void *)&kept[at].data[i],
                      kept[at].data[i]);
                break;
            }
        if (kept[at].words) munmap(kept[at].data, kept[at].words * 8);
        kept[at].words = 0;
        COUNT(neighbours);
        if (!going()) continue;
        uint64_t length = (1 + any(8)) * PAGE;
        kept[at].data =
            mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        MUST(kept[at].data != MAP_FAILED);
        kept[at].words = length / 8;
        kept[at].seed = any(INTACT) | 1;
        for (uint64_t i = 0; i < kept[at].words; i++) kept[at].data[i] = kept[at].seed + i;
        if (any(4) == 0) rest(100);
    }
}

/* ---- a map that nobody guards: its faults belong to the handler beneath ---- */

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t armed;
static __thread void *volatile fault_address;

/* What is mapped there, and which of our views it was. */
static void tell_area(uintptr_t address) {
    for (int i = 0; i < VIEWS; i++) {
        const struct view *view = &soak->views[i];
        if (view->map && address - (uintptr_t)view->data < view->length)
            tell("there", "view %d at %p, %lu bytes, writable %d, private %d, no_descriptor %d", i,
                 (const void *)view->data, view->length, view->writable, view->private,
                 view->no_descriptor);
    }
    char line[512];
    FILE *areas = fopen("/proc/self/maps", "re");
    while (areas && fgets(line, sizeof line, areas)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx", &from, &to) == 2 && address >= from && address < to)
            tell("there", "%s", line);
    }
}

static void beneath(int signal, siginfo_t *info, void *context) {
    if (armed) {
        armed = 0;
        fault_address = info->si_addr;
        siglongjmp(back, 1);
    }
    /* Ours it is not: die of it as without a handler. */
    (void)context;
    WRONG(unexpected, "signal %d, code %d, came to nobody at %p", signal, info->si_code,
          info->si_addr);
    tell_area((uintptr_t)info->si_addr);
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
}

void install_handlers(void) {
    struct sigaction bus = {.sa_sigaction = beneath, .sa_flags = SA_SIGINFO};
    struct sigaction other = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigfillset(&bus.sa_mask);
    MUST(sigaction(SIGBUS, &bus, NULL) == 0 && sigaction(SIGUSR1, &other, NULL) == 0);
    MUST(sigaction(SIGPROF, &other, NULL) == 0);
}

/* A file of this thread alone, not in the pool, without a name; in memory, where every lost page
 * has its signal. */
static int nameless(void) {
    char path[300];
    snprintf(path, sizeof path, "%s.own%lu", soak->slots[0].path, (unsigned long)any(INTACT));
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    MUST(fd >= 0 && unlink(path) == 0);
    return fd;
}

static void fill_whole(int fd, uint64_t pages) {
    char page[PAGE];
    memset(page, 'f', sizeof page);
    for (uint64_t p = 0; p < pages; p++) MUST(pwrite(fd, page, PAGE, (off_t)(p * PAGE)) == PAGE);
}

void foreigner(void) {
    int fd = nameless();
    uint8_t *map = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    MUST(map != MAP_FAILED);
    while (going()) {
        fill_whole(fd, 4);
        MUST(ftruncate(fd, PAGE) == 0);
        volatile uint8_t *lost = map + PAGE + any(3 * PAGE);
        fault_address = NULL;
        if (sigsetjmp(back, 1) == 0) {
            armed = 1;
            (void)*lost;
            armed = 0;
            WRONG(stolen, "a fault of nobody's map came to no handler");
        } else if (fault_address != (void *)lost) {
            WRONG(stolen, "the fault at %p came as one at %p", (void *)lost, fault_address);
        }
        fill_whole(fd, 4);
        if (*lost != 'f') WRONG(clobbers, "a map that is nobody's was patched");
        COUNT(foreign);
        rest(500);
    }
    munmap(map, 4 * PAGE);
    close(fd);
}

/* ---- the lost range of a writable map takes writes, and keeps them until the map
 * is mapped anew */

enum { TEAM = 3, SINK_PAGES = 8 };
static struct {
    atomic_uint round, done; /* round: odd while the team writes */
    atomic_bool over;        /* the leader starts no further round */
    uint8_t *data;
    uint64_t lost; /* first lost page */
} team;

static void sink_write(uint64_t value) {
    for (uint64_t p = team.lost; p < SINK_PAGES; p++) {
        volatile uint64_t *mine = (volatile uint64_t *)(void *)(team.data + p * PAGE) + own_number;
        *mine = value;
        /* Nobody maps this page a second time after my write. */
        sched_yield();
        if (*mine != value)
            WRONG(lost, "a write into the lost range was taken away again: page %lu", p);
    }
    for (uint64_t p = team.lost; p < SINK_PAGES; p++)
        if (((uint64_t *)(void *)(team.data + p * PAGE))[own_number] != value)
            WRONG(lost, "page %lu lost a write", p);
}

static void lead(int fd) {
    sigward_map_options options = {.size = sizeof options, .writable = 1};
    sigward_map *map;
    fill_whole(fd, SINK_PAGES);
    MUST(sigward_map_fd(fd, &options, &map) == 0);
    uint64_t length = any(SINK_PAGES * PAGE);
    MUST(ftruncate(fd, (off_t)length) == 0);
    team.data = (uint8_t *)(uintptr_t)sigward_map_data(map);
    team.lost = up(length, PAGE) / PAGE;
    atomic_store(&team.done, 0);
    atomic_fetch_add(&team.round, 1);
    sink_write(any(INTACT));
    while (atomic_load(&team.done) < TEAM - 1) sched_yield();
    atomic_fetch_add(&team.round, 1);
    uint64_t poison = *sigward_map_poison_word(map);
    if (team.lost < SINK_PAGES && (poison < length || poison > up(length, PAGE)))
        WRONG(liars, "cut to %lu, poison at %lu", length, poison);
    if (team.lost < SINK_PAGES && sigward_map_flush(map) == 0)
        WRONG(lost, "a flush of lost pages reports success");
    if (lseek(fd, 0, SEEK_END) != (off_t)length)
        WRONG(lost, "the file has another length after its fault");
    MUST(sigward_map_close(map) == 0);
    COUNT(sinks);
}

void sink_begin(void) { atomic_store(&team.over, false); }

void sink(void) {
    if (own_number == 0) {
        int fd = nameless();
        while (going()) {
            lead(fd);
            rest(300);
        }
        close(fd);
        atomic_store(&team.over, true);
        return;
    }
    for (unsigned seen = atomic_load(&team.round) / 2 * 2; !atomic_load(&team.over);) {
        unsigned now = atomic_load(&team.round);
        if (now % 2 == 1 && now > seen) {
            seen = now;
            sink_write(any(INTACT));
            atomic_fetch_add(&team.done, 1);
        } else {
            sched_yield();
        }
    }
}
