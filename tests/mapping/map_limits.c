/* Faults where the kernel refuses memory, mappings or descriptors to the handler. Each row bare
 * (dies) and warded. */
#include "maps.h"
#include <time.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#define TAIL (8 << 20)

/* ---- vm.max_map_count ---- */

/* Mappings that cannot melt together, until the kernel gives no more. False where it gives so many
 * that its memory ends first. */
static bool use_up_areas(void) {
    char text[32] = "";
    int limit = open("/proc/sys/vm/max_map_count", O_RDONLY);
    CHECK(limit >= 0 && read(limit, text, sizeof text - 1) > 0 && close(limit) == 0);
    long most = atol(text), made = 0;
    if (most > 4 << 20) return false;
    int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    unsigned char *area = mmap(NULL, (size_t)most * 2 * PAGE, PROT_NONE, kind, -1, 0);
    CHECK(area != MAP_FAILED);
    while (made < most && mprotect(area + (size_t)made * 2 * PAGE, PAGE, PROT_READ) == 0) made++;
    CHECK(made < most && errno == ENOMEM);
    /* An mprotect needs two more where a new mapping needs one. */
    kind = MAP_SHARED | MAP_ANONYMOUS;
    for (int i = 0; mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE, kind, -1, 0) != MAP_FAILED;
         i++) {}
    CHECK(errno == ENOMEM);
    return true;
}

static void no_more_areas(long count) {
    sigward_map *maps[64];
    const char *path[64];
    for (long i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "%ld", i);
        path[i] = new_file(name, LOST_LENGTH);
        maps[i] = open_map(path[i], NULL);
    }
    bool no_more = use_up_areas();
    /* No area for another map: a plain refusal that leaves nothing behind. */
    sigward_map *another = NULL;
    sigward_counters before = counters();
    if (no_more)
        WARD_CHECK(sigward_map_open(path[0], NULL, &another) == -ENOMEM && another == NULL);
    for (long i = 0; i < count; i++) {
        CHECK(truncate(path[i], PAGE) == 0);
        survives(maps[i]);
        WARD_CHECK(poison(maps[i]) == PAGE && status_of(maps[i]).cause == SIGWARD_CAUSE_TRUNCATED);
    }
    WARD_CHECK(counters().maps == before.maps && counters().patches == (uint64_t)count);
    for (long i = 0; i < count; i++) CHECK(sigward_map_close(maps[i]) == 0);
    /* The closed ones have made room: what was given away in the handlers is made again, and serves
     * again. */
    for (long i = 0; i < (count + 1) / 2; i++) {
        int fd = open(path[i], O_RDWR);
        fill(fd, 0, LOST_LENGTH);
        maps[i] = open_map(path[i], NULL);
        CHECK(ftruncate(fd, PAGE) == 0);
        survives(maps[i]);
    }
}

/* ---- locked memory ---- */

static uint64_t status_kib(const char *field) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    uint64_t kib = 0;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtoull(line + strlen(field) + 1, NULL, 10);
    fclose(status);
    return kib;
}

/* All memory locked, present and future, and no right to lock `spare` bytes more. */
static void locked(long spare) {
    enum { LENGTH = 1 << 20 };
    int fd = nameless(LENGTH + PAGE);
    sigward_map *map = NULL;
    CHECK(sigward_map_fd(fd, OPTIONS(.writable = 1), &map) == 0);
    CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0); /* as root whatever the limit is */
    rlim_t limit = spare < 0 ? PAGE : status_kib("VmLck:") * 1024 + (rlim_t)spare;
    CHECK(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){limit, limit}) == 0);
    CHECK(setresuid(65534, 65534, 65534) == 0);
    CHECK(mmap(NULL, LENGTH, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == EAGAIN);
    CHECK(ftruncate(fd, PAGE) == 0);
    CHECK(touch(map, LENGTH) == 0 && touch(map, LENGTH / 2) == 0);
    WARD_CHECK(poison(map) == PAGE && counters().faults == 1 && counters().patches == 1);
    bytes(map)[2 * PAGE] = 7;
    CHECK(bytes(map)[2 * PAGE] == 7);
}

static void locked_one(long unused) {
    int fd = nameless(LOST_LENGTH);
    sigward_map *map = NULL;
    (void)unused;
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && mlock((void *)bytes(map), LOST_LENGTH) == 0);
    CHECK(ftruncate(fd, PAGE + 1) == 0);
    survives(map);
    WARD_CHECK(poison(map) == PAGE + 1);
}

