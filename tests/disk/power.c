/* A power failure after every write of the disk. "work" changes files on the disk of device.c and
 * notes what was acknowledged, and after how many writes; "play" makes the disk anew as it was at
 * some write, mounts it, and looks whether all is there that was acknowledged until then. Between
 * two flushes a disk keeps its writes in any order: some of them are left out, or torn.
 * Bare: as programs do that forget fsync(2). */
#include "host.h"
#include "device.h"
#include "disk.h"
#include <dirent.h>
#include <linux/loop.h>
#include <sys/mount.h>

enum { LOG, LIVE, FRESH, MAPPED, RESERVED, KINDS };
static const char *const names[] = {"log", "live", "fresh", "mapped", "reserved"};
enum { PAGES = 8, STEP = 64 << 10, MOST_WORDS = 1500, RECORDS = 3 };

struct note {
    uint64_t kept, kind, value; /* all up to this one is acknowledged */
};

/* Of each generation of each file every word is known. */
static uint64_t word(uint64_t generation, uint64_t at) {
    uint64_t mixed = (generation << 32 | at) * 0x9e3779b97f4a7c15;
    return at == 0 ? generation : mixed ^ mixed >> 29;
}
static size_t words_of(uint64_t generation) { return 1 + generation * 379 % (MOST_WORDS - 1); }
static size_t words_of_record(uint64_t number) { return 1 + number * 37 % 90; }

static const uint64_t *made(uint64_t generation, size_t words) {
    static uint64_t buffer[MOST_WORDS];
    for (size_t at = 0; at < words; at++) buffer[at] = word(generation, at);
    return buffer;
}

static const char *fresh_name(uint64_t generation) {
    static char name[32];
    snprintf(name, sizeof name, "fresh-%llu", (unsigned long long)generation);
    return path_of(name);
}

static int opened(const char *name) {
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    return fd;
}

/* ---- what is done */

static struct control *control;
static int notes;

static void acknowledged(uint64_t kind, uint64_t value) {
    struct note note = {__atomic_load_n(&control->kept, __ATOMIC_SEQ_CST), kind, value};
    CHECK(write(notes, &note, sizeof note) == sizeof note);
}

static void put_file(const char *path, uint64_t generation) {
    size_t length = words_of(generation) * 8;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, made(generation, words_of(generation)), length) == (ssize_t)length);
    close(fd);
}

/* Both ends of each page. */
static void stamp(uint64_t *words, size_t length, uint64_t generation) {
    for (size_t at = 0; at < length / 8; at += PAGE / 8)
        words[at] = words[at + PAGE / 8 - 1] = generation;
}

#ifdef BARE
static int log_fd, map_fd;

static void begin(void) {
    log_fd = open(path_of("log"), O_RDWR | O_CREAT | O_APPEND, 0644);
    map_fd = opened("mapped");
}
static void append(const void *record, size_t length) {
    CHECK(write(log_fd, record, length) == (ssize_t)length);
}
static void flush_log(void) {}
static void replace(uint64_t generation) {
    put_file(path_of("live.new"), generation);
    CHECK(rename(path_of("live.new"), path_of("live")) == 0);
}
static void copy(uint64_t generation) {
    put_file(path_of("source"), generation);
    CHECK(rename(path_of("source"), fresh_name(generation)) == 0);
}
static void store(uint64_t generation) {
    size_t length = (PAGES + generation) * PAGE;
    CHECK(ftruncate(map_fd, (off_t)length) == 0);
    uint64_t *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
    CHECK(map != MAP_FAILED);
    stamp(map, length, generation);
    CHECK(munmap(map, length) == 0);
}
static void reserve(int fd, uint64_t generation) {
    CHECK(posix_fallocate(fd, 0, (off_t)((generation + 1) * STEP)) == 0);
    CHECK(pwrite(fd, made(generation, 64), 512, (off_t)(generation * STEP)) == 512);
}
#else
/* One kind of flush does nothing: what it is for is lost then, or it were superfluous. */
static bool forgets(const char *what) {
    const char *forgotten = getenv("FORGET");
    return forgotten && strcmp(forgotten, what) == 0;
}
int fsync(int fd) {
    struct stat status;
    if (fstat(fd, &status) == 0 && forgets(S_ISDIR(status.st_mode) ? "folder" : "file")) return 0;
    return (int)syscall(SYS_fsync, fd);
}
int fdatasync(int fd) { return forgets("data") ? 0 : (int)syscall(SYS_fdatasync, fd); }
int msync(void *start, size_t length, int flags) {
    return forgets("map") ? 0 : (int)syscall(SYS_msync, start, length, flags);
}

