/* Bad input to the functions of guarded maps: a clear negative errno, and nothing is left behind.
 * Warded only. */
#include "maps.h"
#include <sys/mman.h>
#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

/* A failure leaves *out NULL, and no descriptor and no map behind. */
#define REFUSED(call, expected) REFUSED_A(sigward_map, call, expected)
#define REFUSED_A(KIND, call, expected)                                                            \
    do {                                                                                           \
        KIND *out = (KIND *)(uintptr_t)8;                                                          \
        int descriptors = open_descriptors();                                                      \
        uint64_t maps = counters().maps;                                                           \
        int status = (call);                                                                       \
        if (status != (expected))                                                                  \
            fprintf(stderr, "%s: %d (%s)\n", #call, status, strerror(-status));                    \
        CHECK(status == (expected) && out == NULL);                                                \
        CHECK(open_descriptors() == descriptors && counters().maps == maps);                       \
    } while (0)

/* ---- files ---- */

static void files(void) {
    const char *file = new_file("file", 2 * PAGE + 5), *empty = new_file("empty", 0);
    const char *fifo = path_of("fifo"), *socket_path = path_of("socket"),
               *locked = new_file("locked", PAGE);
    char beneath[PATH_MAX + 8], long_name[PATH_MAX + 2];
    CHECK(mkfifo(fifo, 0600) == 0);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* Names of sockets are short: from within the folder. */
    CHECK(chdir(arguments[0]) == 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", strrchr(socket_path, '/') + 1);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    REFUSED(sigward_map_open(path_of("missing"), NULL, &out), -ENOENT);
    REFUSED(sigward_map_open("", NULL, &out), -ENOENT);
    snprintf(beneath, sizeof beneath, "%s/file", file);
    REFUSED(sigward_map_open(beneath, NULL, &out), -ENOTDIR);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    REFUSED(sigward_map_open(long_name, NULL, &out), -ENAMETOOLONG);
    REFUSED(sigward_map_open(empty, NULL, &out), -ENODATA);
    REFUSED(sigward_map_open(arguments[0], NULL, &out), -EISDIR);
    REFUSED(sigward_map_open(arguments[0], OPTIONS(.writable = 1), &out), -EISDIR);
    REFUSED(sigward_map_open(fifo, NULL, &out), -ENODEV);
    REFUSED(sigward_map_open(fifo, OPTIONS(.writable = 1), &out), -ENODEV);
    REFUSED(sigward_map_open(socket_path, NULL, &out), -ENODEV);
    REFUSED(sigward_map_open("/dev/null", NULL, &out), -ENODEV);
    REFUSED(sigward_map_open("/dev/zero", NULL, &out), -ENODEV);
    REFUSED(sigward_map_open("/dev/ptmx", NULL, &out), -ENODEV);
    REFUSED(sigward_map_open("/proc/self/maps", NULL, &out), -ENODATA); /* its length is 0 */
    /* By descriptor. */
    int ends[2];
    CHECK(pipe(ends) == 0);
    REFUSED(sigward_map_fd(-1, NULL, &out), -EBADF);
    REFUSED(sigward_map_fd(1 << 20, NULL, &out), -EBADF);
    REFUSED(sigward_map_fd(ends[0], NULL, &out), -ENODEV);
    REFUSED(sigward_map_fd(listener, NULL, &out), -ENODEV);
    int folder = open(arguments[0], O_RDONLY | O_DIRECTORY), reading = open(file, O_RDONLY),
        writing = open(file, O_WRONLY);
    REFUSED(sigward_map_fd(folder, NULL, &out), -EISDIR);
    REFUSED(sigward_map_fd(reading, OPTIONS(.writable = 1), &out), -EACCES);
    REFUSED(sigward_map_fd(writing, NULL, &out), -EACCES);
    int looking = open(file, O_PATH);
    REFUSED(sigward_map_fd(looking, NULL, &out), -EBADF);
    int sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
    fill(sealed, 0, PAGE);
    CHECK(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE) == 0);
    REFUSED(sigward_map_fd(sealed, OPTIONS(.writable = 1), &out), -EPERM);
    /* Rights, as somebody who has few. */
    CHECK(chmod(locked, 0) == 0 && chmod(file, 0444) == 0 && chmod(arguments[0], 0755) == 0);
    CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    REFUSED(sigward_map_open(locked, NULL, &out), -EACCES);
    REFUSED(sigward_map_open(file, OPTIONS(.writable = 1), &out), -EACCES);
    /* A private copy needs no right to write. */
    CHECK(sigward_map_close(open_map(file, OPTIONS(.writable = 1, .copy_on_write = 1))) == 0);
}

/* ---- ranges, options, NULL ---- */

static void options(void) {
    const char *file = new_file("file", 2 * PAGE + 5);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = 2 * PAGE + 6), &out), -ENXIO);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = 2 * PAGE + 5), &out), -ENXIO);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = UINT64_MAX), &out), -ENXIO);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = 1, .len = UINT64_MAX), &out), -EOVERFLOW);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = UINT64_MAX, .len = UINT64_MAX), &out),
            -EOVERFLOW);
    REFUSED(sigward_map_open(file, OPTIONS(.len = UINT64_MAX), &out), -ENXIO);
    REFUSED(sigward_map_open(file, OPTIONS(.len = 2 * PAGE + 6), &out), -ENXIO);
    REFUSED(sigward_map_open(file, OPTIONS(.offset = PAGE, .len = PAGE + 6), &out), -ENXIO);
    sigward_map_options options = {0};
    for (size_t size = 0; size < sizeof options; size++) {
        options.size = size;
        /* The first version ended before the capacity. */
        if (size != offsetof(sigward_map_options, capacity))
            REFUSED(sigward_map_open(file, &options, &out), -EINVAL);
    }
    options.size = SIZE_MAX;
    REFUSED(sigward_map_open(file, &options, &out), -EINVAL);
    REFUSED(sigward_map_open(file, OPTIONS(.writable = 2), &out), -EINVAL);
    REFUSED(sigward_map_open(file, OPTIONS(.copy_on_write = 77), &out), -EINVAL);
    REFUSED(sigward_map_open(file, OPTIONS(.populate = UINT32_MAX), &out), -EINVAL);
    REFUSED(sigward_map_open(file, OPTIONS(.no_descriptor = 2), &out), -EINVAL);
    REFUSED(sigward_map_open(NULL, NULL, &out), -EINVAL);
    CHECK(sigward_map_open(file, NULL, NULL) == -EINVAL);
    CHECK(sigward_map_fd(0, NULL, NULL) == -EINVAL);
    /* The last byte, by itself. */
    sigward_map *map = open_map(file, OPTIONS(.offset = 2 * PAGE + 4));
    CHECK(sigward_map_len(map) == 1 && *bytes(map) == content(2 * PAGE + 4));
    CHECK(sigward_map_close(map) == 0);
}

