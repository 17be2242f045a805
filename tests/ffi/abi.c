/* Programs that were compiled with another version of the structs. Warded only. */
#include "host.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static char folder[] = "/tmp/sigward-abi-XXXXXX";

static const char *path_of(const char *name) {
    static char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *file(void) {
    int fd = open(path_of("file"), O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && ftruncate(fd, 5000) == 0 && close(fd) == 0);
    return path_of("file");
}

static void begin(void) { CHECK(mkdtemp(folder) != NULL); }

static void end(void) {
    unlink(path_of("file"));
    unlink(path_of("log"));
    CHECK(rmdir(folder) == 0);
}

/* ---- options ---- */

static int init(void *options) { return sigward_init(options); }

static int map_open(void *options) {
    sigward_map *map = (sigward_map *)(uintptr_t)8;
    int status = sigward_map_open(file(), options, &map);
    CHECK((status == 0) == (map != NULL) && sigward_map_close(map) == 0);
    return status;
}

static int map_fd(void *options) {
    sigward_map *map = (sigward_map *)(uintptr_t)8;
    int fd = open(file(), O_RDONLY), status = sigward_map_fd(fd, options, &map);
    CHECK((status == 0) == (map != NULL) && sigward_map_close(map) == 0 && close(fd) == 0);
    return status;
}

static int replacement_open(void *options) {
    sigward_replacement *new = (sigward_replacement *)(uintptr_t)8;
    int status = sigward_replacement_open(file(), options, &new);
    CHECK((status == 0) == (new != NULL));
    CHECK(sigward_replacement_abort(new) == (status == 0 ? 0 : -EINVAL));
    return status;
}

static int log_open(void *options) {
    sigward_log *log = (sigward_log *)(uintptr_t)8;
    int status = sigward_log_open(path_of("log"), options, NULL, &log);
    CHECK((status == 0) == (log != NULL) && sigward_log_close(log) == 0);
    return status;
}

static int snapshot(void *options) {
    sigward_map *map = (sigward_map *)(uintptr_t)8;
    int status = sigward_snapshot_with(file(), options, &map, NULL);
    CHECK((status == 0) == (map != NULL) && sigward_map_close(map) == 0);
    return status;
}

/* The bytes lie at the end of a page behind which nothing may be read. */
static void options(void) {
    const struct {
        const char *name;
        int (*call)(void *);
        size_t known, earlier;
    } all[] = {
        {"sigward_init", init, sizeof(sigward_options), 0},
        {"sigward_map_open", map_open, sizeof(sigward_map_options),
         offsetof(sigward_map_options, capacity)},
        {"sigward_map_fd", map_fd, sizeof(sigward_map_options),
         offsetof(sigward_map_options, capacity)},
        {"sigward_replacement_open", replacement_open, sizeof(sigward_replacement_options), 0},
        {"sigward_log_open", log_open, sizeof(sigward_log_options), 0},
        {"sigward_snapshot_with", snapshot, sizeof(sigward_snapshot_options), 0},
    };
    begin();
    unsigned char *pages =
        mmap(NULL, 3 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED && mprotect(pages + 2 * PAGE_BYTES, PAGE_BYTES, PROT_NONE) == 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t size = sizeof(size_t); size <= all[i].known + 64; size++) {
            unsigned char *place = pages + 2 * PAGE_BYTES - size;
            memset(place, 0, size);
            memcpy(place, &size, sizeof size);
            bool taken = size >= all[i].known || size == all[i].earlier;
            int status = all[i].call(place);
            if (status != (taken ? 0 : -EINVAL))
                fprintf(stderr, "%s, %zu bytes: %d\n", all[i].name, size, status);
            CHECK(status == (taken ? 0 : -EINVAL));
            if (size <= all[i].known) continue;
            /* An option that only a later version knows. */
            for (size_t at = all[i].known; at < size; at++) {
                place[at] = 1;
                CHECK(all[i].call(place) == -E2BIG);
                place[at] = 0;
            }
        }
        /* What no struct can have; nobody looks for its end. */
        for (size_t size = 4097; size != 0; size *= 2) {
            memcpy(pages + 2 * PAGE_BYTES - all[i].known, &size, sizeof size);
            CHECK(all[i].call(pages + 2 * PAGE_BYTES - all[i].known) == -EINVAL);
        }
        size_t none = 0;
        CHECK(all[i].call(&none) == -EINVAL && all[i].call(NULL) == 0);
    }
    CHECK(strstr(sigward_strerror(-E2BIG), "later version") != NULL);
    end();
}

/* ---- structs that are filled ---- */

static sigward_map *map;

static int status_of_pipe(void *out, size_t size) {
    return sigward_sigpipe_status_sized(out, size);
}
static int counters(void *out, size_t size) { return sigward_read_counters_sized(out, size); }
static int fault(void *out, size_t size) { return sigward_map_status_sized(map, out, size); }

static int event(void *out, size_t size) {
    uint64_t cursor = 0;
    return (int)sigward_read_events_sized(&cursor, out, 1, size) - 1;
}

static int adopted(void *out, size_t size) {
    sigward_adopted *handle;
    CHECK(sigward_adopt_file(file(), &handle) == 0);
    int status = sigward_adopted_status_sized(handle, out, size);
    CHECK(sigward_adopted_close(handle) == 0);
    return status;
}

