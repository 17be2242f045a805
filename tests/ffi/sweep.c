/* Senseless arguments to every function that takes a descriptor, a buffer or a length. Warded only.
 * The writers must answer as the plain calls do, on every rung of theirs. */
#include "host.h"
#include "refuse.h"
#include <limits.h>
#include <stdint.h>

static char *nowhere; /* a page that may not be read */
static char some[64];
static int fds[16], fd_count, peer;

static void prepare(void) {
    int ends[2], pair[2];
    nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(nowhere != MAP_FAILED);
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    int closed = fcntl(0, F_DUPFD, 500);
    CHECK(closed >= 500 && close(closed) == 0);
    const int all[] = {-1,
                       INT32_MIN,
                       INT32_MAX,
                       closed,
                       ends[0],
                       ends[1],
                       pair[0],
                       broken_pipe(),
                       open("/", O_RDONLY),
                       open("/", O_PATH),
                       open("/dev/null", O_RDONLY),
                       open("/dev/null", O_WRONLY),
                       open("/dev/full", O_WRONLY)};
    fd_count = sizeof all / sizeof *all;
    memcpy(fds, all, sizeof all);
    peer = pair[1];
    /* Bare, the broken pipe would end the calls that are compared with. */
    signal(SIGPIPE, SIG_IGN);
}

static long plain(long answer) { return answer < 0 ? -errno : answer; }

static long failures;

/* A pipe or a socket takes 64 KiB and more, and the rest of what is asked for is not there. */
static const size_t lengths[] = {
    0, 1, sizeof some, (size_t)INT32_MAX + 1, SSIZE_MAX, (size_t)SSIZE_MAX + 1, SIZE_MAX};
#define EACH_LENGTH                                                                                \
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths && (len = lengths[i], 1); i++)

static void drain(void) {
    char sink[65536];
    while (read(fds[4], sink, sizeof sink) > 0) {}
    while (recv(peer, sink, sizeof sink, MSG_DONTWAIT) > 0) {}
}

static void writers(void) {
    size_t len = 0;
    for (int f = 0; f < fd_count; f++) {
        int fd = fds[f];
        /* A full pipe is empty again for each of both. */
#define BOTH(ours, theirs)                                                                         \
    do {                                                                                           \
        drain();                                                                                   \
        long here = (long)(ours);                                                                  \
        drain();                                                                                   \
        long bare = plain((long)(theirs));                                                         \
        if (here == bare) break;                                                                   \
        fprintf(stderr, "fd %d, %zx: %s: %ld, the plain call says %ld\n", f, len, #ours, here,     \
                bare);                                                                             \
        failures++;                                                                                \
    } while (0)
        EACH_LENGTH {
            if (len <= sizeof some) BOTH(sigward_write(fd, some, len), write(fd, some, len));
            BOTH(sigward_write(fd, NULL, len), write(fd, NULL, len));
            BOTH(sigward_write(fd, nowhere, len), write(fd, nowhere, len));
            BOTH(sigward_send(fd, NULL, len, 0), send(fd, NULL, len, 0));
            BOTH(sigward_send(fd, nowhere, len, MSG_DONTWAIT),
                 send(fd, nowhere, len, MSG_DONTWAIT));
            BOTH(sigward_sendto(fd, some, len > sizeof some ? 1 : len, 0, (void *)nowhere,
                                (socklen_t)len),
                 sendto(fd, some, len > sizeof some ? 1 : len, 0, (void *)nowhere, (socklen_t)len));
            struct iovec one = {some, len}, no = {NULL, len}, two[2] = {{some, 1}, {nowhere, len}};
            if (len <= sizeof some || len > SSIZE_MAX)
                BOTH(sigward_writev(fd, &one, 1), writev(fd, &one, 1));
            BOTH(sigward_writev(fd, &no, 1), writev(fd, &no, 1));
            BOTH(sigward_writev(fd, two, 2), writev(fd, two, 2));
            struct msghdr message = {.msg_iov = two, .msg_iovlen = 2},
                          many = {.msg_iov = two, .msg_iovlen = len};
            BOTH(sigward_sendmsg(fd, &message, 0), sendmsg(fd, &message, 0));
            if (len > 2) BOTH(sigward_sendmsg(fd, &many, 0), sendmsg(fd, &many, 0));
            BOTH(sigward_sendfile(fd, fd, NULL, len), sendfile(fd, fd, NULL, len));
            BOTH(sigward_sendfile(fd, -1, NULL, len), sendfile(fd, -1, NULL, len));
            BOTH(sigward_sendfile(fd, fds[8], (off_t *)nowhere, len),
                 sendfile(fd, fds[8], (off_t *)nowhere, len));
            BOTH(sigward_splice(fd, NULL, fd, NULL, len, SPLICE_F_NONBLOCK),
                 splice(fd, NULL, fd, NULL, len, SPLICE_F_NONBLOCK));
            BOTH(sigward_splice(-1, NULL, fd, NULL, len, SPLICE_F_NONBLOCK),
                 splice(-1, NULL, fd, NULL, len, SPLICE_F_NONBLOCK));
            BOTH(sigward_splice(fds[4], NULL, fd, (loff_t *)nowhere, len, SPLICE_F_NONBLOCK),
                 splice(fds[4], NULL, fd, (loff_t *)nowhere, len, SPLICE_F_NONBLOCK));
            BOTH(sigward_splice(fds[4], NULL, fd, NULL, len, UINT32_MAX),
                 splice(fds[4], NULL, fd, NULL, len, UINT32_MAX));
        }
        for (int count = -2; count <= 2; count++) {
            BOTH(sigward_writev(fd, NULL, count), writev(fd, NULL, count));
            BOTH(sigward_writev(fd, (struct iovec *)nowhere, count),
                 writev(fd, (struct iovec *)nowhere, count));
        }
        for (int count = 1024; count <= 1026; count++) {
            struct iovec slices[1026];
            for (int k = 0; k < count; k++) slices[k] = (struct iovec){some, 1};
            BOTH(sigward_writev(fd, slices, count), writev(fd, slices, count));
        }
        BOTH(sigward_writev(fd, (struct iovec *)nowhere, INT32_MAX),
             writev(fd, (struct iovec *)nowhere, INT32_MAX));
        BOTH(sigward_sendmsg(fd, NULL, 0), sendmsg(fd, NULL, 0));
        BOTH(sigward_sendmsg(fd, (struct msghdr *)nowhere, 0),
             sendmsg(fd, (struct msghdr *)nowhere, 0));
        BOTH(sigward_sendmmsg(fd, NULL, 1, 0), sendmmsg(fd, NULL, 1, 0));
        BOTH(sigward_sendmmsg(fd, NULL, 0, 0), sendmmsg(fd, NULL, 0, 0));
        BOTH(sigward_sendmmsg(fd, (struct mmsghdr *)nowhere, UINT32_MAX, 0),
             sendmmsg(fd, (struct mmsghdr *)nowhere, UINT32_MAX, 0));
        BOTH(sigward_send(fd, some, 1, -1 & ~MSG_NOSIGNAL), send(fd, some, 1, -1));
    }
    CHECK(failures == 0);
}