static void null_pointers(void) {
    unsigned char byte;
    sigward_fault fault;
    sigward_map *map = open_map(new_file("file", PAGE), NULL);
    CHECK(sigward_map_data(NULL) == NULL && sigward_map_len(NULL) == 0 &&
          sigward_map_poison_word(NULL) == NULL);
    CHECK(sigward_map_read_at(NULL, 0, &byte, 1) == -EINVAL &&
          sigward_map_read_at(map, 0, NULL, 1) == -EINVAL);
    CHECK(sigward_map_write_at(NULL, 0, &byte, 1) == -EINVAL &&
          sigward_map_write_at(map, 0, NULL, 1) == -EINVAL);
    CHECK(sigward_map_status(NULL, &fault) == -EINVAL && sigward_map_status(map, NULL) == 0);
    CHECK(sigward_map_verify(NULL) == -EINVAL && sigward_map_refresh(NULL) == -EINVAL);
    CHECK(sigward_map_populate(NULL, 0, 1) == -EINVAL && sigward_map_flush(NULL) == -EINVAL);
    CHECK(sigward_map_close(NULL) == 0);
    sigward_adopted *adopted = (sigward_adopted *)(uintptr_t)8;
    CHECK(sigward_adopt_file(NULL, &adopted) == -EINVAL && adopted == NULL &&
          sigward_adopt_file("/", NULL) == -EINVAL);
    CHECK(sigward_adopted_verify(NULL) == -EINVAL && sigward_adopted_count(NULL) == -EINVAL);
    CHECK(sigward_adopted_status(NULL, &fault) == -EINVAL &&
          sigward_adopted_take(NULL, &fault) == -EINVAL);
    CHECK(sigward_adopted_heal(NULL) == -EINVAL && sigward_adopted_sink(NULL, 1) == -EINVAL);
    CHECK(sigward_adopted_close(NULL) == 0 && sigward_last_words(1 << 20) == -EBADF);
    CHECK(sigward_try_copy(NULL, NULL, 0) == 0);
    CHECK(sigward_map_close(map) == 0);
}

static void lengths(void) {
    unsigned char buffer[8] = {0};
    sigward_map *map = open_map(new_file("file", PAGE + 5), NULL);
    CHECK(sigward_map_read_at(map, 0, buffer, 0) == 0 &&
          sigward_map_read_at(map, PAGE + 5, buffer, 8) == 0);
    CHECK(sigward_map_read_at(map, PAGE + 3, buffer, 8) == 2 && buffer[1] == content(PAGE + 4) &&
          buffer[2] == 0);
    CHECK(sigward_map_read_at(map, UINT64_MAX, buffer, 8) == 0);
    CHECK(sigward_map_write_at(map, 0, buffer, 1) == -EBADF);
    CHECK(sigward_map_populate(map, 0, PAGE + 6) == -EINVAL &&
          sigward_map_populate(map, PAGE + 6, 0) < 0);
    CHECK(sigward_map_populate(map, UINT64_MAX, 2) < 0 &&
          sigward_map_populate(map, 2, UINT64_MAX) < 0);
    CHECK(sigward_map_populate(map, 0, 0) == 0 && sigward_map_flush(map) == 0);
    CHECK(sigward_map_close(map) == 0);
    map = open_map(new_file("file", PAGE + 5), OPTIONS(.writable = 1));
    CHECK(sigward_map_write_at(map, PAGE + 3, "12345678", 8) == 2 &&
          sigward_map_write_at(map, PAGE + 5, "1", 1) == 0);
    CHECK(sigward_map_write_at(map, UINT64_MAX, "1", 1) == 0 &&
          sigward_map_write_at(map, 0, "1", 0) == 0);
    CHECK(sigward_map_close(map) == 0);
}

