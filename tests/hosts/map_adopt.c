/* Maps that somebody else made: a library that maps by itself (here: plain mmap(2) of the host), one mapping or all of a
 * file. Each row bare (dies) and warded. */
#include "maps.h"

#define LENGTH (16 * PAGE)

#ifdef BARE
typedef struct sigward_adopted { int unused; } sigward_adopted;
static int sigward_adopt_file(const char *path, sigward_adopted **out) { return (void)path, *out = NULL, 0; }
static int sigward_adopted_rescan(sigward_adopted *adopted) { return (void)adopted, 0; }
static int sigward_adopted_count(const sigward_adopted *adopted) { return (void)adopted, 0; }
static int sigward_adopted_status(const sigward_adopted *adopted, sigward_fault *out) { return (void)adopted, (void)out, 0; }
static int sigward_adopted_heal(sigward_adopted *adopted) { return (void)adopted, 0; }
static int sigward_adopted_close(sigward_adopted *adopted) { return (void)adopted, 0; }
#endif

/* What the library does: it opens, maps, closes, and knows nothing of us. */
static volatile unsigned char *library_maps(const char *path, uint64_t offset, size_t len, int rights, int sharing) {
    int fd = open(path, rights & PROT_WRITE && sharing == MAP_SHARED ? O_RDWR : O_RDONLY);
    void *data = mmap(NULL, len, rights, sharing, fd, (off_t)offset);
    CHECK(fd >= 0 && data != MAP_FAILED);
    close(fd);
    return data;
}

/* ---- one mapping ---- */

static void one(long with_descriptor) {
    const char *path = new_file("one", LENGTH);
    volatile unsigned char *data = library_maps(path, 2 * PAGE, LENGTH - 2 * PAGE, PROT_READ, MAP_SHARED);
    int fd = with_descriptor ? open(path, O_RDONLY) : -1;
    sigward_map *map = NULL;
    CHECK(sigward_map_adopt((void *)data, LENGTH - 2 * PAGE, fd, 2 * PAGE, &map) == 0);
    if (fd >= 0) close(fd);
    CHECK(bytes(map) == data && sigward_map_len(map) == LENGTH - 2 * PAGE);
    CHECK(truncate(path, 8 * PAGE + 9) == 0);
    CHECK(data[8 * PAGE + 5] == 0);
    WARD_CHECK(status_of(map).cause == (with_descriptor ? SIGWARD_CAUSE_TRUNCATED : SIGWARD_CAUSE_UNKNOWN));
    WARD_CHECK(poison(map) == (with_descriptor ? 6 * PAGE + 9 : 8 * PAGE));
    holds(map, 2 * PAGE, 0, 6 * PAGE);
    CHECK(sigward_map_close(map) == 0);
    CHECK(data[0] == content(2 * PAGE) && data[8 * PAGE + 5] == 0); /* the owner's, patches included */
    CHECK(munmap((void *)data, LENGTH - 2 * PAGE) == 0);
}

static void written(long sharing) {
    const char *path = new_file("written", LENGTH);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, (int)sharing);
    int fd = open(path, O_RDWR);
    sigward_map *map = NULL;
    CHECK(sigward_map_adopt((void *)data, LENGTH, fd, 0, &map) == 0 && ftruncate(fd, 4 * PAGE) == 0);
    data[9 * PAGE] = 77;
    CHECK(data[9 * PAGE] == 77 && data[9 * PAGE + 1] == 0);
    WARD_CHECK(status_of(map).write == 1 && poison(map) == 4 * PAGE && sigward_map_flush(map) == -EFAULT);
}

/* refresh maps an adopted one in its place. */
static void refreshed(long unused) {
    const char *path = new_file("refreshed", LENGTH);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    int fd = open(path, O_RDWR);
    sigward_map *map = NULL;
    (void)unused;
    CHECK(sigward_map_adopt((void *)data, LENGTH, fd, 0, &map) == 0 && ftruncate(fd, 4 * PAGE) == 0);
    CHECK(data[9 * PAGE] == 0);
    fill(fd, 0, LENGTH);
    WARD_CHECK(sigward_map_refresh(map) == 0 && bytes(map) == data && poison(map) == INTACT);
    for (uint64_t at = 0; at < LENGTH; at++) CHECK(data[at] == content(at));
    CHECK(ftruncate(fd, PAGE) == 0 && data[9 * PAGE] == 0);
    WARD_CHECK(poison(map) == PAGE);
}

/* ---- every mapping of a file ---- */