/* Where the kernel has no RWF_NOSIGNAL, or a sandbox has no pwritev2. */
static void writers_without(void) {
    refuse(SYS_pwritev2, ENOSYS);
    writers();
}

static void descriptors(void) {
    const int closed[] = {-1, INT32_MIN, INT32_MAX, fds[3]};
    sigward_map *map;
    sigward_lease *lease;
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        int fd = closed[i];
        map = (sigward_map *)8, lease = (sigward_lease *)8;
        CHECK(sigward_map_fd(fd, NULL, &map) == -EBADF && map == NULL);
        CHECK(sigward_lease_of(fd, &lease) == -EBADF && lease == NULL);
        CHECK(sigward_reserve(fd, 0, 1) == -EBADF && sigward_reserve_slowly(fd, 0, 1) == -EBADF);
        CHECK(sigward_set_nosigpipe(fd) < 0);
    }
    CHECK(sigward_reserve(fds[12], UINT64_MAX, UINT64_MAX) < 0);
    CHECK(sigward_reserve_slowly(fds[12], UINT64_MAX, 1) < 0);
    CHECK(sigward_lease_of(0, NULL) == -EINVAL && sigward_lease_take("/", NULL) == -EINVAL);
    lease = (sigward_lease *)8;
    CHECK(sigward_lease_take(NULL, &lease) == -EINVAL && lease == NULL);
    CHECK(sigward_lease_file(NULL) == -EINVAL && sigward_lease_fd(NULL) == -EINVAL);
    CHECK(sigward_lease_is_wanted(NULL) == -EINVAL);
    CHECK(sigward_lease_wait(NULL, 0) == -EINVAL && sigward_lease_wait(NULL, -1) == -EINVAL);
    CHECK(sigward_lease_check(NULL) == -EINVAL && sigward_lease_time_left_ms(NULL) == -EINVAL);
    CHECK(sigward_lease_release(NULL) == 0);
}

