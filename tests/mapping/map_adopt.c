/* Mappings that somebody else made: a library that maps by itself (here: plain mmap(2) of the
 * host), one of them or all of a file. Each row bare (dies) and warded. */
#include "maps.h"
#include "refuse.h"

#define LENGTH (16 * PAGE)

/* What the library does: it opens, maps, closes, and knows nothing of us. */
static volatile unsigned char *library_maps(const char *path, uint64_t offset, size_t len,
                                            int rights, int sharing) {
    int fd = open(path, rights & PROT_WRITE && sharing == MAP_SHARED ? O_RDWR : O_RDONLY);
    void *data = mmap(NULL, len, rights, sharing, fd, (off_t)offset);
    CHECK(fd >= 0 && data != MAP_FAILED);
    close(fd);
    return data;
}

static sigward_adopted *adopt_file(const char *path) {
    sigward_adopted *adopted = NULL;
    CHECK(sigward_adopt_file(path, &adopted) == 0);
    return adopted;
}

static int descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 64; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* ---- one mapping ---- */

static void one(long with_descriptor) {
    const char *path = new_file("one", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 2 * PAGE, LENGTH - 2 * PAGE, PROT_READ, MAP_SHARED);
    int fd = with_descriptor ? open(path, O_RDONLY) : -1;
    sigward_adopted *adopted = adopt((void *)data, LENGTH - 2 * PAGE, fd, 2 * PAGE);
    if (fd >= 0) close(fd);
    WARD_CHECK(sigward_adopted_count(adopted) == 1);
    CHECK(truncate(path, 8 * PAGE + 9) == 0);
    CHECK(data[8 * PAGE + 5] == 0);
    WARD_CHECK(loss_of(adopted).cause ==
               (with_descriptor ? SIGWARD_CAUSE_TRUNCATED : SIGWARD_CAUSE_UNKNOWN));
    WARD_CHECK(loss_at(adopted) == (with_descriptor ? 8 * PAGE + 9 : 10 * PAGE));
    for (uint64_t at = 0; at < 6 * PAGE; at++) CHECK(data[at] == content(2 * PAGE + at));
    CHECK(sigward_adopted_close(adopted) == 0);
    CHECK(data[0] == content(2 * PAGE) && data[8 * PAGE + 5] == 0); /* the owner's, patches included
                                                                     */
    CHECK(munmap((void *)data, LENGTH - 2 * PAGE) == 0);
}

static void written(long unused) {
    const char *path = new_file("written", LENGTH);
    (void)unused;
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    int fd = open(path, O_RDWR);
    sigward_adopted *adopted = adopt((void *)data, LENGTH, fd, 0);
    CHECK(ftruncate(fd, 4 * PAGE) == 0);
    data[9 * PAGE] = 77;
    CHECK(data[9 * PAGE] == 77 && data[9 * PAGE + 1] == 0);
    WARD_CHECK(loss_of(adopted).write == 1 && loss_at(adopted) == 4 * PAGE);
}

