// What it costs to read a tail that is gone, and to have maps guarded at all.
//
// A tail of 8 MiB is cut off and then read page by page. A guarded map is patched once for all of
// it; the handler that most programs write by themselves maps one page of zeros for each fault.
// Nobody's figure counts unless the number of signals and the bytes are what they must be.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "sigward.h"

enum { PAGE = 4096, TAIL = 8 << 20, LENGTH = PAGE + TAIL };

static char path[4096];
static int file = -1;

static void make_file(const char *folder) {
    check((size_t)snprintf(path, sizeof path, "%s/tail", folder) < sizeof path,
          "the folder's name is too long");
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0, "open");
}

// Whole again: every page has a 1 in it.
static void fill(void) {
    static unsigned char ones[TAIL];
    memset(ones, 1, sizeof ones);
    check(pwrite(file, ones, TAIL, 0) == TAIL && pwrite(file, ones, PAGE, TAIL) == PAGE, "pwrite");
}

static uint64_t faults(void) {
    sigward_counters now;
    check(sigward_read_counters(&now) == 0, "counters");
    return now.faults;
}

// One byte of every page of the tail.
static uint64_t read_tail(const volatile unsigned char *data) {
    unsigned sum = 0;
    check(ftruncate(file, PAGE) == 0, "ftruncate");
    uint64_t start = now_ns();
    for (size_t at = PAGE; at < LENGTH; at += PAGE) sum += data[at];
    uint64_t took = now_ns() - start;
    check(sum == 0 && data[0] == 1, "the tail is not zeros");
    return took;
}

// ---- guarded ------------------------------------------------------------------------------------

static sigward_map *map;

static void guard(void) {
    fill();
    check(sigward_map_open(path, NULL, &map) == 0 && sigward_map_len(map) == LENGTH,
          "sigward_map_open");
}

static uint64_t guarded_tail(unsigned count) {
    uint64_t took = 0;
    for (unsigned i = 0; i < count; i++) {
        sigward_fault fault;
        uint64_t before = faults();
        took += read_tail(sigward_map_data(map));
        check(faults() - before == 1, "not one signal for one truncation");
        check(sigward_map_status(map, &fault) == 1 && fault.offset == PAGE && fault.len_now == PAGE,
              "another fault");
        fill();
        check(sigward_map_refresh(map) == 0 && sigward_map_status(map, &fault) == 0,
              "sigward_map_refresh");
    }
    return took;
}

// ---- page by page -------------------------------------------------------------------------------

static volatile unsigned caught;
static unsigned char *plain;