static void numbers(void) {
    const int signals[] = {INT32_MIN, -1, 0, 65, 1000, INT32_MAX};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        CHECK(sigward_repair(signals[i]) == -EINVAL);
    CHECK(sigward_repair(SIGKILL) >= -EINVAL && sigward_repair(SIGSTOP) >= -EINVAL);
    CHECK(sigward_rows_save(NULL) == -EINVAL && sigward_rows_restore(NULL) == -EINVAL);
    static sigward_rows never;
    CHECK(sigward_rows_restore(&never) == -EINVAL);
    memset(&never, 0xff, sizeof never);
    CHECK(sigward_rows_restore(&never) == -EINVAL);
    const int codes[] = {INT32_MIN, INT32_MIN + 1, -4096, 4096, INT32_MAX, SIGWARD_EUNSYNCED};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        CHECK(strlen(sigward_strerror(codes[i])) > 5);
    sigward_event event;
    char line[512];
    memset(&event, 0xff, sizeof event);
    CHECK(sigward_event_format(&event, line, sizeof line) >= 0);
    CHECK(sigward_event_format(&event, line, SIZE_MAX) == -EINVAL);
    CHECK(sigward_event_library(&event, line, sizeof line) >= 0);
    CHECK(*sigward_event_operation(NULL) == 0);
    CHECK(sigward_event_library(NULL, line, 1) == -EINVAL);
    CHECK(sigward_event_library(&event, NULL, 1) == -EINVAL);
    memset(&event, 0, sizeof event);
    CHECK(sigward_event_format(&event, line, sizeof line) > 0);
    CHECK(sigward_event_library(&event, line, 1) >= 0);
}

static void copies(void) {
    char to[64];
    CHECK(sigward_init(NULL) == 0 && sigward_try_copy_segv() == 0);
    CHECK(sigward_try_copy(to, nowhere, sizeof to) == 0 ||
          sigward_try_copy(to, nowhere, sizeof to) == -EFAULT);
    CHECK(sigward_try_copy(to, NULL, 1) <= 0 && sigward_try_copy(NULL, some, 0) <= 0);
    CHECK(sigward_try_copy(to, nowhere, SIZE_MAX) <= 0);
}

static void handles(void) {
    sigward_log *log = (sigward_log *)8;
    sigward_log_reader *reader = (sigward_log_reader *)8;
    sigward_adopted *adopted = (sigward_adopted *)8;
    uint64_t number;
    CHECK(sigward_log_open(NULL, NULL, NULL, &log) == -EINVAL && log == NULL);
    CHECK(sigward_log_open("/nowhere/at/all", NULL, NULL, NULL) == -EINVAL);
    CHECK(sigward_log_append(NULL, some, 1, &number) == -EINVAL);
    CHECK(sigward_log_flush(NULL, &number) == -EINVAL);
    CHECK(sigward_log_close(NULL) == 0 && sigward_log_reader_close(NULL) == 0);
    CHECK(sigward_log_reader_open(NULL, &reader) == -EINVAL && reader == NULL);
    CHECK(sigward_log_reader_open("/nowhere", NULL) == -EINVAL);
    CHECK(sigward_log_reader_next(NULL, some, 1, &number) == -EINVAL);
    CHECK(sigward_log_reader_seek(NULL, 0) == -EINVAL);
    CHECK(sigward_adopt_file(NULL, &adopted) == -EINVAL && adopted == NULL);
    CHECK(sigward_adopt_file("/nowhere/at/all", NULL) == -EINVAL);
    CHECK(sigward_adopted_status(NULL, NULL) == -EINVAL && sigward_adopted_close(NULL) == 0);
    CHECK(sigward_replace_file(NULL, "/tmp") == -EINVAL);
    CHECK(sigward_replace_file("/tmp", NULL) == -EINVAL);
    CHECK(sigward_snapshot(NULL, NULL) == -EINVAL && sigward_thread_guard_enter(NULL) == -EINVAL);
    CHECK(sigward_thread_guard_leave(NULL) == -EINVAL);
}

/* ---- a guard that another thread has entered ---- */

static void *leave(void *guard) { return (void *)(intptr_t)sigward_thread_guard_leave(guard); }

static void wrong_thread(void) {
    sigward_thread_guard guard;
    pthread_t thread;
    void *answer;
    CHECK(sigward_thread_guard_enter(&guard) == 0);
    CHECK(pthread_create(&thread, NULL, leave, &guard) == 0 && pthread_join(thread, &answer) == 0);
    CHECK((intptr_t)answer == -EPERM && sigward_thread_guard_leave(&guard) == 0);
    CHECK(sigward_thread_guard_leave(&guard) == -EINVAL);
}

#define PREPARED(name) static void name##_swept(void) { prepare(); name(); }
PREPARED(writers)
PREPARED(writers_without) PREPARED(descriptors) PREPARED(numbers) PREPARED(copies) PREPARED(handles)

    SCENARIOS({"writers", writers_swept}, {"writers_without", writers_without_swept},
              {"descriptors", descriptors_swept}, {"numbers", numbers_swept},
              {"copies", copies_swept}, {"handles", handles_swept}, {"wrong_thread", wrong_thread})