static sigward_log *our_log;
static sigward_map *map;

static void begin(void) {
    sigward_log_options small = {.size = sizeof small, .step = 16 << 10};
    sigward_map_options growing = {.size = sizeof growing, .writable = 1, .capacity = 8 << 20};
    CHECK(sigward_log_open(path_of("log"), &small, NULL, &our_log) == 0);
    CHECK(sigward_map_open(path_of("mapped"), &growing, &map) == 0);
}
static void append(const void *record, size_t length) {
    CHECK(sigward_log_append(our_log, record, length, NULL) == 0);
}
static void flush_log(void) { CHECK(sigward_log_flush(our_log, NULL) == 0); }
static void replace(uint64_t generation) {
    sigward_replacement *new;
    size_t length = words_of(generation) * 8;
    CHECK(sigward_replacement_open(path_of("live"), NULL, &new) == 0);
    const uint64_t *words = made(generation, words_of(generation));
    CHECK(sigward_replacement_write(new, words, length) == (ssize_t)length);
    CHECK(sigward_replacement_commit(new) == 0);
}
static void copy(uint64_t generation) {
    put_file(path_of("source"), generation);
    CHECK(sigward_replace_file(path_of("source"), fresh_name(generation)) == 0);
}
static void store(uint64_t generation) {
    size_t length = (PAGES + generation) * PAGE;
    CHECK(sigward_map_grow(map, length) == 0);
    stamp((uint64_t *)sigward_map_data(map), length, generation);
    CHECK(sigward_map_flush(map) == 0);
}
static void reserve(int fd, uint64_t generation) {
    CHECK(sigward_reserve(fd, 0, (generation + 1) * STEP) >= 0);
    CHECK(pwrite(fd, made(generation, 64), 512, (off_t)(generation * STEP)) == 512);
    CHECK(syscall(SYS_fsync, fd) == 0);
}
#endif

/* work FOLDER CONTROL NOTES ROUNDS */
static void work(void) {
    uint64_t rounds = strtoull(arguments[3], NULL, 10), records = 0;
    CHECK((control = control_of(arguments[1])) != NULL);
    CHECK((notes = open(arguments[2], O_WRONLY | O_CREAT | O_APPEND, 0600)) >= 0);
    int reserved = opened("reserved"), root = open(arguments[0], O_RDONLY);
    close(opened("mapped"));
    CHECK(syncfs(root) == 0);
    begin();
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < RECORDS; i++, records++) {
            size_t words = words_of_record(records);
            append(made(records, words), words * 8);
        }
        flush_log();
        acknowledged(LOG, records);
        replace(round);
        acknowledged(LIVE, round);
        if (round % 2 == 0) {
            copy(round);
            acknowledged(FRESH, round);
        }
        store(round);
        acknowledged(MAPPED, round);
        reserve(reserved, round);
        acknowledged(RESERVED, round);
    }
    CHECK(syncfs(root) == 0); /* a careless program's files get there some time */
}

/* ---- what is there */

static unsigned lost[KINDS], mixed[KINDS];
static int point, variant;

static void found(unsigned *count, uint64_t kind, const char *what, int64_t wanted, int64_t is) {
    if (count[kind]++ == 0)
        fprintf(stderr, "point %d.%d: %s: %s: wanted %lld, is %lld\n", point, variant, names[kind],
                what, (long long)wanted, (long long)is);
}