static void whole_file(long unused) {
    const char *path = new_file("library", LENGTH);
    sigward_adopted *adopted = NULL;
    sigward_fault fault;
    (void)unused;
    volatile unsigned char *low = library_maps(path, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
    volatile unsigned char *high = library_maps(path, 8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
    volatile unsigned char *copy = library_maps(path, 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    CHECK(sigward_adopt_file(path, &adopted) == 0);
    WARD_CHECK(sigward_adopted_count(adopted) == 3 && counters().maps == 3);
    CHECK(sigward_adopted_status(adopted, &fault) == 0);
    /* The library maps once more, and lets one go. */
    volatile unsigned char *late = library_maps(path, 2 * PAGE, 9 * PAGE, PROT_READ, MAP_SHARED);
    CHECK(munmap((void *)low, 4 * PAGE) == 0);
    WARD_CHECK(sigward_adopted_rescan(adopted) == 3 && sigward_adopted_count(adopted) == 3 && counters().maps == 3);
    copy[0] = 55;
    CHECK(truncate(path, 6 * PAGE + 10) == 0);
    CHECK(high[5] == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.cause == SIGWARD_CAUSE_TRUNCATED);
    WARD_CHECK(fault.offset == 8 * PAGE && fault.len_now == 6 * PAGE + 10); /* of the file, not of a map */
    CHECK(late[8 * PAGE] == 0 && copy[3 * PAGE] == 0 && copy[0] == 55);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == 6 * PAGE + 10);
    high[7 * PAGE] = 3;
    /* A rescan in between loses nothing of that. */
    WARD_CHECK(sigward_adopted_rescan(adopted) == 3 && sigward_adopted_status(adopted, &fault) == 1);
    /* The file grows again: heal shows its bytes where zeros were. */
    int fd = open(path, O_RDWR);
    fill(fd, 0, LENGTH);
    WARD_CHECK(sigward_adopted_heal(adopted) == 0 && sigward_adopted_status(adopted, &fault) == 0);
    for (uint64_t at = 0; at < 8 * PAGE; at++) CHECK(high[at] == content(8 * PAGE + at));
    for (uint64_t at = 0; at < 9 * PAGE; at++) CHECK(late[at] == content(2 * PAGE + at));
    CHECK(copy[0] == 55 || copy[0] == content(4 * PAGE));
    /* Guarded as before, until it is over. */
    CHECK(ftruncate(fd, PAGE) == 0 && late[0] == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == 2 * PAGE);
    CHECK(sigward_adopted_close(adopted) == 0 && counters().maps == 0);
    CHECK(late[5] == 0);
}

static void before_any_map(long unused) {
    const char *path = new_file("later", LENGTH);
    sigward_adopted *adopted = NULL;
    (void)unused;
    CHECK(sigward_adopt_file(path, &adopted) == 0 && sigward_adopted_count(adopted) == 0);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    WARD_CHECK(sigward_adopted_rescan(adopted) == 1);
    CHECK(truncate(path, 0) == 0 && data[0] == 0);
    sigward_fault fault;
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == 0 && fault.len_now == 0);
    CHECK(munmap((void *)data, LENGTH) == 0);
    WARD_CHECK(sigward_adopted_rescan(adopted) == 0 && sigward_adopted_close(adopted) == 0);
}

/* As SQLite and LMDB: the file has grown, the mapping is made larger, at another place. */
static void remapped(long unused) {
    const char *path = new_file("grown", 4 * PAGE);
    sigward_adopted *adopted = NULL;
    sigward_fault fault;
    (void)unused;
    volatile unsigned char *data = library_maps(path, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
    CHECK(sigward_adopt_file(path, &adopted) == 0);
    for (int turn = 0; turn < 20; turn++) {
        uint64_t length = (uint64_t)(5 + turn) * PAGE;
        int fd = open(path, O_RDWR);
        fill(fd, 0, length);
        close(fd);
        data = mremap((void *)data, length - PAGE, length, MREMAP_MAYMOVE);
        CHECK(data != MAP_FAILED);
        WARD_CHECK(sigward_adopted_rescan(adopted) == 1 && counters().maps == 1);
        CHECK(data[length - 1] == content(length - 1));
    }
    CHECK(truncate(path, PAGE) == 0 && data[23 * PAGE] == 0 && data[2 * PAGE] == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == PAGE);
    CHECK(data[0] == content(0));
}

/* A map of another file was there, whose owner has unmapped it without a word: behind the first page, which is guarded. */
static void behind_a_good_one(long lost) {
    const char *path = new_file("grows", 2 * PAGE);
    int other = nameless(PAGE), fd = open(path, O_RDONLY);
    sigward_adopted *adopted = NULL;
    sigward_map *stale = NULL;
    unsigned char *place = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *second = place + PAGE;
    CHECK(mmap(second, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) == second);
    CHECK(sigward_map_adopt(second, PAGE, other, 0, &stale) == 0);
    CHECK(mmap(place, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == place && sigward_adopt_file(path, &adopted) == 0);
    CHECK(mmap(second, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, PAGE) == second);
    if (lost) CHECK(truncate(path, 0) == 0 && place[0] == 0);
    WARD_CHECK(sigward_adopted_rescan(adopted) == 1 + (int)lost);
    CHECK(truncate(path, 0) == 0 && *(volatile unsigned char *)second == 0 && *(volatile unsigned char *)place == 0);
    CHECK(sigward_adopted_close(adopted) == 0 && sigward_map_close(stale) == 0);
}

/* Two mappings that lie side by side are one to the kernel, and so to us; the library lets one go. */
static unsigned char *side_by_side(const char *path, sigward_adopted **adopted) {
    int fd = open(path, O_RDONLY);
    unsigned char *place = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mmap(place, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == place);
    CHECK(mmap(place + 4 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 4 * PAGE) == place + 4 * PAGE);
    close(fd);
    CHECK(sigward_adopt_file(path, adopted) == 0);
    WARD_CHECK(sigward_adopted_count(*adopted) == 1);
    return place;
}

/* With it goes the beginning of a patch. The zeros that are left are still told of, and healed. */
static void half_a_patch(long unused) {
    const char *path = new_file("half", 8 * PAGE);
    sigward_adopted *adopted;
    sigward_fault fault;
    (void)unused;
    volatile unsigned char *place = side_by_side(path, &adopted);
    CHECK(truncate(path, 2 * PAGE) == 0 && place[5 * PAGE] == 0);
    CHECK(munmap((void *)place, 4 * PAGE) == 0);
    WARD_CHECK(sigward_adopted_rescan(adopted) == 1 && sigward_adopted_status(adopted, &fault) == 1);
    WARD_CHECK(fault.offset == 2 * PAGE && place[6 * PAGE] == 0);
    int fd = open(path, O_RDWR);
    fill(fd, 0, 8 * PAGE);
    WARD_CHECK(sigward_adopted_heal(adopted) == 0 && sigward_adopted_status(adopted, &fault) == 0);
    for (int at = 4 * PAGE; at < 8 * PAGE; at++) CHECK(place[at] == content((uint64_t)at));
}

/* Somebody else's map comes to its place, and is guarded. What the library kept is guarded on, also before a rescan. */
static void half_of_it_kept(long unused) {
    const char *path = new_file("kept", 8 * PAGE);
    int other = nameless(4 * PAGE);
    sigward_adopted *adopted;
    sigward_map *map = NULL;
    sigward_fault fault;
    (void)unused;
    unsigned char *place = side_by_side(path, &adopted), *theirs = place + 4 * PAGE;
    CHECK(mmap(theirs, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) == theirs);
    CHECK(sigward_map_adopt(theirs, 4 * PAGE, other, 0, &map) == 0);
    CHECK(truncate(path, PAGE) == 0 && *(volatile unsigned char *)(place + 2 * PAGE) == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == PAGE);
    CHECK(ftruncate(other, PAGE) == 0 && *(volatile unsigned char *)(theirs + 2 * PAGE) == 0);
    WARD_CHECK(poison(map) == PAGE && sigward_adopted_rescan(adopted) == 1);
    CHECK(sigward_adopted_close(adopted) == 0 && sigward_map_close(map) == 0);
}

static void adopted(void) {
    static const struct row rows[] = {
        {"one, with its descriptor", one, 1}, {"one, without", one, 0}, {"written, shared", written, MAP_SHARED},
        {"written, private", written, MAP_PRIVATE}, {"refreshed", refreshed, 0}, {"whole file", whole_file, 0},
        {"before any map", before_any_map, 0}, {"remapped", remapped, 0},
        {"longer, over a stale one", behind_a_good_one, 0}, {"behind a lost one, over a stale one", behind_a_good_one, 1},
        {"half a patch is left", half_a_patch, 0}, {"half of it is left", half_of_it_kept, 0},
    };
    ROWS(rows);
}

/* ---- stale: the owner has unmapped it, and others live there; as bare ---- */

static unsigned char *leave_stale(void) {
    int fd = nameless(LENGTH);
    sigward_map *map = NULL;
    void *data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(sigward_map_adopt(data, LENGTH, fd, 0, &map) == 0);
    CHECK(ftruncate(fd, 0) == 0 && munmap(data, LENGTH) == 0);
    return data;
}

/* Another file takes the addresses: its fault is not ours, whether or not somebody handles it. */
static void stale_other_file(long handled) {
    unsigned char *data = leave_stale();
    int other = nameless(LENGTH);
    CHECK(mmap(data, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) == data && ftruncate(other, PAGE) == 0);
    if (handled) {
        install(SIGBUS, give_up, 0);
#ifndef BARE
        CHECK(sigward_ensure_on_top() == 0);
#endif
    }
    CHECK(data[5] == content(5));
    CHECK(data[3 * PAGE] == 0); /* dies here */
}

/* The same file, but other pages of it. */
static void stale_other_offset(long unused) {
    const char *path = new_file("stale", LENGTH);
    int fd = open(path, O_RDWR);
    sigward_map *map = NULL;
    (void)unused;
    unsigned char *data = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(sigward_map_adopt(data, 4 * PAGE, fd, 0, &map) == 0);
    CHECK(mmap(data, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 8 * PAGE) == data && ftruncate(fd, PAGE) == 0);
    CHECK(*(volatile unsigned char *)(data + PAGE) == 0); /* dies here */
}

static void stale_unmapped(long unused) {
    (void)unused;
    unsigned char *data = leave_stale();
    CHECK(*(volatile unsigned char *)data == 0); /* SIGSEGV, as ever */
}

static void stale(void) {
    static const struct row rows[] = {
        {"another file", stale_other_file, 0}, {"another file, handled", stale_other_file, 1},
        {"other pages of it", stale_other_offset, 0}, {"nothing there", stale_unmapped, 0},
    };
    ROWS(rows);
}

/* Memory that came to stale addresses keeps its bytes, may be guarded in its turn, and can be let go in any order. */
static void stale_memory(void) {
    unsigned char *data = leave_stale();
    CHECK(mmap(data, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == data);
    memset(data, 0xA5, LENGTH);
    sigward_map *others[32];
    for (int i = 0; i < 32; i++) survives(others[i] = lose());
    for (int i = 0; i < LENGTH; i++) CHECK(data[i] == 0xA5);
    /* A guarded file at the addresses of a stale one. */
    int fd = nameless(LENGTH), again = nameless(LENGTH);
    sigward_map *first = NULL, *second = NULL;
    unsigned char *place = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(sigward_map_adopt(place, LENGTH, fd, 0, &first) == 0);
    CHECK(mmap(place, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, again, 0) == place);
    CHECK(sigward_map_adopt(place, LENGTH, again, 0, &second) == 0);
    CHECK(sigward_map_close(first) == 0); /* must not take the second one's guard away */
    CHECK(ftruncate(again, PAGE) == 0);
    survives(second);
    WARD_CHECK(poison(second) == PAGE);
    CHECK(place[5] == content(5));
    CHECK(sigward_map_close(second) == 0);
    for (int i = 0; i < 32; i++) CHECK(sigward_map_close(others[i]) == 0);
    SAY("maps %llu\n", (unsigned long long)counters().maps);
}

/* A host that closes all descriptors, as daemons do, and opens its own: closing maps takes none of those. Warded only. */
static void closed_by_others(void) {
    int file = nameless(LENGTH), own[16];
    sigward_map *opened = open_map(new_file("opened", LENGTH), NULL), *map = NULL;
    sigward_adopted *adopted = NULL;
    const char *path = new_file("library", LENGTH);
    void *data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
    volatile unsigned char *theirs = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    CHECK(sigward_map_adopt(data, LENGTH, file, 0, &map) == 0 && sigward_adopt_file(path, &adopted) == 0);
    CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0);
    for (int i = 0; i < 16; i++) CHECK((own[i] = open("/dev/null", O_RDONLY)) >= 0);
    /* Still guarded, though nobody can say why any more. */
    CHECK(truncate(path, PAGE) == 0 && theirs[3 * PAGE] == 0);
    CHECK(sigward_map_close(opened) == 0 && sigward_map_close(map) == 0 && sigward_adopted_close(adopted) == 0);
    for (int i = 0; i < 16; i++) {
        if (fcntl(own[i], F_GETFD) < 0) SAY("%d was closed\n", own[i]);
    }
}

SCENARIOS({"adopted", adopted}, {"stale", stale}, {"stale_memory", stale_memory},
          {"closed_by_others", closed_by_others})
