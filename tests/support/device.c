/* A disk of our own, in user space: a file that a loop device can be made of, and that keeps every
 * write and every flush in the order in which they came. What it has kept can be played back up to
 * any point, as a power failure would have left it (power.c). It can also fail for a while.
 *
 * device IMAGE RECORD CONTROL FILE COMMAND...: FILE shows the bytes of IMAGE while COMMAND runs, in
 * a mount namespace of its own: what it has mounted is gone before the disk is. */
#include "host.h"
#include "device.h"
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { MOST = 128 << 10 };

static int fuse, image, record;
static struct control *control;
static uint64_t size;

static void answer(uint64_t unique, int error, const void *data, size_t length) {
    struct fuse_out_header head = {(uint32_t)(sizeof head + length), error, unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, length}};
    ssize_t done = writev(fuse, parts, 2);
    CHECK(done >= 0 || errno == ENOENT || errno == ENODEV); /* interrupted; unmounted */
}

static void keep(uint32_t kind, uint64_t offset, const void *data, uint32_t length) {
    struct entry entry = {kind, length, offset};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)data, length}};
    CHECK(writev(record, parts, 2) == (ssize_t)(sizeof entry + length));
    __atomic_add_fetch(&control->kept, 1, __ATOMIC_SEQ_CST);
}

/* Whether this one is to fail. A failure must not begin in the midst of what the loop device has to
 * write: of a request whose first part was written it says that all of it was (seen on Linux 6.18;
 * FUSE tells it of a short write, drivers/block/loop.c passes that on as success). */
static bool fails(uint64_t what) {
    if (!(__atomic_load_n(&control->fails, __ATOMIC_SEQ_CST) & what)) return false;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    return true;
}

/* Whether a sector begins with this word. */
static bool has(const char *data, size_t length, uint64_t mark) {
    uint64_t word;
    for (size_t at = 0; at + sizeof word <= length; at += 512) {
        memcpy(&word, data + at, sizeof word);
        if (word == mark) return true;
    }
    return false;
}

static void write_down(uint64_t unique, const struct fuse_write_in *in) {
    const char *data = (const char *)(in + 1);
    struct fuse_write_out out = {.size = in->size};
    uint64_t causes = FAIL_WRITES | (has(data, in->size, MARK) ? FAIL_MARKED : 0) |
                      (has(data, in->size, LOG_HEADER) ? FAIL_HEADERS : 0);
    if (fails(causes)) return answer(unique, -EIO, NULL, 0);
    if (fails(LOSE)) return answer(unique, 0, &out, sizeof out);
    CHECK(in->offset + in->size <= size);
    CHECK(pwrite(image, data, in->size, (off_t)in->offset) == (ssize_t)in->size);
    keep(ENTRY_WRITE, in->offset, data, in->size);
    answer(unique, 0, &out, sizeof out);
}

static void read_back(uint64_t unique, const struct fuse_read_in *in) {
    static char data[MOST];
    size_t length = in->size < sizeof data ? in->size : sizeof data;
    ssize_t got = pread(image, data, length, (off_t)in->offset);
    CHECK(got >= 0);
    if (has(data, (size_t)got, MARK) && fails(FAIL_READS)) return answer(unique, -EIO, NULL, 0);
    answer(unique, 0, data, (size_t)got);
}

static void serve(const struct fuse_in_header *in) {
    const void *body = in + 1;
    struct fuse_attr_out attributes = {
        .attr_valid = 1000,
        .attr = {.ino = 1, .size = size, .blocks = size / 512, .mode = S_IFREG | 0600, .nlink = 1,
                 .blksize = 4096},
    };
    struct fuse_init_out init = {
        .major = FUSE_KERNEL_VERSION, .minor = 31, .flags = FUSE_BIG_WRITES,
        .max_readahead = MOST, .max_write = MOST,
    };
    struct fuse_open_out opened = {.fh = 1};
    struct fuse_statfs_out all = {.st = {.bsize = 4096, .namelen = 255, .frsize = 4096}};
    switch (in->opcode) {
    case FUSE_INIT: return answer(in->unique, 0, &init, sizeof init);
    case FUSE_GETATTR:
    case FUSE_SETATTR: return answer(in->unique, 0, &attributes, sizeof attributes);
    case FUSE_OPEN: return answer(in->unique, 0, &opened, sizeof opened);
    case FUSE_STATFS: return answer(in->unique, 0, &all, sizeof all);
    case FUSE_READ: return read_back(in->unique, body);
    case FUSE_WRITE: return write_down(in->unique, body);
    case FUSE_FSYNC:
        if (fails(FAIL_FLUSHES)) return answer(in->unique, -EIO, NULL, 0);
        keep(ENTRY_FLUSH, 0, NULL, 0);
        return answer(in->unique, 0, NULL, 0);
    case FUSE_FLUSH:
    case FUSE_RELEASE: return answer(in->unique, 0, NULL, 0);
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: return;
    default: return answer(in->unique, -ENOSYS, NULL, 0);
    }
}

static pid_t begin(char **command) {
    pid_t daemon = getpid(), child = fork();
    CHECK(child >= 0);
    if (child > 0) return child;
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == daemon);
    CHECK(unshare(CLONE_NEWNS) == 0);
    execvp(command[0], command);
    _exit(127);
}

int main(int count, char **values) {
    static union {
        struct fuse_in_header head;
        char room[MOST + 4096];
    } request;
    char options[128];
    struct stat status;
    int end = 0;
    CHECK(count > 5);
    CHECK((image = open(values[1], O_RDWR | O_CLOEXEC)) >= 0 && fstat(image, &status) == 0);
    size = (uint64_t)status.st_size;
    record = open(values[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
    CHECK(record >= 0);
    control = control_of(values[3]);
    CHECK(close(open(values[4], O_WRONLY | O_CREAT, 0600)) == 0);
    CHECK((fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC)) >= 0);
    snprintf(options, sizeof options, "fd=%d,rootmode=100600,user_id=0,group_id=0", fuse);
    CHECK(mount("device", values[4], "fuse", MS_NOSUID | MS_NODEV, options) == 0);
    prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); /* never waits for pages that wait for us */
    pid_t child = begin(values + 5);
    for (;;) {
        struct pollfd ready = {fuse, POLLIN, 0};
        CHECK(poll(&ready, 1, 20) >= 0 || errno == EINTR);
        if (ready.revents & POLLIN) {
            ssize_t got = read(fuse, &request, sizeof request);
            CHECK(got > 0 || errno == EINTR || errno == EAGAIN || errno == ENOENT);
            if (got > 0) serve(&request.head);
            continue;
        }
        if (waitpid(child, &end, WNOHANG) == child) break;
    }
    /* What it has mounted may still be written back, by the kernel's own threads. */
    struct pollfd ready = {fuse, POLLIN, 0};
    while (poll(&ready, 1, 200) > 0) {
        if (read(fuse, &request, sizeof request) > 0) serve(&request.head);
    }
    umount2(values[4], MNT_DETACH);
    if (WIFSIGNALED(end)) raise(WTERMSIG(end));
    return WEXITSTATUS(end);
}
