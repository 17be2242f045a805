/* Two things at once at one log: openers beside openers that are killed, a reader beside writers
 * that die and recover, a reader beside flushes that fail, a fork beside appends. The first
 * argument is a folder. Bare: a log as people write it, without a lock, that believes the length
 * it finds and asks again after a failed flush. */
#include "disk.h"
#include "device.h"
#include "records.h"
#include <sched.h>

/* What the processes of a scenario have in common. */
struct shared {
    _Atomic uint64_t appended, flushed; /* records that were acknowledged */
    _Atomic uint64_t writer;            /* the process that has the log */
    _Atomic uint64_t opened, busy;
    _Atomic uint64_t end; /* enough was done */
};
static struct shared *shared;
static struct control *control;

static void begin(void) {
    shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
}

/* Which moments there are does not depend on when the test runs. */
static uint64_t below(uint64_t limit) {
    static uint64_t state = 0x2545f4914f6cdd1d;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (state >> 11) % limit;
}

#ifdef BARE
/* Which moments are met is luck, with one processor above all: as long as it takes. */
enum { until_it_fails = true };
typedef struct {
    int fd;
    uint64_t at;
} sigward_log;
typedef struct {
    int fd;
    uint64_t at;
} sigward_log_reader;
typedef struct { uint64_t records; } sigward_log_recovery;

static ssize_t sigward_log_reader_next(sigward_log_reader *reader, void *to, size_t room,
                                       uint64_t *position) {
    uint64_t length;
    if (pread(reader->fd, &length, 8, (off_t)reader->at) != 8) return -EAGAIN;
    if (length > room) return -EAGAIN;
    if (pread(reader->fd, to, length, (off_t)reader->at + 8) != (ssize_t)length) return -EAGAIN;
    if (position) *position = reader->at;
    reader->at += 8 + length;
    return (ssize_t)length;
}

static int sigward_log_reader_open(const char *path, sigward_log_reader **to) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    *to = calloc(1, sizeof **to);
    (*to)->fd = fd;
    return 0;
}

static int sigward_log_reader_close(sigward_log_reader *reader) { return close(reader->fd); }

static int sigward_log_reader_durable(sigward_log_reader *reader, uint64_t *durable) {
    *durable = reader->at;
    return 0;
}

static int open_log(const char *path, sigward_log_recovery *found, sigward_log **to) {
    unsigned char room[2048];
    *to = calloc(1, sizeof **to);
    sigward_log_reader reader = {(*to)->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644), 0};
    CHECK(reader.fd >= 0);
    found->records = 0;
    while (sigward_log_reader_next(&reader, room, sizeof room, NULL) >= 0) found->records++;
    (*to)->at = reader.at;
    return 0;
}

static int sigward_log_append(sigward_log *log, const void *record, size_t length,
                              uint64_t *position) {
    if (pwrite(log->fd, &length, 8, (off_t)log->at) != 8) return -errno;
    if (pwrite(log->fd, record, length, (off_t)log->at + 8) != (ssize_t)length) return -errno;
    if (position) *position = log->at;
    log->at += 8 + length;
    return 0;
}

static int sigward_log_flush(sigward_log *log, uint64_t *durable) {
    if (durable) *durable = log->at;
    return fdatasync(log->fd) == 0 ? 0 : -errno;
}

static int sigward_log_close(sigward_log *log) { return close(log->fd); }
static size_t end_of(const sigward_log *log) { return log->at; }
#else
enum { until_it_fails = false };
static size_t end_of(const sigward_log *log) { return sigward_log_end(log); }

/* Everything is tried twice: with SIGBUS guarded, through a map, and else without one. */
static bool guarded(void) { return getenv("SIGWARD_TEST_LOG_MAPPED") != NULL; }

__attribute__((constructor)) static void guard(void) {
    if (guarded()) CHECK(sigward_sigbus_guard() == 0);
}

static int open_log(const char *path, sigward_log_recovery *found, sigward_log **to) {
    sigward_log_options options = {.size = sizeof options, .step = 64 << 10, .slow_zeros = 1};
    int status = sigward_log_open(path, &options, found, to);
    CHECK(status != 0 || found->mapped == guarded());
    return status;
}
#endif

static int append(sigward_log *log, uint64_t number) {
    unsigned char record[512];
    return sigward_log_append(log, record, make(record, number), NULL);
}

static uint64_t count(const char *path) {
    sigward_log_reader *reader;
    unsigned char room[512];
    uint64_t number = 0;
    ssize_t length;
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    while ((length = sigward_log_reader_next(reader, room, sizeof room, NULL)) != -EAGAIN) {
        CHECK(length >= 0 && is_record(room, (size_t)length, number));
        number++;
    }
    CHECK(sigward_log_reader_close(reader) == 0);
    return number;
}