/* The generation of a file that is whole; -1: there is none, -2: half of one. */
static int64_t generation_of(const char *path) {
    static uint64_t buffer[MOST_WORDS + 1];
    int fd = open(path, O_RDONLY);
    if (fd < 0) return -1;
    ssize_t got = read(fd, buffer, sizeof buffer);
    close(fd);
    if (got < 8 || buffer[0] > 1 << 20 || (size_t)got != words_of(buffer[0]) * 8) return -2;
    const uint64_t *words = made(buffer[0], words_of(buffer[0]));
    return memcmp(buffer, words, (size_t)got) == 0 ? (int64_t)buffer[0] : -2;
}

/* How many records are there, in order; -2: others than were appended. */
#ifdef BARE
static int64_t records_there(void) {
    static uint64_t buffer[MOST_WORDS];
    int64_t number = 0;
    int fd = open(path_of("log"), O_RDONLY);
    if (fd < 0) return 0;
    for (;; number++) {
        size_t length = words_of_record((uint64_t)number) * 8;
        if (read(fd, buffer, length) != (ssize_t)length) break;
        if (memcmp(buffer, made((uint64_t)number, length / 8), length) != 0) break;
    }
    close(fd);
    return number;
}
#else
static int64_t records_read(void) {
    static uint64_t buffer[MOST_WORDS];
    sigward_log_reader *reader;
    int64_t number = 0;
    int status = sigward_log_reader_open(path_of("log"), &reader);
    if (status == -ENOENT || status == -ENODATA) return 0;
    if (status != 0) return -2;
    for (;; number++) {
        size_t length = words_of_record((uint64_t)number) * 8;
        ssize_t got = sigward_log_reader_next(reader, buffer, sizeof buffer, NULL);
        if (got == -EAGAIN) break;
        const uint64_t *wanted = made((uint64_t)number, length / 8);
        if (got == (ssize_t)length && memcmp(buffer, wanted, length) == 0) continue;
        number = -3;
        break;
    }
    sigward_log_reader_close(reader);
    return number;
}

/* As its reader finds it, and as its writer does, who goes on. */
static int64_t records_there(void) {
    sigward_log *again;
    int64_t before = records_read();
    sigward_log_options small = {.size = sizeof small, .step = 16 << 10};
    sigward_log_recovery recovery;
    if (before < 0) return before;
    int status = sigward_log_open(path_of("log"), &small, &recovery, &again);
    if (status != 0) return status;
    if (recovery.records != (uint64_t)before) return -4;
    size_t length = words_of_record((uint64_t)before) * 8;
    CHECK(sigward_log_append(again, made((uint64_t)before, length / 8), length, NULL) == 0);
    CHECK(sigward_log_close(again) == 0);
    return records_read() == before + 1 ? before : -5;
}
#endif

static void check_map(int64_t wanted) {
    struct stat status;
    uint64_t ends[2];
    if (wanted < 0) return;
    int fd = open(path_of("mapped"), O_RDONLY);
    if (fd < 0 || fstat(fd, &status) != 0) return found(lost, MAPPED, "file", wanted, -1);
    for (int64_t page = 0; page < PAGES + wanted; page++) {
        bool there = pread(fd, &ends[0], 8, (off_t)(page * (int64_t)PAGE)) == 8 &&
                     pread(fd, &ends[1], 8, (off_t)((page + 1) * (int64_t)PAGE - 8)) == 8;
        if (!there) found(lost, MAPPED, "length", (PAGES + wanted) * (int64_t)PAGE, status.st_size);
        else if ((int64_t)ends[0] < wanted || (int64_t)ends[1] < wanted)
            found(lost, MAPPED, "page", wanted, (int64_t)(ends[0] < ends[1] ? ends[0] : ends[1]));
    }
    close(fd);
}