/* heal maps the file in its place again. */
static void healed(long range) {
    const char *path = new_file("healed", LENGTH);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    int fd = open(path, O_RDWR);
    sigward_adopted *adopted = range ? adopt((void *)data, LENGTH, fd, 0) : adopt_file(path);
    CHECK(ftruncate(fd, 4 * PAGE) == 0);
    for (int page = 4; page < 16; page += 3) CHECK(data[page * PAGE] == 0);
    fill(fd, 0, LENGTH);
    WARD_CHECK(data[10 * PAGE] == 0 && sigward_adopted_heal(adopted) == 0 &&
               loss_at(adopted) == INTACT);
    for (uint64_t at = 0; at < LENGTH; at++) CHECK(data[at] == content(at));
    CHECK(ftruncate(fd, PAGE) == 0 && data[9 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == PAGE);
}

/* heal leaves the zeros of other files alone. */
static void healed_beside(long unused) {
    const char *path = new_file("sick", LENGTH), *beside = new_file("beside", LENGTH);
    (void)unused;
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    volatile unsigned char *other = library_maps(beside, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path), *second = adopt_file(beside);
    CHECK(truncate(path, PAGE) == 0 && truncate(beside, 2 * PAGE) == 0);
    CHECK(data[5 * PAGE] == 0 && other[5 * PAGE] == 0);
    fill(open(path, O_RDWR), 0, LENGTH);
    WARD_CHECK(sigward_adopted_heal(adopted) == 0 && loss_at(adopted) == INTACT);
    CHECK(data[5 * PAGE] == content(5 * PAGE) && other[5 * PAGE] == 0);
    WARD_CHECK(loss_at(second) == 2 * PAGE);
}

/* The owner moves it, and others take its place. What is adopted moves with it, and nothing else
 * is. */
static void moved(long range) {
    int fd = nameless(LENGTH);
    unsigned char *data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *place = mmap(NULL, LENGTH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    sigward_adopted *adopted = range ? adopt(data, LENGTH, fd, 0) : adopt_file(link);
    CHECK(mremap(data, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place);
    CHECK(mmap(data, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == data);
    memset(data, 7, LENGTH);
    CHECK(ftruncate(fd, PAGE) == 0 && *(volatile unsigned char *)(place + 5 * PAGE) == 0);
    WARD_CHECK(loss_at(adopted) == PAGE);
    for (int i = 0; i < LENGTH; i++) CHECK(data[i] == 7);
}

/* Parts with rights of their own, which a patch has as well. */
static void split(long range) {
    const char *path = new_file("split", LENGTH);
    unsigned char *data = (unsigned char *)library_maps(path, 0, LENGTH, PROT_READ, MAP_PRIVATE);
    sigward_adopted *adopted = range ? adopt(data, LENGTH, -1, 0) : adopt_file(path);
    CHECK(mprotect(data + 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE) == 0 &&
          munmap(data + 8 * PAGE, 4 * PAGE) == 0);
    WARD_CHECK(sigward_adopted_count(adopted) == 3);
    CHECK(truncate(path, 0) == 0);
    volatile unsigned char *look = data;
    look[5 * PAGE] = 9;
    CHECK(look[5 * PAGE] == 9 && look[2 * PAGE] == 0 && look[13 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) <= 2 * PAGE);
}

/* By the time that our handler asks, the owner has mapped another file over the lost page: here by
 * a handler above. */
static struct sigaction asked_next;
static int instead;

static void maps_another(int signal, siginfo_t *info, void *context) {
    char *page = (char *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    CHECK(mmap(page, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, instead, 0) == page);
    asked_next.sa_sigaction(signal, info, context);
}

static void another_since(long range) {
    const char *path = new_file("library", LENGTH);
    instead = nameless(PAGE);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = range ? adopt((void *)data, LENGTH, -1, 0) : adopt_file(path);
    WARD_CHECK(adopted && sigaction(SIGBUS, NULL, &asked_next) == 0);
    WARD_CHECK((install(SIGBUS, maps_another, SA_ONSTACK), 1));
    CHECK(truncate(path, PAGE) == 0);
    CHECK(data[5 * PAGE + 7] == content(7));
}

/* ---- every mapping of a file ---- */

static void whole_file(long unused) {
    const char *path = new_file("library", LENGTH);
    sigward_fault fault;
    (void)unused;
    volatile unsigned char *low = library_maps(path, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
    volatile unsigned char *high = library_maps(path, 8 * PAGE, 8 * PAGE, PROT_READ, MAP_SHARED);
    volatile unsigned char *copy =
        library_maps(path, 4 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    sigward_adopted *adopted = adopt_file(path);
    WARD_CHECK(sigward_adopted_count(adopted) == 3 && counters().maps == 1);
    CHECK(sigward_adopted_status(adopted, &fault) == 0 && sigward_adopted_verify(adopted) == 0);
    /* The library maps once more, and lets one go. */
    volatile unsigned char *late = library_maps(path, 2 * PAGE, 9 * PAGE, PROT_READ, MAP_SHARED);
    CHECK(munmap((void *)low, 4 * PAGE) == 0);
    WARD_CHECK(sigward_adopted_count(adopted) == 3);
    copy[0] = 55;
    CHECK(truncate(path, 6 * PAGE + 10) == 0);
    CHECK(high[5] == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 &&
               fault.cause == SIGWARD_CAUSE_TRUNCATED);
    WARD_CHECK(fault.offset == 6 * PAGE + 10 && fault.len_now == 6 * PAGE + 10); /* of the file, not
                                                                                    of a map */
    CHECK(late[8 * PAGE] == 0 && copy[3 * PAGE] == 0 && copy[0] == 55 && high[7 * PAGE] == 0);
    WARD_CHECK(sigward_adopted_count(adopted) == 3);
    /* The file grows again: heal shows its bytes where zeros were. */
    int fd = open(path, O_RDWR);
    fill(fd, 0, LENGTH);
    WARD_CHECK(sigward_adopted_heal(adopted) == 0 && sigward_adopted_status(adopted, &fault) == 0);
    for (uint64_t at = 0; at < 8 * PAGE; at++) CHECK(high[at] == content(8 * PAGE + at));
    for (uint64_t at = 0; at < 9 * PAGE; at++) CHECK(late[at] == content(2 * PAGE + at));
    CHECK(copy[0] == 55 || copy[0] == content(4 * PAGE));
    /* Guarded as before, until it is over. */
    CHECK(ftruncate(fd, PAGE) == 0 && late[0] == 0);
    WARD_CHECK(sigward_adopted_status(adopted, &fault) == 1 && fault.offset == PAGE);
    CHECK(sigward_adopted_close(adopted) == 0 && counters().maps == 0);
    CHECK(late[5] == 0);
}

static void before_any_map(long unused) {
    const char *path = new_file("later", LENGTH);
    (void)unused;
    sigward_adopted *adopted = adopt_file(path);
    WARD_CHECK(sigward_adopted_count(adopted) == 0);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    CHECK(truncate(path, 0) == 0 && data[0] == 0);
    WARD_CHECK(loss_of(adopted).offset == 0 && loss_of(adopted).len_now == 0 &&
               sigward_adopted_count(adopted) == 1);
    CHECK(munmap((void *)data, LENGTH) == 0);
    WARD_CHECK(sigward_adopted_count(adopted) == 0);
    CHECK(sigward_adopted_close(adopted) == 0);
}

/* As SQLite and LMDB: the file has grown, the mapping is made larger, at another place. */
static void remapped(long unused) {
    const char *path = new_file("grown", 4 * PAGE);
    (void)unused;
    volatile unsigned char *data = library_maps(path, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path);
    for (int turn = 0; turn < 20; turn++) {
        uint64_t length = (uint64_t)(5 + turn) * PAGE;
        int fd = open(path, O_RDWR);
        fill(fd, 0, length);
        close(fd);
        data = mremap((void *)data, length - PAGE, length, MREMAP_MAYMOVE);
        CHECK(data != MAP_FAILED && data[length - 1] == content(length - 1));
        WARD_CHECK(sigward_adopted_count(adopted) == 1);
    }
    CHECK(truncate(path, PAGE) == 0 && data[23 * PAGE] == 0 && data[2 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == PAGE);
    CHECK(data[0] == content(0));
}

/* A library that opens anew when its file was cut, again and again, wherever the kernel puts it. */
static void reopened(long fixed) {
    const char *path = new_file("reopened", LENGTH);
    int fd = open(path, O_RDWR);
    unsigned char *data = (unsigned char *)library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = fixed ? adopt(data, LENGTH, fd, 0) : adopt_file(path);
    CHECK(ftruncate(fd, PAGE) == 0);
    for (int i = 0; i < 8; i++) {
        CHECK(*(volatile unsigned char *)(data + 5 * PAGE) == 0 && munmap(data, LENGTH) == 0);
        CHECK((data = mmap(fixed ? data : NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0)) !=
              MAP_FAILED);
        if (i == 4) CHECK(unlink(path) == 0);
    }
    WARD_CHECK(loss_at(adopted) == PAGE);
}

/* Journals and write-ahead logs: the file is renamed, and a new one has its name. */
static void rotated(long unused) {
    const char *path = new_file("journal", LENGTH), *old = path_of("journal.1");
    (void)unused;
    volatile unsigned char *first = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path);
    CHECK(rename(path, old) == 0 && strcmp(new_file("journal", LENGTH), path) == 0);
    volatile unsigned char *second = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    WARD_CHECK(sigward_adopted_verify(adopted) == -ESTALE && sigward_adopted_count(adopted) == 2);
    CHECK(truncate(path, 3 * PAGE) == 0 && second[5 * PAGE] == 0);
    WARD_CHECK(loss_of(adopted).offset == 3 * PAGE &&
               loss_of(adopted).cause == SIGWARD_CAUSE_TRUNCATED);
    CHECK(truncate(old, 2 * PAGE) == 0 && first[5 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == 2 * PAGE);
    CHECK(second[0] == content(0) && first[0] == content(0));
}

/* Twice: the file that was adopted and the one that has its path are guarded. */
static void rotated_twice(long in_between) {
    const char *path = new_file("turned", LENGTH), *old = path_of("turned.1"),
               *older = path_of("turned.2");
    volatile unsigned char *files[3];
    files[0] = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path);
    for (int turn = 1; turn < 3; turn++) {
        CHECK(turn == 1 || rename(old, older) == 0);
        CHECK(rename(path, old) == 0 && strcmp(new_file("turned", LENGTH), path) == 0);
        files[turn] = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    }
    if (in_between) {
        CHECK(truncate(old, PAGE) == 0 && files[1][5 * PAGE] == 0); /* dies here */
    }
    CHECK(truncate(path, 3 * PAGE) == 0 && files[2][5 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == 3 * PAGE);
    CHECK(truncate(older, 2 * PAGE) == 0 && files[0][5 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == 2 * PAGE);
    CHECK(files[1][0] == content(0) && files[1][5 * PAGE] == content(5 * PAGE));
}

/* The path is a link that is switched: what it led to stays guarded, and verify tells. */
static void switched(long to_the_other) {
    const char *first = new_file("first", LENGTH), *second = new_file("second", LENGTH);
    const char *link = path_of("current"), *next = path_of("next");
    CHECK(symlink(first, link) == 0);
    sigward_adopted *adopted = adopt_file(link);
    volatile unsigned char *data = library_maps(link, 0, LENGTH, PROT_READ, MAP_SHARED);
    WARD_CHECK(sigward_adopted_verify(adopted) == 0);
    CHECK(symlink(second, next) == 0 && rename(next, link) == 0);
    volatile unsigned char *other = library_maps(link, 0, LENGTH, PROT_READ, MAP_SHARED);
    WARD_CHECK(sigward_adopted_verify(adopted) == -ESTALE && sigward_adopted_count(adopted) == 1);
    CHECK(truncate(first, PAGE) == 0 && truncate(second, 2 * PAGE) == 0);
    if (to_the_other) CHECK(other[5 * PAGE] == 0); /* dies here */
    CHECK(data[5 * PAGE] == 0);
    WARD_CHECK(loss_at(adopted) == PAGE);
    sigward_adopted *again = adopt_file(link);
    CHECK(other[5 * PAGE] == 0);
    WARD_CHECK(loss_at(again) == 2 * PAGE && loss_at(adopted) == PAGE);
}

/* Two mappings that lie side by side are one to the kernel, and so to us; the library lets one go.
 */
static unsigned char *side_by_side(const char *path, sigward_adopted **adopted) {
    int fd = open(path, O_RDONLY);
    unsigned char *place = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mmap(place, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == place);
    CHECK(mmap(place + 4 * PAGE, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 4 * PAGE) ==
          place + 4 * PAGE);
    close(fd);
    *adopted = adopt_file(path);
    WARD_CHECK(sigward_adopted_count(*adopted) == 1);
    return place;
}

/* With it goes the beginning of a patch. The zeros that are left are still told of, and healed. */
static void half_a_patch(long unused) {
    const char *path = new_file("half", 8 * PAGE);
    sigward_adopted *adopted;
    (void)unused;
    volatile unsigned char *place = side_by_side(path, &adopted);
    CHECK(truncate(path, 2 * PAGE) == 0);
    for (int page = 2; page < 8; page++) CHECK(place[page * PAGE] == 0);
    CHECK(munmap((void *)place, 4 * PAGE) == 0);
    WARD_CHECK(loss_at(adopted) == 2 * PAGE && place[6 * PAGE] == 0);
    int fd = open(path, O_RDWR);
    fill(fd, 0, 8 * PAGE);
    WARD_CHECK(sigward_adopted_heal(adopted) == 0 && loss_at(adopted) == INTACT);
    for (int at = 4 * PAGE; at < 8 * PAGE; at++) CHECK(place[at] == content((uint64_t)at));
}

/* Somebody else's mapping comes to its place, and is adopted. What the library kept is guarded on.
 */
static void half_of_it_kept(long unused) {
    const char *path = new_file("kept", 8 * PAGE);
    int other = nameless(4 * PAGE);
    sigward_adopted *adopted;
    (void)unused;
    unsigned char *place = side_by_side(path, &adopted), *theirs = place + 4 * PAGE;
    CHECK(mmap(theirs, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) == theirs);
    sigward_adopted *second = adopt(theirs, 4 * PAGE, other, 0);
    CHECK(truncate(path, PAGE) == 0 && *(volatile unsigned char *)(place + 2 * PAGE) == 0);
    WARD_CHECK(loss_at(adopted) == PAGE && loss_at(second) == INTACT);
    CHECK(ftruncate(other, 2 * PAGE) == 0 && *(volatile unsigned char *)(theirs + 2 * PAGE) == 0);
    WARD_CHECK(loss_at(second) == 2 * PAGE && loss_at(adopted) == PAGE);
    CHECK(sigward_adopted_close(adopted) == 0 && sigward_adopted_close(second) == 0);
}

/* A map of ours comes to the half that the owner has given back, and both are guarded; also when
 * they go again. */
static void beside_our_own(long range) {
    const char *path = new_file("halves", LENGTH), *own = new_file("own", LENGTH / 2);
    unsigned char *data = (unsigned char *)library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = range ? adopt(data, LENGTH, -1, 0) : adopt_file(path);
    sigward_map *maps[200], *there = NULL;
    int count = 1;
    maps[0] = open_map(own, NULL); /* what all maps share has its memory before the gap is there */
    CHECK(munmap(data + LENGTH / 2, LENGTH / 2) == 0);
    while (there == NULL && count < 200) {
        sigward_map *map = maps[count++] = open_map(own, NULL);
        if (bytes(map) == data + LENGTH / 2) there = map;
    }
    CHECK(there != NULL && truncate(path, PAGE) == 0 && truncate(own, PAGE) == 0);
    CHECK(*(volatile unsigned char *)(data + 3 * PAGE) == 0 && bytes(there)[2 * PAGE] == 0);
    WARD_CHECK(poison(there) == PAGE && loss_at(adopted) == (range ? 3 * PAGE : PAGE));
    for (int i = 0; i < count; i++) CHECK(sigward_map_close(maps[i]) == 0);
    int fd = open(path, O_RDONLY);
    CHECK(mmap(data + LENGTH / 2, LENGTH / 2, PROT_READ, MAP_SHARED | MAP_FIXED, fd, LENGTH / 2) ==
          data + LENGTH / 2);
    CHECK(*(volatile unsigned char *)(data + 12 * PAGE) == 0 &&
          *(volatile unsigned char *)(data + 4 * PAGE) == 0);
}

/* What was met is told until it is taken, whatever becomes of the mapping. */
static void sticky(long unused) {
    const char *path = new_file("sticky", LENGTH);
    (void)unused;
    int fd = open(path, O_RDWR);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path);
    sigward_fault fault;
    CHECK(ftruncate(fd, PAGE) == 0 && data[5 * PAGE] == 0 && munmap((void *)data, LENGTH) == 0);
    fill(fd, 0, LENGTH);
    data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    WARD_CHECK(loss_at(adopted) == PAGE && sigward_adopted_verify(adopted) == -EFAULT);
    WARD_CHECK(sigward_adopted_take(adopted, &fault) == 1 && fault.offset == PAGE);
    WARD_CHECK(sigward_adopted_take(adopted, &fault) == 0 && loss_at(adopted) == INTACT);
    WARD_CHECK(sigward_adopted_verify(adopted) == 0);
    CHECK(ftruncate(fd, 2 * PAGE) == 0);
    /* Nobody has met it, and verify finds it; from then on it is told. */
    WARD_CHECK(loss_at(adopted) == INTACT && sigward_adopted_verify(adopted) == -EFAULT);
    WARD_CHECK(loss_at(adopted) == 2 * PAGE);
    CHECK(data[5 * PAGE] == 0);
}

/* With a sink a shared writable mapping is written on into private memory, so much and no more. */
static void sink(long range) {
    const char *path = new_file("sink", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED);
    sigward_adopted *adopted = range ? adopt((void *)data, LENGTH, -1, 0) : adopt_file(path);
    CHECK(sigward_adopted_sink(adopted, 3 * PAGE) == 0 && truncate(path, PAGE) == 0);
    for (int page = 5; page < 8; page++) {
        data[page * PAGE] = 77;
        CHECK(data[page * PAGE] == 77 && data[page * PAGE + 1] == 0);
    }
    WARD_CHECK(loss_at(adopted) == (range ? 5 * PAGE : PAGE) && counters().faults == 3);
}

static const struct row rows[] = {
    {"one, with its descriptor", one, 1},
    {"one, without", one, 0},
    {"written, private", written, 0},
    {"healed", healed, 0},
    {"healed, a range", healed, 1},
    {"healed beside another", healed_beside, 0},
    {"moved", moved, 0},
    {"moved, a range", moved, 1},
    {"another file since", another_since, 0},
    {"another file since, a range", another_since, 1},
    {"split", split, 0},
    {"split, a range", split, 1},
    {"whole file", whole_file, 0},
    {"before any map", before_any_map, 0},
    {"remapped", remapped, 0},
    {"reopened", reopened, 0},
    {"reopened in its place", reopened, 1},
    {"rotated", rotated, 0},
    {"rotated twice", rotated_twice, 0},
    {"a link that is switched", switched, 0},
    {"half a patch is left", half_a_patch, 0},
    {"half of it is left", half_of_it_kept, 0},
    {"beside a map of ours", beside_our_own, 0},
    {"a range beside a map of ours", beside_our_own, 1},
    {"sticky", sticky, 0},
    {"sink", sink, 0},
    {"sink, a range", sink, 1},
};

static void adopted(void) { ROWS(rows); }

/* Kernels before 6.11 have no ioctl for it: /proc/self/maps is read. */
static void old_kernel(void) {
    refuse(SYS_ioctl, ENOTTY);
}

static void adopted_on_an_old_kernel(void) {
    old_kernel();
    ROWS(rows);
}

/* The kernel is asked by a descriptor that was kept, where the process has no other left. */
static void at_the_limit(long old) {
    const char *path = new_file("limit", LENGTH);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    if (old) old_kernel();
    sigward_adopted *adopted = adopt_file(path);
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}) == 0);
    while (dup(0) >= 0) continue;
    CHECK(truncate(path, PAGE) == 0);
    for (int page = 15; page > 0; page--) CHECK(data[page * PAGE] == 0);
    WARD_CHECK(loss_of(adopted).cause == SIGWARD_CAUSE_TRUNCATED && loss_at(adopted) == PAGE);
}

static void limits(void) {
    static const struct row limits[] = {{"new kernel", at_the_limit, 0},
                                        {"old kernel", at_the_limit, 1}};
    ROWS(limits);
}

/* ---- deadly: as bare ---- */

/* A store that survives death, but not writes that go nowhere, gets its death; with the cause on
 * one line. */
static void shared_and_writable(long how) {
    const char *path = new_file("store", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | (how & 1 ? 0 : PROT_WRITE), MAP_SHARED);
    if (how & 1) { /* it gets its rights later */
        data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, open(path, O_RDWR), 0);
    }
    if (how & 2) adopt((void *)data, LENGTH, -1, 0);
    else adopt_file(path);
    if (how & 1) CHECK(mprotect((void *)data, LENGTH, PROT_READ | PROT_WRITE) == 0);
    int words = open(path_of("words"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(sigward_last_words(words) == 0 && truncate(path, PAGE) == 0);
    if (how & 4) {
        /* After the sink is full. */
        sigward_adopted *adopted = adopt_file(path);
        CHECK(sigward_adopted_sink(adopted, PAGE) == 0);
        data[4 * PAGE] = 1;
    }
    data[5 * PAGE] = 1; /* dies here */
}

/* The words are said at the death, whatever was told before. */
static void sunk_words(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    shared_and_writable(4);
}

/* Rights that the owner takes away stay away: a store is SIGSEGV, patched or not. */
static void read_only_by_now(long lost) {
    const char *path = new_file("rights", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    adopt((void *)data, LENGTH, -1, 0);
    CHECK(mprotect((void *)data, LENGTH, PROT_READ) == 0);
    if (lost && WARDED) CHECK(truncate(path, PAGE) == 0 && data[5 * PAGE] == 0);
    data[5 * PAGE] = 1; /* dies here */
}

/* The library's code is not for zeros. */
static void executable(long unused) {
    const char *path = new_file("code", LENGTH);
    (void)unused;
    volatile unsigned char *data =
        mmap(NULL, LENGTH, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(path, O_RDONLY), 0);
    adopt_file(path);
    CHECK(truncate(path, PAGE) == 0 && data[5 * PAGE] == 0); /* dies here */
}

static unsigned char *leave_stale(void) {
    int fd = nameless(LENGTH);
    void *data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    adopt(data, LENGTH, fd, 0);
    CHECK(ftruncate(fd, 0) == 0 && munmap(data, LENGTH) == 0);
    return data;
}

/* Another file takes the addresses: its fault is not ours, whether or not somebody handles it. */
static void stale_other_file(long handled) {
    unsigned char *data = leave_stale();
    int other = nameless(LENGTH);
    CHECK(mmap(data, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, other, 0) == data &&
          ftruncate(other, PAGE) == 0);
    if (handled) {
        install(SIGBUS, give_up, 0);
#ifndef BARE
        CHECK(sigward_ensure_on_top() == 0);
#endif
    }
    CHECK(data[5] == content(5));
    CHECK(data[3 * PAGE] == 0); /* dies here */
}

/* The same file, but other pages of it than were adopted. */
static void stale_other_offset(long unused) {
    const char *path = new_file("stale", LENGTH);
    int fd = open(path, O_RDWR);
    (void)unused;
    unsigned char *data = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    adopt(data, 4 * PAGE, fd, 0);
    CHECK(mmap(data, 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 8 * PAGE) == data &&
          ftruncate(fd, PAGE) == 0);
    CHECK(*(volatile unsigned char *)(data + PAGE) == 0); /* dies here */
}

/* The same pages in another mapping, while the adopted one is where it was: intact, or patched. */
static void another_of_the_file(long patched) {
    const char *path = new_file("twice", LENGTH);
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    volatile unsigned char *other = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    adopt((void *)data, LENGTH, -1, 0);
    CHECK(truncate(path, PAGE) == 0);
    if (patched && WARDED) CHECK(data[3 * PAGE] == 0);
    CHECK(other[3 * PAGE] == 0); /* dies here */
}

static void stale_unmapped(long unused) {
    (void)unused;
    unsigned char *data = leave_stale();
    CHECK(*(volatile unsigned char *)data == 0); /* SIGSEGV, as ever */
}

static void deadly(void) {
    static const struct row deadly[] = {
        {"shared and writable", shared_and_writable, 0},
        {"by now", shared_and_writable, 1},
        {"a range", shared_and_writable, 2},
        {"a range, by now", shared_and_writable, 3},
        {"its sink is full", shared_and_writable, 4},
        {"executable", executable, 0},
        {"rotated in between", rotated_twice, 1},
        {"what a link leads to by now", switched, 1},
        {"another file", stale_other_file, 0},
        {"another file, handled", stale_other_file, 1},
        {"other pages of it", stale_other_offset, 0},
        {"another mapping", another_of_the_file, 0},
        {"another mapping, patched", another_of_the_file, 1},
        {"nothing there", stale_unmapped, 0},
        {"read-only by now", read_only_by_now, 0},
        {"read-only by now, lost", read_only_by_now, 1},
    };
    ROWS(deadly);
}

/* One line, in the file of the host's choice and on stderr; none when that was asked for; once for
 * each cause. */
static void words(long how) {
    shared_and_writable(0);
    (void)how;
}

static void last_words(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    words(0);
}

static void no_last_words(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    const char *path = new_file("store", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED);
    adopt_file(path);
    CHECK(sigward_last_words(-1) == 0 && truncate(path, PAGE) == 0);
    data[5 * PAGE] = 1; /* dies here */
}

/* A descriptor whose number somebody has used again is not written to. */
static void words_to_another(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    const char *path = new_file("store", LENGTH);
    volatile unsigned char *data =
        library_maps(path, 0, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED);
    adopt_file(path);
    int words = open(path_of("words"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(sigward_last_words(words) == 0 && truncate(path, PAGE) == 0);
    int other = open(path_of("letters"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(dup2(other, words) == words);
    data[5 * PAGE] = 1; /* dies here */
}

/* ---- others' memory and descriptors. Warded only ---- */

/* Memory that came to stale addresses keeps its bytes, may be guarded in its turn, and can be let
 * go in any order. */
static void stale_memory(void) {
    unsigned char *data = leave_stale();
    CHECK(mmap(data, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) == data);
    memset(data, 0xA5, LENGTH);
    sigward_map *others[32];
    for (int i = 0; i < 32; i++) survives(others[i] = lose());
    for (int i = 0; i < LENGTH; i++) CHECK(data[i] == 0xA5);
    /* An adopted file at the addresses of a stale one. */
    int fd = nameless(LENGTH), again = nameless(LENGTH);
    unsigned char *place = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
    sigward_adopted *first = adopt(place, LENGTH, fd, 0);
    CHECK(mmap(place, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, again, 0) == place);
    sigward_adopted *second = adopt(place, LENGTH, again, 0);
    CHECK(sigward_adopted_close(first) == 0); /* must not take the second one's guard away */
    CHECK(ftruncate(again, PAGE) == 0 && *(volatile unsigned char *)(place + 3 * PAGE) == 0);
    WARD_CHECK(loss_at(second) == PAGE);
    CHECK(place[5] == content(5) && sigward_adopted_close(second) == 0);
    for (int i = 0; i < 32; i++) CHECK(sigward_map_close(others[i]) == 0);
    SAY("maps %llu\n", (unsigned long long)counters().maps);
}

/* A host that closes all descriptors, as daemons do, and opens its own: none of those is used, or
 * closed. */
static void closed_by_others(void) {
    int file = nameless(LENGTH), own[16];
    sigward_map *opened = open_map(new_file("opened", LENGTH), NULL);
    const char *path = new_file("library", LENGTH);
    void *data = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
    volatile unsigned char *theirs = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    sigward_adopted *range = adopt(data, LENGTH, file, 0), *adopted = adopt_file(path);
    CHECK(truncate(path, 8 * PAGE) == 0 && theirs[9 * PAGE] == 0);
    CHECK(syscall(SYS_close_range, 3, ~0U, 0) == 0);
    const char *secret = new_file("secret", LENGTH);
    for (int i = 0; i < 16; i++) CHECK((own[i] = open(secret, O_RDWR)) >= 0);
    /* Still guarded, and nothing is mapped that is another file's. */
    CHECK(truncate(path, PAGE) == 0 && theirs[3 * PAGE] == 0);
    CHECK(sigward_adopted_verify(adopted) == -EFAULT && sigward_adopted_heal(adopted) == -EBADF);
    CHECK(theirs[9 * PAGE] == 0 && theirs[3 * PAGE] == 0 && loss_at(adopted) == PAGE);
    CHECK(sigward_map_close(opened) == 0 && sigward_adopted_close(range) == 0 &&
          sigward_adopted_close(adopted) == 0);
    for (int i = 0; i < 16; i++) {
        if (fcntl(own[i], F_GETFD) < 0) SAY("%d was closed\n", own[i]);
    }
}

/* A thread that moves its own descriptors about all the time: a number that we have given back is
 * its own at once, and none of ours is ever believed to be still ours. */
static volatile int moving = 1;
static struct stat mover_files[4];

static void *move_descriptors(void *unused) {
    int own[4];
    struct stat now;
    (void)unused;
    for (int i = 0; i < 4; i++) {
        CHECK((own[i] = (int)syscall(SYS_memfd_create, "mover's", 0)) >= 0);
        CHECK(pwrite(own[i], "mine", 4, 0) == 4 && fstat(own[i], &mover_files[i]) == 0);
    }
    for (unsigned turn = 0; moving; turn++) {
        int numbers[8];
        for (int i = 0; i < 8; i++) CHECK((numbers[i] = dup(own[(turn + (unsigned)i) % 4])) >= 0);
        for (int i = 0; i < 8; i++) CHECK(dup2(own[i % 4], numbers[i]) == numbers[i]);
        for (int i = 0; i < 8; i++) {
            CHECK(fstat(numbers[i], &now) == 0 && now.st_ino == mover_files[i % 4].st_ino);
            CHECK(fcntl(numbers[i], F_GETFD) == 0 && close(numbers[i]) == 0);
        }
    }
    for (int i = 0; i < 4; i++) CHECK(fstat(own[i], &now) == 0 && now.st_size == 4);
    return NULL;
}

static void descriptors_on_the_move(void) {
    const char *path = new_file("moving", LENGTH);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, move_descriptors, NULL) == 0);
    for (int turn = 0; turn < 400; turn++) {
        int fd = open(path, O_RDWR);
        volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
        sigward_adopted *adopted = turn % 2 ? adopt((void *)data, LENGTH, fd, 0) : adopt_file(path);
        sigward_map *map = open_map(path, NULL);
        CHECK(sigward_adopted_verify(adopted) == 0 && sigward_map_verify(map) == 0);
        CHECK(ftruncate(fd, PAGE) == 0 && data[5 * PAGE] == 0);
        survives(map);
        fill(fd, PAGE, LENGTH);
        CHECK(sigward_adopted_heal(adopted) == 0 && sigward_map_refresh(map) == 0);
        for (int page = 0; page < 16; page++)
            CHECK(data[page * PAGE] == content((uint64_t)page * PAGE));
        holds(map, 0, 0, LENGTH);
        CHECK(sigward_map_close(map) == 0 && sigward_adopted_close(adopted) == 0);
        CHECK(munmap((void *)data, LENGTH) == 0 && close(fd) == 0);
    }
    moving = 0;
    CHECK(pthread_join(thread, NULL) == 0);
}

/* What is kept is no obstacle to anybody. */
static void unobtrusive(void) {
    const char *path = new_file("quiet", LENGTH);
    int before = descriptors();
    sigward_adopted *adopted = adopt_file(path);
    for (int fd = 3; fd < 64; fd++) {
        char link[64], name[PATH_MAX] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, name, sizeof name - 1) < 0 || strcmp(name, path) != 0) continue;
        CHECK((fcntl(fd, F_GETFL) & (O_WRONLY | O_RDWR)) == O_RDONLY);
        CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    }
    /* A lease for writing: nobody may have it open, even to read. */
    int own = open(path, O_RDWR);
    CHECK(fcntl(own, F_SETLEASE, F_WRLCK) == 0 && fcntl(own, F_SETLEASE, F_UNLCK) == 0 &&
          close(own) == 0);
    CHECK(sigward_adopted_close(adopted) == 0 && descriptors() == before);
    /* With half of the descriptors in use none is kept, and it is guarded all the same. */
    CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}) == 0);
    while (dup(0) < 40) continue;
    volatile unsigned char *data = library_maps(path, 0, LENGTH, PROT_READ, MAP_SHARED);
    before = descriptors();
    adopted = adopt_file(path);
    CHECK(descriptors() <= before + 2 && sigward_adopted_verify(adopted) == 0);
    CHECK(truncate(path, PAGE) == 0 && data[3 * PAGE] == 0 &&
          loss_of(adopted).cause == SIGWARD_CAUSE_TRUNCATED);
    int fd = open(path, O_RDWR);
    fill(fd, 0, LENGTH);
    CHECK(sigward_adopted_heal(adopted) == 0 && data[3 * PAGE] == content(3 * PAGE));
}

#ifdef BARE
static void one_event(void) {}
#else
/* A large loss is one event for its cause, and its pages are not a signal each. */
static void one_event(void) {
    enum { PAGES = 20000 };
    static sigward_event events[512];
    uint64_t cursor = 0;
    const char *path = new_file("large", PAGE);
    CHECK(truncate(path, (off_t)PAGES * PAGE) == 0);
    volatile unsigned char *data =
        library_maps(path, 0, (size_t)PAGES * PAGE, PROT_READ, MAP_SHARED);
    sigward_adopted *adopted = adopt_file(path), *again = adopt_file(path);
    CHECK(truncate(path, 0) == 0);
    for (unsigned i = 0, page = 1; i < PAGES; i++, page = page * 7 % 20011)
        CHECK(data[page % PAGES * PAGE] == 0);
    CHECK(sigward_read_events(&cursor, events, 512) == 1 &&
          events[0].cause == SIGWARD_CAUSE_TRUNCATED);
    CHECK(counters().faults < 2000 && loss_at(adopted) == 0 && loss_at(again) == 0);
    CHECK(sigward_adopted_take(adopted, NULL) == 1 && loss_at(adopted) == INTACT &&
          loss_at(again) == 0);
    data = library_maps(path, 0, PAGE, PROT_READ, MAP_SHARED);
    CHECK(data[0] == 0 && loss_at(adopted) == 0 && sigward_read_events(&cursor, events, 512) == 1);
}
#endif

SCENARIOS({"adopted", adopted}, {"adopted_on_an_old_kernel", adopted_on_an_old_kernel},
          {"limits", limits}, {"deadly", deadly}, {"last_words", last_words},
          {"sunk_words", sunk_words}, {"no_last_words", no_last_words},
          {"words_to_another", words_to_another}, {"stale_memory", stale_memory},
          {"closed_by_others", closed_by_others},
          {"descriptors_on_the_move", descriptors_on_the_move}, {"unobtrusive", unobtrusive},
          {"one_event", one_event})