/* Opens, appends some, flushes, closes or does not, for ever: until somebody kills it. */
static void work(const char *path) {
    for (;;) {
        sigward_log_recovery found;
        sigward_log *log;
        int status = open_log(path, &found, &log);
        CHECK(status == 0 || status == -EBUSY);
        if (status == -EBUSY) {
            shared->busy++;
            usleep(50);
            continue;
        }
        shared->writer = (uint64_t)getpid();
        /* One that was under way may be there, too. */
        uint64_t number = shared->appended;
        CHECK(found.records == number || found.records == number + 1);
        shared->appended = number = found.records;
        shared->opened++;
        for (uint64_t end = number + below(60); number < end;) {
            CHECK(append(log, number) == 0 && shared->writer == (uint64_t)getpid());
            shared->appended = ++number;
            if (below(20) != 0) continue;
            CHECK(sigward_log_flush(log, NULL) == 0 && shared->writer == (uint64_t)getpid());
            shared->flushed = number;
        }
        CHECK(shared->writer == (uint64_t)getpid() && sigward_log_close(log) == 0);
    }
}

static pid_t start(const char *path) {
    below(2); /* each child goes its own way */
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child > 0) return child;
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
    work(path);
    _exit(98);
}

/* That it was killed, and did not end by itself. */
static void stop(pid_t child) {
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Until somebody has opened it again. A child that has ended has failed. */
static void wait_for_opening(uint64_t before) {
    while (shared->opened == before) {
        CHECK(waitpid(-1, NULL, WNOHANG) == 0);
        usleep(100);
    }
}

/* At another moment each time, within this many microseconds. */
static void wait_a_while(uint64_t most) {
    struct timespec pause = {0, (long)(1000 * below(most))};
    nanosleep(&pause, NULL);
}

/* openers FOLDER ROUNDS: each round begins with no file. */
static void openers(void) {
    enum { OPENERS = 4, KILLS = 12 };
    uint64_t rounds = strtoull(arguments[1], NULL, 10);
    char path[PATH_MAX];
    if (until_it_fails) rounds = UINT64_MAX;
    snprintf(path, sizeof path, "%s", path_of("openers"));
    begin();
    for (uint64_t round = 0; round < rounds; round++) {
        struct stat first = {.st_ino = 0}, now;
        pid_t children[OPENERS];
        unlink(path);
        shared->appended = shared->flushed = shared->opened = 0;
        for (int i = 0; i < OPENERS; i++) children[i] = start(path);
        for (int killed = 0; killed < KILLS; killed++) {
            wait_a_while(killed < KILLS / 2 ? 400 : 4000); /* also while they make it */
            /* Who is killed is often the one that has it. */
            uint64_t victim = below(OPENERS);
            for (uint64_t i = 0; i < OPENERS && killed % 2; i++)
                if ((uint64_t)children[i] == shared->writer) victim = i;
            stop(children[victim]);
            children[victim] = start(path);
            /* Nobody takes away what somebody has begun. */
            bool is_there = stat(path, &now) == 0;
            CHECK(is_there || first.st_ino == 0);
            CHECK(first.st_ino == 0 || first.st_ino == now.st_ino);
            if (is_there) first = now;
        }
        wait_for_opening(0);
        wait_for_opening(1);
        for (int i = 0; i < OPENERS; i++) stop(children[i]);
        uint64_t found = count(path);
        CHECK(found == shared->appended || found == shared->appended + 1);
        CHECK(found >= shared->flushed);
    }
    SAY("whole\n");
}

/* A reader that remembers what it has seen, and where. */
static void follow(const char *path, int until) {
    static uint64_t positions[1 << 18];
    sigward_log_reader *reader;
    unsigned char room[512];
    uint64_t seen = 0, durable = 0, now, position, behind = 0;
    char byte;
    bool is_last = false;
    while (sigward_log_reader_open(path, &reader) != 0) usleep(100);
    for (;;) {
        uint64_t flushed = shared->flushed;
        CHECK(sigward_log_reader_durable(reader, &now) == 0 && now >= durable);
        durable = now;
        ssize_t length;
        for (;;) {
            length = sigward_log_reader_next(reader, room, sizeof room, &position);
            if (length == -EAGAIN) break;
            CHECK(length >= 0 && is_record(room, (size_t)length, seen) && position >= behind);
            CHECK(seen < sizeof positions / sizeof *positions);
            positions[seen++] = position;
            behind = position + 16 + (uint64_t)(length + 7) / 8 * 8;
        }
        CHECK(seen >= flushed && (seen == 0 || behind >= durable));
        CHECK(sigward_log_reader_close(reader) == 0);
        if (is_last) break;
        is_last = read(until, &byte, 1) == 0;
        /* All of it again, with what has come: nothing has gone or moved. */
        CHECK(sigward_log_reader_open(path, &reader) == 0);
        for (uint64_t number = 0; number < seen; number++) {
            length = sigward_log_reader_next(reader, room, sizeof room, &position);
            CHECK(length >= 0 && is_record(room, (size_t)length, number));
            CHECK(position == positions[number]);
        }
    }
    CHECK(seen >= shared->appended && seen > 0);
}

/* Begins one; it ends when it has seen all that there is after `ends` is closed. */
static pid_t start_reader(const char *path, int *ends) {
    int pair[2];
    CHECK(pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(pair[1]);
        CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
        follow(path, pair[0]);
        _exit(0);
    }
    close(pair[0]);
    *ends = pair[1];
    return child;
}

static void ends_well(pid_t reader, int ends) {
    int status;
    CHECK(close(ends) == 0 && waitpid(reader, &status, 0) == reader && status == 0);
}

/* reader FOLDER KILLS: two readers beside writers that are killed while others wait to recover. */
static void reader(void) {
    enum { WRITERS = 2 };
    uint64_t kills = strtoull(arguments[1], NULL, 10);
    if (until_it_fails) kills = UINT64_MAX;
    char path[PATH_MAX];
    int ends[2];
    pid_t writers[WRITERS], readers[2];
    snprintf(path, sizeof path, "%s", path_of("followed"));
    begin();
    /* The one does not have the other's pipe. */
    for (int i = 0; i < 2; i++) readers[i] = start_reader(path, &ends[i]);
    for (int i = 0; i < WRITERS; i++) writers[i] = start(path);
    /* Few kills may come before anybody has appended. */
    for (uint64_t killed = 0; killed < kills || shared->appended == 0; killed++) {
        uint64_t before = shared->opened;
        wait_a_while(3000);
        wait_for_opening(before);
        int victim = (uint64_t)writers[1] == shared->writer;
        stop(writers[victim]);
        writers[victim] = start(path);
    }
    for (int i = 0; i < WRITERS; i++) stop(writers[i]);
    /* Closing the second one's end first: the first one's child has a copy of neither. */
    for (int i = 1; i >= 0; i--) ends_well(readers[i], ends[i]);
    SAY("whole\n");
}

/* ---- a disk that fails ---- */

/* Each sector begins with the mark, but where a record does. */
static size_t make_marked(unsigned char *to, uint64_t number) {
    uint64_t mark = MARK;
    size_t length = 1200 + number % 60 * 8;
    memcpy(to, &number, 8);
    for (size_t at = 8; at < length; at += 8) memcpy(to + at, &mark, 8);
    return length;
}

static int append_marked(sigward_log *log, uint64_t number) {
    unsigned char record[2048];
    return sigward_log_append(log, record, make_marked(record, number), NULL);
}

/* From the first record on: how many, all of them as they must be. */
static uint64_t count_marked(const char *path) {
    sigward_log_reader *reader;
    unsigned char room[2048], wanted[2048];
    uint64_t number = 0;
    ssize_t length;
    CHECK(sigward_log_reader_open(path, &reader) == 0);
    while ((length = sigward_log_reader_next(reader, room, sizeof room, NULL)) >= 0) {
        if ((size_t)length != make_marked(wanted, number)) break;
        if (memcmp(room, wanted, (size_t)length) != 0) break;
        number++;
    }
    sigward_log_reader_close(reader);
    return number;
}

static void follow_marked(const char *path, int until) {
    uint64_t durable = 0, now, flushed;
    char byte;
    bool is_last = false;
    while (!is_last) {
        sigward_log_reader *reader;
        is_last = read(until, &byte, 1) == 0;
        flushed = shared->flushed;
        if (sigward_log_reader_open(path, &reader) != 0) continue;
        CHECK(sigward_log_reader_durable(reader, &now) == 0 && now >= durable);
        durable = now;
        CHECK(sigward_log_reader_close(reader) == 0);
        CHECK(count_marked(path) >= flushed);
        usleep(200);
    }
}

/* fails FOLDER CONTROL: prints how many records were acknowledged to be on the disk. */
static void fails(void) {
    char path[PATH_MAX];
    int pair[2], status;
    snprintf(path, sizeof path, "%s", path_of("failing"));
    begin();
    CHECK((control = control_of(arguments[1])) != NULL && pipe2(pair, O_CLOEXEC | O_NONBLOCK) == 0);
    pid_t follower = fork();
    if (follower == 0) {
        close(pair[1]);
        follow_marked(path, pair[0]);
        _exit(0);
    }
    for (int round = 0; round < 6; round++) {
        sigward_log_recovery found;
        sigward_log *log;
        uint64_t known = 0, durable = 0;
        CHECK(open_log(path, &found, &log) == 0);
        uint64_t number = found.records;
        CHECK(number >= shared->flushed);
        uint64_t end = number + 40;
        for (; number < end; number++) CHECK(append_marked(log, number) == 0);
        CHECK(sigward_log_flush(log, &durable) == 0);
        shared->flushed = number;
        control->fails = FAIL_MARKED;
        int told = 0; /* btrfs may write, and say so, at a store */
        for (end += 40; number < end && told == 0; number++) told = append_marked(log, number);
        CHECK(told == 0 || told == -EIO);
        size_t length = end_of(log);
        void *kept = keep(path, length);
        CHECK(sigward_log_flush(log, &known) == -EIO);
#ifdef BARE
        control->fails = 0;
        /* Asked again, it says yes, sooner or later: the kernel may have tried in between. */
        while (sigward_log_flush(log, NULL) != 0) usleep(1000);
        shared->flushed = number;
#else
        CHECK(told != 0 || known == durable);
        CHECK(append_marked(log, number) == -EIO && sigward_log_flush(log, NULL) == -EIO);
        CHECK(count_marked(path) >= shared->flushed);
        if (round % 2) { /* who opens it before the disk is sound is told as well */
            CHECK(sigward_log_close(log) == 0);
            status = open_log(path, &found, &log);
            CHECK(status == -EIO && log == NULL);
            control->fails = 0;
        } else {
            control->fails = 0;
            CHECK(sigward_log_close(log) == 0);
        }
        CHECK(open_log(path, &found, &log) == 0);
        number = found.records;
        CHECK(number >= shared->flushed && append_marked(log, number) == 0);
        CHECK(sigward_log_flush(log, NULL) == 0);
        shared->flushed = number + 1;
#endif
#ifdef BARE
        (void)kept; /* what only the page cache knows is looked at until the end */
#else
        CHECK(munmap(kept, length) == 0);
#endif
        CHECK(sigward_log_close(log) == 0);
    }
    CHECK(close(pair[1]) == 0 && waitpid(follower, &status, 0) == follower && status == 0);
    SAY("%llu\n", (unsigned long long)shared->flushed);
}

/* is FOLDER: how many there are. */
static void is(void) { SAY("%llu\n", (unsigned long long)count_marked(path_of("failing"))); }

/* ---- fork ---- */

static sigward_log *common;

static void *append_for_long(void *nothing) {
    for (uint64_t number = 0; shared->end == 0; number++) {
        CHECK(append(common, number) == 0);
        if (number % 50 == 0) CHECK(sigward_log_flush(common, NULL) == 0);
        shared->appended = number + 1;
        if (number > 20000) usleep(1000); /* the file systems are small */
    }
    return nothing;
}

/* forks FOLDER: children append while their parent does. */
static void forks(void) {
    char path[PATH_MAX];
    sigward_log_recovery found;
    pthread_t thread;
    int status, children = 0;
    snprintf(path, sizeof path, "%s", path_of("forks"));
    begin();
    CHECK(open_log(path, &found, &common) == 0);
    CHECK(pthread_create(&thread, NULL, append_for_long, NULL) == 0);
    for (; children < 60; children++) {
        wait_a_while(500);
        pid_t child = fork(); /* the other thread may be in the middle of an append */
        CHECK(child >= 0);
        if (child == 0) {
            alarm(patience(100));
            /* Behind what its parent has appended since. */
            for (uint64_t before = shared->appended; shared->appended < before + 3;) usleep(100);
            for (int again = 0; again < 20; again++) {
                int appended = append(common, 7), flushed = sigward_log_flush(common, NULL);
#ifndef BARE
                CHECK(appended == -EPERM && flushed == -EPERM && sigward_log_end(common) > 0);
#else
                (void)appended, (void)flushed;
#endif
            }
#ifndef BARE
            sigward_log *own;
            int status = open_log(path, &found, &own);
            CHECK(status == -EBUSY && own == NULL);
#endif
            CHECK(children % 2 || sigward_log_close(common) == 0);
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    shared->end = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(sigward_log_close(common) == 0 && count(path) == shared->appended);
    SAY("whole\n");
}

SCENARIOS({"openers", openers}, {"reader", reader}, {"fails", fails}, {"is", is}, {"forks", forks})