/* ---- other limits ---- */

static void address_space(long unused) {
    int fd = nameless(TAIL + PAGE);
    sigward_map *map = NULL, *another = NULL;
    (void)unused;
    CHECK(sigward_map_fd(fd, NULL, &map) == 0);
    rlim_t now = status_kib("VmSize:") * 1024;
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){now, now}) == 0);
    CHECK(mmap(NULL, TAIL, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
          errno == ENOMEM);
    WARD_CHECK(sigward_map_fd(fd, NULL, &another) == -ENOMEM && another == NULL &&
               counters().maps == 1);
    CHECK(ftruncate(fd, PAGE) == 0 && touch(map, TAIL) == 0);
    WARD_CHECK(poison(map) == PAGE && counters().patches == 1);
}

static int use_up_descriptors(void) {
    int last = -1, next;
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}) == 0);
    while ((next = dup(0)) >= 0) last = next;
    CHECK(errno == EMFILE);
    return last;
}

static void descriptors(long unused) {
    sigward_map *map = lose(), *another = NULL;
    const char *path = new_file("another", PAGE);
    (void)unused;
    int last = use_up_descriptors();
    WARD_CHECK(sigward_map_open(path, NULL, &another) == -EMFILE && another == NULL);
    WARD_CHECK(sigward_map_fd(0, NULL, &another) < 0 && another == NULL);
    survives(map);
    WARD_CHECK(poison(map) == PAGE && status_of(map).cause == SIGWARD_CAUSE_TRUNCATED);
    /* One descriptor is enough for one map, and a refused one has kept none. */
    CHECK(close(last) == 0);
    if (WARDED) {
        CHECK(sigward_map_open(path, NULL, &another) == 0 && sigward_map_close(another) == 0);
        CHECK(dup(0) == last);
    }
}

/* The kernel is asked whether an adopted mapping is still there; that needs no free descriptor. */
static void descriptors_adopted(long unused) {
    int fd = nameless(LOST_LENGTH);
    (void)unused;
    volatile unsigned char *data = mmap(NULL, LOST_LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    sigward_adopted *adopted = adopt((void *)data, LOST_LENGTH, fd, 0);
    CHECK(ftruncate(fd, PAGE) == 0);
    use_up_descriptors();
    CHECK(data[3 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == PAGE);
}

static void limits(void) {
    static const struct row rows[] = {
        {"one map at max_map_count", no_more_areas, 1},
        {"16 maps at max_map_count", no_more_areas, 16},
        {"one map locked", locked_one, 0},
        {"mlockall, nothing to spare", locked, 0},
        {"RLIMIT_AS", address_space, 0},
        {"RLIMIT_NOFILE", descriptors, 0},
        {"RLIMIT_NOFILE, adopted", descriptors_adopted, 0},
    };
    ROWS(rows);
}

/* Less may be locked than is locked already: no mapping whatever can be made. */
static void locked_below(void) { locked(-1); }

/* ---- many maps ---- */

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Files that a library has mapped, adopted one by one: each costs the same, whatever there is
 * already. */
static void many_files(void) {
    enum { COUNT = 10000 };
    static sigward_adopted *adopted[COUNT];
    static volatile unsigned char *data[COUNT];
    char path[PATH_MAX];
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024}) == 0);
    for (int i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "%s/%d", arguments[0], i);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
        data[i] = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
        CHECK(data[i] != MAP_FAILED && close(fd) == 0);
    }
    /* Seventy times the first half's would be what reading /proc/self/maps for each of them costs.
     * A machine that has much else to do may take as long once, and not each time. */
    bool quick = false;
    for (int tries = 0; tries < 8 && !quick; tries++) {
        for (int i = 0; tries > 0 && i < COUNT; i++) CHECK(sigward_adopted_close(adopted[i]) == 0);
        double times[3] = {seconds()};
        for (int half = 0; half < 2; half++) {
            for (int i = half * COUNT / 2; i < (half + 1) * COUNT / 2; i++) {
                snprintf(path, sizeof path, "%s/%d", arguments[0], i);
                CHECK(sigward_adopt_file(path, &adopted[i]) == 0);
            }
            times[half + 1] = seconds();
        }
        quick = times[2] - times[1] < 4 * (times[1] - times[0]) + 0.05;
        quick = quick && times[2] - times[0] < patience(2);
    }
    WARD_CHECK(quick);
    WARD_CHECK(counters().maps == COUNT);
    /* The host's descriptors are its own. */
    int next = dup(0);
    CHECK(next >= 0 && next <= 520);
    for (int i = 0; i < COUNT; i += 499) {
        snprintf(path, sizeof path, "%s/%d", arguments[0], i);
        CHECK(truncate(path, PAGE) == 0 && data[i][PAGE] == 0);
        WARD_CHECK(loss_at(adopted[i]) == PAGE &&
                   loss_of(adopted[i]).cause == SIGWARD_CAUSE_TRUNCATED);
        WARD_CHECK(loss_at(adopted[i + 1]) == INTACT);
    }
    for (int i = 0; i < COUNT; i++) CHECK(sigward_adopted_close(adopted[i]) == 0);
    CHECK(counters().maps == 0);
}