static void check_reserved(int64_t wanted) {
    struct stat status;
    char block[512];
    if (wanted < 0) return;
    int fd = open(path_of("reserved"), O_RDONLY);
    int64_t length = (wanted + 1) * STEP;
    if (fd < 0 || fstat(fd, &status) != 0) return found(lost, RESERVED, "file", wanted, -1);
    if (status.st_size < length) found(lost, RESERVED, "length", length, status.st_size);
    if (status.st_blocks * 512 < length)
        found(lost, RESERVED, "blocks", length, status.st_blocks * 512);
    for (int64_t at = 0; at <= wanted; at++)
        if (pread(fd, block, 512, (off_t)(at * STEP)) != 512 ||
            memcmp(block, made((uint64_t)at, 64), 512) != 0)
            found(lost, RESERVED, "bytes", wanted, at);
    close(fd);
}

static void check(const int64_t *wanted) {
    int64_t there = generation_of(path_of("live"));
    if (there == -2) found(mixed, LIVE, "half", wanted[LIVE], there);
    else if (there < wanted[LIVE]) found(lost, LIVE, "old", wanted[LIVE], there);
    for (int64_t at = 0; at <= wanted[FRESH] + 2; at += 2) {
        there = generation_of(fresh_name((uint64_t)at));
        if (there == -2) found(mixed, FRESH, "half", at, there);
        else if (there != at && at <= wanted[FRESH]) found(lost, FRESH, "none", at, there);
    }
    check_map(wanted[MAPPED]);
    check_reserved(wanted[RESERVED]);
    there = records_there();
    if (there < 0) found(mixed, LOG, "damaged", wanted[LOG], there);
    else if (there < wanted[LOG]) found(lost, LOG, "records", wanted[LOG], there);
#ifndef BARE
    /* The next replacement of a file takes away what one has left that the failure has met. */
    replace(1);
    copy((uint64_t)(wanted[FRESH] < 0 ? 0 : wanted[FRESH] + 2));
    DIR *folder = opendir(arguments[0]);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (strncmp(entry->d_name, ".sigward-", 9) == 0) found(mixed, LIVE, entry->d_name, 0, 0);
    closedir(folder);
#endif
}

/* ---- the disk, played back */

struct disk {
    int fd;
    char *bytes;
};
static uint64_t size;

static struct disk new_disk(const char *name) {
    struct disk disk = {memfd_create(name, MFD_CLOEXEC), NULL};
    CHECK(disk.fd >= 0 && ftruncate(disk.fd, (off_t)size) == 0);
    disk.bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, disk.fd, 0);
    CHECK(disk.bytes != MAP_FAILED);
    return disk;
}