/* ---- adopt ---- */

static void adopting(void) {
    int fd = nameless(8 * PAGE + 100), other = nameless(8 * PAGE);
    sigward_map *map = NULL;
    sigward_adopted *second = NULL;
    unsigned char *data = mmap(NULL, 8 * PAGE + 100, PROT_READ, MAP_SHARED, fd, 0);
    unsigned char *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    unsigned char *memory = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *gone = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(munmap(gone, PAGE) == 0);
    REFUSED_A(sigward_adopted, sigward_adopt_range(NULL, PAGE, fd, 0, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, 0, fd, 0, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data + 1, PAGE, fd, 1, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, PAGE, fd, 1, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, PAGE, fd, -PAGE, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, PAGE, fd, PAGE, &out),
              -EINVAL); /* it begins elsewhere */
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, PAGE, other, 0, &out), -EINVAL); /* another
                                                                                             file */
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, PAGE, 1 << 20, 0, &out), -EBADF);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, SIZE_MAX, fd, 0, &out), -EOVERFLOW);
    REFUSED_A(sigward_adopted,
              sigward_adopt_range(data, SIZE_MAX - (size_t)(uintptr_t)data, fd, 0, &out),
              -EOVERFLOW);
    REFUSED_A(sigward_adopted, sigward_adopt_range(code, PAGE, fd, 0, &out), -EACCES);
    REFUSED_A(sigward_adopted, sigward_adopt_range(memory, PAGE, fd, 0, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(memory, PAGE, -1, 0, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(gone, PAGE, fd, 0, &out), -EINVAL);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, 64 << 20, fd, 0, &out),
              -EINVAL); /* beyond the mapping */
    CHECK(sigward_adopt_range(data, PAGE, fd, 0, NULL) == -EINVAL);
    /* Our own maps are guarded already; so is what was adopted. */
    CHECK(sigward_map_fd(fd, NULL, &map) == 0);
    REFUSED_A(sigward_adopted, sigward_adopt_range((const void *)bytes(map), 8 * PAGE, fd, 0, &out),
              -EEXIST);
    CHECK(sigward_adopt_range(data + 2 * PAGE, 2 * PAGE, fd, 2 * PAGE, &second) == 0);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, 3 * PAGE, fd, 0, &out), -EEXIST);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data + 3 * PAGE, PAGE, fd, 3 * PAGE, &out),
              -EEXIST);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data + 3 * PAGE, 4 * PAGE, fd, 3 * PAGE, &out),
              -EEXIST);
    REFUSED_A(sigward_adopted, sigward_adopt_range(data, 8 * PAGE, fd, 0, &out), -EEXIST);
    CHECK(sigward_adopted_close(second) == 0);
    CHECK(sigward_adopt_range(data, 8 * PAGE + 100, fd, 0, &second) == 0 &&
          sigward_adopted_close(second) == 0);
    CHECK(sigward_map_close(map) == 0);
    CHECK(data[8 * PAGE + 99] == content(8 * PAGE + 99)); /* closing an adopted map leaves the
                                                             mapping */
    sigward_adopted *adopted = NULL;
    CHECK(sigward_adopt_file(path_of("missing"), &adopted) == -ENOENT && adopted == NULL);
    CHECK(sigward_adopt_file(arguments[0], &adopted) == -EISDIR && adopted == NULL);
    CHECK(sigward_adopt_file("/dev/null", &adopted) == -ENODEV && adopted == NULL);
}

/* ---- misuse: a debug build ends with a line, before anything else is harmed ---- */

static void closed_twice(void) {
    sigward_map *map = lose();
    CHECK(sigward_map_close(map) == 0);
    sigward_map_close(map);
}

static void used_after_close(void) {
    unsigned char byte;
    sigward_map *map = lose();
    CHECK(sigward_map_close(map) == 0);
    sigward_map_read_at(map, 0, &byte, 1);
}

static void adopted_closed_twice(void) {
    sigward_adopted *adopted = NULL;
    CHECK(sigward_adopt_file(new_file("file", PAGE), &adopted) == 0 &&
          sigward_adopted_close(adopted) == 0);
    sigward_adopted_close(adopted);
}

SCENARIOS({"files", files}, {"options", options}, {"null_pointers", null_pointers},
          {"lengths", lengths}, {"adopt", adopting}, {"closed_twice", closed_twice},
          {"used_after_close", used_after_close}, {"adopted_closed_twice", adopted_closed_twice})