static int taken(void *out, size_t size) {
    sigward_adopted *handle;
    CHECK(sigward_adopt_file(file(), &handle) == 0);
    int status = sigward_adopted_take_sized(handle, out, size);
    CHECK(sigward_adopted_close(handle) == 0);
    return status;
}

static int standing(void *out, size_t size) { return sigward_status_sized(out, size); }

static int recovery(void *out, size_t size) {
    sigward_log *log = NULL;
    int status = sigward_log_open_sized(path_of("log"), NULL, out, &log, size);
    CHECK((status == 0) == (log != NULL) && sigward_log_close(log) == 0);
    return status;
}

static int report(void *out, size_t size) {
    sigward_map *taken = NULL;
    int status = sigward_snapshot_with_sized(file(), NULL, &taken, out, size);
    CHECK((status == 0) == (taken != NULL) && sigward_map_close(taken) == 0);
    return status;
}

#define STRUCT(name) sizeof(name), offsetof(name, size), sizeof(((name *)0)->size)

static void filled(void) {
    const struct {
        const char *name;
        int (*call)(void *, size_t);
        size_t first, known, at, width;
    } all[] = {
        {"sigpipe_status", status_of_pipe, 16, STRUCT(sigward_sigpipe_report)},
        {"read_counters", counters, 128, STRUCT(sigward_counters)},
        {"read_events", event, 352, STRUCT(sigward_event)},
        {"map_status", fault, 96, STRUCT(sigward_fault)},
        {"adopted_status", adopted, 96, STRUCT(sigward_fault)},
        {"adopted_take", taken, 96, STRUCT(sigward_fault)},
        {"status", standing, 248, STRUCT(sigward_status_report)},
        {"log_open", recovery, 64, STRUCT(sigward_log_recovery)},
        {"snapshot_with", report, 16, STRUCT(sigward_snapshot_report)},
    };
    begin();
    CHECK(ward() == 0 && write(broken_pipe(), "x", 1) == -1);
    CHECK(sigward_map_open(file(), NULL, &map) == 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t size = 0; size < all[i].known + 64; size++) {
            unsigned char bytes[1024];
            uint64_t told = 0;
            memset(bytes, 0xaa, sizeof bytes);
            int status = all[i].call(bytes, size);
            if (all[i].call == event && size < all[i].first)
                status++; /* the number of events, less one */
            if (status != (size < all[i].first ? -EINVAL : 0))
                fprintf(stderr, "%s, %zu bytes: %d\n", all[i].name, size, status);
            CHECK(status == (size < all[i].first ? -EINVAL : 0));
            size_t written = size < all[i].first ? 0 : size;
            for (size_t at = written; at < sizeof bytes; at++) CHECK(bytes[at] == 0xaa);
            for (size_t at = all[i].known; at < written; at++) CHECK(bytes[at] == 0);
            if (written < all[i].at + all[i].width) continue;
            memcpy(&told, bytes + all[i].at, all[i].width);
            CHECK(told == (size < all[i].known ? size : all[i].known));
        }
        unsigned char bytes[8192];
        CHECK(all[i].call(bytes, 4097) < 0 && all[i].call(bytes, SIZE_MAX) < 0);
    }
    CHECK(sigward_map_close(map) == 0);
    end();
}

/* By the header's own names the struct of today is filled, by a function's bare name the first
 * version. */
static void names(void) {
    struct {
        sigward_sigpipe_report report;
        unsigned char behind[64];
    } given;
    CHECK(ward() == 0);
    memset(&given, 0xaa, sizeof given);
    CHECK(sigward_sigpipe_status(&given.report) == 0 && given.report.size == sizeof given.report);
    CHECK(given.report.outcome == SIGWARD_OUTCOME_FILTERED);
    CHECK(given.report.seat == SIGWARD_SEAT_ON_TOP);
    memset(&given, 0xaa, sizeof given);
    CHECK((sigward_sigpipe_status)(&given.report) == 0);
    CHECK(given.report.outcome == SIGWARD_OUTCOME_FILTERED);
    for (const unsigned char *at = (unsigned char *)&given.report.size; at < given.behind + 64;
         at++)
        CHECK(*at == 0xaa);
    /* Several events, in structs that are longer than the library's. */
    for (int i = 0; i < 3; i++) CHECK(write(broken_pipe(), "x", 1) == -1);
    struct {
        sigward_event event;
        uint64_t later;
    } events[4];
    memset(events, 0xaa, sizeof events);
    uint64_t cursor = 0;
    CHECK(sigward_read_events_sized(&cursor, &events[0].event, 4, sizeof *events) == 3);
    for (int i = 0; i < 3; i++)
        CHECK(events[i].event.number == (uint64_t)i + 1 &&
              events[i].event.size == sizeof(sigward_event) && events[i].later == 0);
    CHECK(events[3].later == 0xaaaaaaaaaaaaaaaa);
    /* An enum is an int, whatever a compiler's switches make of it. */
    CHECK(sizeof given.report.outcome == 4 && sizeof given.report.seat == 4);
}

SCENARIOS({"options", options}, {"filled", filled}, {"names", names})