static void patch_page(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    void *page = (void *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1));
    if (mmap(page, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        _exit(1);
    caught++;
}

static void patch_by_page(void) {
    struct sigaction action = {.sa_sigaction = patch_page,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    check(sigaction(SIGBUS, &action, NULL) == 0, "sigaction");
}

static uint64_t patched_tail(unsigned count) {
    uint64_t took = 0;
    for (unsigned i = 0; i < count; i++) {
        fill();
        plain = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
        check(plain != MAP_FAILED, "mmap");
        caught = 0;
        took += read_tail(plain);
        check(caught == TAIL / PAGE, "not one signal for each page");
        check(munmap(plain, LENGTH) == 0, "munmap");
    }
    return took;
}

// ---- registration -------------------------------------------------------------------------------

static uint64_t registered(void) {
    sigward_counters now;
    check(sigward_read_counters(&now) == 0, "counters");
    return now.maps;
}

static void one_plain(void) {
    fill();
    plain = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
    check(plain != MAP_FAILED, "mmap");
    // The first one sets up what all share.
    check(sigward_map_open(path, NULL, &map) == 0 && registered() == 1, "sigward_map_open");
    check(sigward_map_close(map) == 0 && registered() == 0, "sigward_map_close");
}

// The first adopted file of a process opens what the others use as well, the last one closes it: so
// one more stays.
static void one_plain_beside_another(void) {
    one_plain();
    sigward_adopted *other;
    check(sigward_adopt_file(path, &other) == 0, "sigward_adopt_file");
}

static uint64_t adopt_close(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        sigward_adopted *adopted;
        check(sigward_adopt_file(path, &adopted) == 0, "sigward_adopt_file");
        check(sigward_adopted_close(adopted) == 0, "sigward_adopted_close");
    }
    uint64_t took = now_ns() - start;
    check(registered() == 1, "adopted files are left");
    return took;
}

// Files that nobody has adopted yet, or all but the last ones of them.
enum { FILES = 10000, LAST = 50 };

static const char *name_of(unsigned number) {
    static char name[sizeof path + 16];
    snprintf(name, sizeof name, "%s.%u", path, number);
    return name;
}

static void make_files(void) {
    for (unsigned i = 0; i < FILES; i++) {
        int made = open(name_of(i), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        check(made >= 0 && ftruncate(made, PAGE) == 0 && close(made) == 0, "a file to adopt");
    }
}

static void remove_files(void) {
    for (unsigned i = 0; i < FILES; i++) check(unlink(name_of(i)) == 0, "unlink");
}

static void adopt(unsigned number, sigward_adopted **adopted) {
    check(sigward_adopt_file(name_of(number), adopted) == 0, "sigward_adopt_file");
}

static void first_adopted(void) {
    sigward_adopted *stays;
    adopt(0, &stays);
}

static void most_adopted(void) {
    sigward_adopted *stays;
    for (unsigned i = 0; i < FILES - LAST; i++) adopt(i, &stays);
}

static uint64_t adopt_last(unsigned count) {
    static sigward_adopted *adopted[LAST];
    check(count <= LAST, "too many at once");
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) adopt(FILES - LAST + i, &adopted[i]);
    uint64_t took = now_ns() - start;
    for (unsigned i = 0; i < count; i++) check(sigward_adopted_close(adopted[i]) == 0, "close");
    return took;
}

static void nothing(void) {}

static uint64_t ten_microseconds(unsigned count) { return count * UINT64_C(10000); }

static uint64_t mmap_munmap(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        void *mapped = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
        check(mapped != MAP_FAILED && munmap(mapped, LENGTH) == 0, "mmap");
    }
    return now_ns() - start;
}

static uint64_t open_close(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        check(sigward_map_open(path, NULL, &map) == 0, "sigward_map_open");
        check(sigward_map_close(map) == 0, "sigward_map_close");
    }
    return now_ns() - start;
}

// What everybody does who maps a file.
static uint64_t plain_open_close(unsigned count) {
    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        check(fd >= 0 && fstat(fd, &status) == 0, "open");
        void *mapped = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
        check(mapped != MAP_FAILED && munmap(mapped, (size_t)status.st_size) == 0 && close(fd) == 0,
              "mmap");
    }
    return now_ns() - start;
}

// What guarding adds to that: the one less the other, in turns.
static uint64_t added(unsigned count) {
    enum { TURN = 20 };
    uint64_t ours = 0, by_hand = 0;
    check(count % TURN == 0, "batches are whole turns");
    for (unsigned i = 0; i < count; i += TURN) {
        ours += open_close(TURN);
        by_hand += plain_open_close(TURN);
    }
    return ours > by_hand ? ours - by_hand : 0;
}

int main(int argc, char **argv) {
    check(argc == 2, "usage: lost FOLDER");
    prepare(argv);
    make_file(argv[1]);
    make_files();
    const struct row rows[] = {
        {"lost tail of 8 MiB: guarded / by page",
         {guard, guarded_tail},
         {patch_by_page, patched_tail},
         1,
         10,
         10,
         "0.1"},
        {"adopt_file + close / by hand",
         {one_plain_beside_another, adopt_close},
         {one_plain, plain_open_close},
         200,
         20,
         20,
         "-"},
        {"adopt_file, the 10,000th / the 1st",
         {most_adopted, adopt_last},
         {first_adopted, adopt_last},
         LAST,
         40,
         4,
         "1.2"},
        {"adopt_file, the 10,000th / 10 us",
         {most_adopted, adopt_last},
         {nothing, ten_microseconds},
         LAST,
         40,
         4,
         "1"},
        {"map_open + close / by hand",
         {one_plain, open_close},
         {one_plain, plain_open_close},
         200,
         20,
         20,
         "-"},
        {"what that adds / mmap + munmap",
         {one_plain, added},
         {one_plain, mmap_munmap},
         400,
         20,
         20,
         "0.1"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) measure(&rows[i]);
    remove_files();
    check(unlink(path) == 0, "unlink");
    return 0;
}