static void many_maps(void) {
    enum { COUNT = 20000 };
    const char *path = new_file("many", 4 * PAGE);
    static sigward_map *maps[COUNT];
    for (int i = 0; i < COUNT; i++) maps[i] = open_map(path, OPTIONS(.no_descriptor = 1));
    WARD_CHECK(counters().maps == COUNT);
    CHECK(truncate(path, PAGE) == 0);
    for (int i = 0; i + 1 < COUNT; i += 7) {
        CHECK(touch(maps[i], 2 * PAGE + 5) == 0);
        WARD_CHECK(poison(maps[i]) == 2 * PAGE && poison(maps[i + 1]) == INTACT);
    }
    for (int i = 0; i < COUNT; i++) CHECK(sigward_map_close(maps[i]) == 0);
    CHECK(counters().maps == 0);
}

/* ---- huge pages; the caller has seen to it that there are eight ---- */

static void huge_pages(int fd) {
    sigward_map *map = NULL;
    const size_t huge = huge_page();
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(4 * huge)) == 0);
    unsigned char *own = mmap(NULL, 4 * huge, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (own == MAP_FAILED) {
        SAY("no huge pages\n");
        _exit(77);
    }
    for (size_t i = 0; i < 4 * huge; i += 64) own[i] = content(i);
    CHECK(sigward_map_fd(fd, NULL, &map) == 0 && sigward_map_len(map) == 4 * huge);
    CHECK(ftruncate(fd, (off_t)(2 * huge)) == 0);
    CHECK(bytes(map)[3 * huge + 12345 * 64] == 0);
    WARD_CHECK(poison(map) == 2 * huge && status_of(map).cause == SIGWARD_CAUSE_TRUNCATED);
    for (size_t i = 2 * huge; i < 4 * huge; i += PAGE) CHECK(bytes(map)[i] == 0);
    WARD_CHECK(counters().faults == 1 && counters().patches == 1);
    for (size_t i = 0; i < 2 * huge; i += 64) CHECK(bytes(map)[i] == content(i));
    CHECK(sigward_map_close(map) == 0);
    if (WARDED) {
        /* More than there are: refused, as mmap(2) refuses it. */
        CHECK(ftruncate(fd, (off_t)huge << 20) == 0 && sigward_map_fd(fd, NULL, &map) == -ENOMEM);
        /* From somewhere within a huge page. */
        CHECK(ftruncate(fd, (off_t)(3 * huge)) == 0);
        CHECK(sigward_map_fd(fd, OPTIONS(.offset = huge / 2 + 64), &map) == 0);
        CHECK(*bytes(map) == content(huge / 2 + 64) && ftruncate(fd, (off_t)(2 * huge)) == 0);
        CHECK(touch(map, 2 * huge) == 0 && poison(map) == 2 * huge - (huge / 2 + 64));
    }
}

static void huge_memory(void) { huge_pages(memfd_create("huge", MFD_HUGETLB)); }

static void huge_file(void) { huge_pages(open(path_of("huge"), O_RDWR | O_CREAT, 0600)); }

SCENARIOS({"limits", limits}, {"locked_below", locked_below}, {"many_files", many_files},
          {"many_maps", many_maps}, {"huge_memory", huge_memory}, {"huge_file", huge_file})