static void take_over(const struct disk *to, int from) {
    static char block[4096], zeros[4096];
    CHECK(fallocate(to->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0);
    for (off_t at = 0; (at = lseek(from, at, SEEK_DATA)) >= 0;) {
        off_t end = lseek(from, at, SEEK_HOLE);
        for (; at < end; at += (off_t)sizeof block) {
            CHECK(pread(from, block, sizeof block, at) == sizeof block);
            if (memcmp(block, zeros, sizeof block) == 0) continue;
            memcpy(to->bytes + at, block, sizeof block);
        }
    }
}

/* Ends with this process, whatever ends it. */
static int loop_of(int disk, char *path, size_t room) {
    struct loop_config config = {.fd = (uint32_t)disk, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int all = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    CHECK(all >= 0);
    for (;;) {
        int number = ioctl(all, LOOP_CTL_GET_FREE);
        CHECK(number >= 0);
        snprintf(path, room, "/dev/loop%d", number);
        int loop = open(path, O_RDWR | O_CLOEXEC);
        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0) return loop;
        CHECK(errno == EBUSY || errno == ENXIO || errno == ENOENT); /* somebody else was faster */
        if (loop >= 0) close(loop);
    }
}

static uint64_t next_random(void) {
    static uint64_t state;
    if (state == 0) state = strtoull(arguments[8], NULL, 10) * 2 + 1;
    state = state * 6364136223846793005 + 1442695040888963407;
    return state >> 33;
}

enum { NONE, SOME, WHOLE };

/* All of a write, none of it, or some of its blocks: today's disks tear none of 4 KiB. */
static void put(const struct disk *to, const struct entry *entry, uint64_t how) {
    const char *from = (const char *)(entry + 1);
    uint64_t end = entry->offset + entry->length, next;
    for (uint64_t at = entry->offset; how != NONE && at < end; from += next - at, at = next) {
        next = (at / PAGE + 1) * PAGE < end ? (at / PAGE + 1) * PAGE : end;
        if (how == WHOLE || next_random() % 2) memcpy(to->bytes + at, from, next - at);
    }
}

enum { MOST_NOTES = 10000, MOST_ENTRIES = 200000 };
static struct note told[MOST_NOTES];
static const struct entry *entries[MOST_ENTRIES];
static int number_told, total;

static void load(const char *record, const char *said) {
    struct stat status;
    int fd = open(said, O_RDONLY);
    ssize_t got = read(fd, told, sizeof told);
    CHECK(got > 0 && got % (ssize_t)sizeof *told == 0);
    number_told = (int)(got / (ssize_t)sizeof *told);
    CHECK((fd = open(record, O_RDONLY)) >= 0 && fstat(fd, &status) == 0);
    const char *kept = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(kept != MAP_FAILED);
    for (const char *at = kept; at < kept + status.st_size; total++) {
        CHECK(total < MOST_ENTRIES);
        entries[total] = (const void *)at;
        at += sizeof(struct entry) + entries[total]->length;
    }
}

/* What was acknowledged until then is there on this disk. */
static void examine(const char *device) {
    int64_t wanted[KINDS] = {0, -1, -1, -1, -1};
    const char *folder = arguments[0], *type = arguments[1];
    for (int i = 0; i < number_told && told[i].kept <= (uint64_t)point; i++)
        wanted[told[i].kind] = (int64_t)told[i].value;
    if (mount(device, folder, type, MS_NOATIME, NULL) != 0) {
        fprintf(stderr, "point %d.%d: no mount: %s\n", point, variant, strerror(errno));
        _exit(96);
    }
    check(wanted);
    CHECK(umount2(folder, 0) == 0);
}

/* play FOLDER TYPE BASE RECORD NOTES FIRST STEP VARIANTS SEED */
static void play(void) {
    char device[64];
    struct stat status;
    int base = open(arguments[2], O_RDONLY), flushed = 0, trials = 0, points = 0;
    int first = atoi(arguments[5]), step = atoi(arguments[6]), variants = atoi(arguments[7]);
    CHECK(base >= 0 && fstat(base, &status) == 0);
    size = (uint64_t)status.st_size;
    struct disk durable = new_disk("durable"), trial = new_disk("trial");
    take_over(&durable, base);
    load(arguments[3], arguments[4]);
    int loop = loop_of(trial.fd, device, sizeof device);
    for (point = 0; point <= total; point++) {
        /* What has gone before a flush is there for good. */
        if (point > 0 && entries[point - 1]->kind == ENTRY_FLUSH)
            for (; flushed < point; flushed++) put(&durable, entries[flushed], WHOLE);
        if (point < first || (point - first) % step != 0) continue;
        if ((uint64_t)point < told[0].kept) continue;
        points++;
        for (variant = 0; variant <= (point > flushed ? variants : 0); variant++, trials++) {
            take_over(&trial, durable.fd);
            for (int at = flushed; at < point; at++)
                put(&trial, entries[at], variant > 0 ? next_random() % 3 : WHOLE);
            CHECK(ioctl(loop, BLKFLSBUF, 0) == 0);
            examine(device);
        }
    }
    unsigned all = 0;
    SAY("%d points, %d trials, %d writes: lost", points, trials, total);
    for (int i = 0; i < KINDS; i++) {
        SAY(" %s %u", names[i], lost[i]);
        all += lost[i] + mixed[i];
    }
    SAY("\n%s\n", all == 0 ? "all there" : "lost");
}

SCENARIOS({"work", work}, {"play", play})
