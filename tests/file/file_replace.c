/* New contents as a new file. The first argument is a folder. Bare: what `cp` does. */
#include "disk.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#ifdef BARE
/* Which moments are met is luck, with one processor above all: as long as it takes. */
enum { until_it_fails = true };
static int sigward_replace_file(const char *source, const char *destination) {
    char block[4096];
    ssize_t got;
    int from = open(source, O_RDONLY), to = open(destination, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK(from >= 0 && to >= 0);
    while ((got = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)got) != got) return -errno;
    return close(to) == 0 && close(from) == 0 ? 0 : -errno;
}
#else
enum { until_it_fails = false };
#endif

static void put(const char *name, char letter, size_t len) {
    static char block[1 << 16];
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    memset(block, letter, sizeof block);
    CHECK(fd >= 0);
    for (size_t part; len > 0; len -= part) {
        part = len < sizeof block ? len : sizeof block;
        CHECK(write(fd, block, part) == (ssize_t)part);
    }
    CHECK(fsync(fd) == 0 && close(fd) == 0);
}

/* The letter that all of the file is, with this length; 0 if it is anything else. */
static char whole(const char *path, size_t len) {
    static char block[1 << 16];
    int fd = open(path, O_RDONLY);
    char letter = 0;
    size_t sum = 0;
    CHECK(fd >= 0);
    for (ssize_t got; (got = read(fd, block, sizeof block)) > 0; sum += (size_t)got)
        for (ssize_t i = 0; i < got; i++) {
            if (letter == 0) letter = block[i];
            if (block[i] != letter) letter = '?';
        }
    close(fd);
    return letter == '?' || sum != len ? 0 : letter;
}

/* How many hidden files of ours there are. */
static int leftovers(void) {
    DIR *folder = opendir(arguments[0]);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += strncmp(entry->d_name, ".sigward-", 9) == 0;
    closedir(folder);
    return count;
}

/* A reader has the file mapped while another takes its place. */
static void mapped(void) {
    put("live", 'o', 8 * PAGE);
    put("new", 'n', PAGE);
    int fd = open(path_of("live"), O_RDONLY);
    volatile char *map = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(sigward_replace_file(path_of("new"), path_of("live")) == 0);
    for (size_t at = 8 * PAGE; at-- > 0;) CHECK(map[at] == 'o'); /* bare dies */
    CHECK(whole(path_of("live"), PAGE) == 'n' && whole(path_of("new"), PAGE) == 'n' &&
          leftovers() == 0);
}

/* The disk has no room for the new one. */
static void no_space(void) {
    put("live", 'o', 2 << 20);
    put("new", 'n', 3 << 20);
    fill_disk();
    int status = sigward_replace_file(path_of("new"), path_of("live"));
    /* Where blocks can be shared there may be room for that. */
    CHECK(status == -ENOSPC || status == 0);
    CHECK(status == 0 ? whole(path_of("live"), 3 << 20) == 'n'
                      : whole(path_of("live"), 2 << 20) == 'o');
    CHECK(leftovers() == 0);
    SAY("%s\n", status == 0 ? "replaced" : "no space");
}

/* For tests that stop the process at any system call: `old` and `new` are of one letter each. */
static void crash_make(void) {
    put("live", 'o', 3 * PAGE + 7);
    /* Once: of a file that has just been written, a replacement waits for the next tick, with more
     * or fewer system calls. */
    if (access(path_of("new"), F_OK) != 0) put("new", 'n', 5 * PAGE + 9);
    CHECK(chmod(path_of("live"), 0640) == 0);
    if (arguments[1] != NULL) CHECK(unlink(path_of("live")) == 0);
}
static void crash(void) { CHECK(sigward_replace_file(path_of("new"), path_of("live")) == 0); }
static void crash_check(void) {
    struct stat file;
    const char *live = path_of("live");
    if (stat(live, &file) != 0) {
        CHECK(errno == ENOENT && arguments[1] != NULL && strcmp(arguments[1], "absent") == 0);
        SAY("old %d\n", leftovers());
        return;
    }
    char old = whole(live, 3 * PAGE + 7), new = whole(live, 5 * PAGE + 9);
    CHECK(old == 'o' || new == 'n'); /* bare: half of one */
    CHECK((file.st_mode & 07777) == (arguments[1] == NULL ? 0640 : 0644));
    SAY("%s %d\n", new == 'n' ? "new" : "old", leftovers());
}

/* Many at once: one of them is there, whole, and readers never see anything else. They go on until
 * a reader has looked often enough; bare, until it has seen something else. */
static volatile bool stop;
static _Atomic unsigned *looks;
enum { LOOKS = 40 };
static void *read_on(void *unused) {
    for (; !stop; (*looks)++) CHECK(whole(path_of("live"), 64 * PAGE) >= 'a');
    return unused;
}
static void concurrent(void) {
    pthread_t reader;
    pid_t parent = getpid();
    looks = mmap(NULL, sizeof *looks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(looks != MAP_FAILED);
    put("live", 'a', 64 * PAGE);
    for (char letter = 'b'; letter < 'f'; letter++) put((char[]){letter, 0}, letter, 64 * PAGE);
    CHECK(pthread_create(&reader, NULL, read_on, NULL) == 0);
    for (char letter = 'b'; letter < 'f'; letter++)
        if (fork() == 0) {
            CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent);
            for (int again = 0; again < 25 || *looks < LOOKS || until_it_fails; again++)
                CHECK(sigward_replace_file(path_of((char[]){letter, 0}), path_of("live")) == 0);
            _exit(0);
        }
    for (int status, left = 4; left > 0; left--) CHECK(wait(&status) > 0 && status == 0);
    stop = true;
    pthread_join(reader, NULL);
    CHECK(whole(path_of("live"), 64 * PAGE) > 'a' && leftovers() == 0);
}

/* Several processes replace one file, again and again, and are killed at any moment: one of the
 * files is there, whole, at each look, and what the killed ones have left goes. */
static void killed_together(void) {
    enum { PROCESSES = 4, KILLS = 120, LENGTH = 3 * PAGE };
    const char *const new[PROCESSES] = {"new-0", "new-1", "new-2", "new-3"};
    pid_t replacers[PROCESSES] = {0};
    put("live", 'o', LENGTH);
    for (int i = 0; i < PROCESSES; i++) put(new[i], (char)('0' + i), LENGTH);
    int looked = 0;
    bool torn = false;
    for (unsigned kills = 0, next = 1; (kills < KILLS || until_it_fails) && !torn; kills++) {
        for (int i = 0; i < PROCESSES; i++) {
            if (replacers[i] > 0) continue;
            CHECK((replacers[i] = fork()) >= 0);
            if (replacers[i] > 0) continue;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;) CHECK(sigward_replace_file(path_of(new[i]), path_of("live")) == 0);
        }
        next = next * 1103515245 + 12345;
        usleep(next / 65536 % 3000);
        for (int look = 0; look < 5 && !torn; look++, looked++)
            torn = whole(path_of("live"), LENGTH) == 0;
        int victim = (int)(next / 65536 % PROCESSES);
        CHECK(kill(replacers[victim], SIGKILL) == 0);
        CHECK(waitpid(replacers[victim], NULL, 0) == replacers[victim]);
        replacers[victim] = 0;
    }
    for (int i = 0; i < PROCESSES; i++)
        if (replacers[i] > 0)
            CHECK(kill(replacers[i], SIGKILL) == 0 && waitpid(replacers[i], NULL, 0) > 0);
    int left = leftovers();
    CHECK(sigward_replace_file(path_of("new-0"), path_of("live")) == 0);
    CHECK(whole(path_of("live"), LENGTH) == '0' && leftovers() == 0);
    SAY("%s\n", torn ? "torn" : "whole");
    fprintf(stderr, "%d looks, %d left\n", looked, left);
}

#ifndef BARE
static void refuses(int expected, const char *source, const char *destination) {
    int status = sigward_replace_file(source, destination);
    if (status != -expected)
        fprintf(stderr, "%s -> %s: %s\n", source, destination, strerror(-status));
    CHECK(status == -expected && leftovers() == 0);
}

static void bad(void) {
    struct rlimit limit = {PAGE, RLIM_INFINITY};
    char long_name[400];
    put("new", 'n', 2 * PAGE);
    put("live", 'o', PAGE);
    CHECK(mkdir(path_of("folder"), 0755) == 0 && mkfifo(path_of("fifo"), 0644) == 0);
    CHECK(symlink("loop", path_of("loop")) == 0);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    refuses(EISDIR, path_of("new"), path_of("folder"));
    refuses(EISDIR, path_of("new"), path_of("live/"));
    refuses(EISDIR, path_of("new"), path_of("."));
    refuses(EISDIR, path_of("folder"), path_of("live"));
    refuses(ENODEV, path_of("new"), path_of("fifo"));
    refuses(ENODEV, path_of("fifo"), path_of("live"));
    refuses(ENODEV, path_of("new"), "/dev/null");
    refuses(ENODEV, "/dev/null", path_of("live"));
    refuses(ELOOP, path_of("new"), path_of("loop"));
    refuses(ENOENT, path_of("none"), path_of("live"));
    refuses(ENOENT, path_of("new"), path_of("none/live"));
    refuses(ENOENT, path_of("new"), "");
    refuses(ENOTDIR, path_of("new"), path_of("live/x"));
    refuses(ENAMETOOLONG, path_of("new"), path_of(long_name));
    refuses(EINVAL, NULL, path_of("live"));
    refuses(EINVAL, path_of("new"), NULL);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    refuses(EFBIG, path_of("new"), path_of("live")); /* and no SIGXFSZ */
    CHECK(whole(path_of("live"), PAGE) == 'o');

    sigward_replacement *new = NULL;
    sigward_replacement_options options = {.size = sizeof options, .keep_privileges = 2};
    CHECK(sigward_replacement_open(path_of("live"), &options, &new) == -EINVAL && new == NULL);
    options = (sigward_replacement_options){.size = 8};
    CHECK(sigward_replacement_open(path_of("live"), &options, &new) == -EINVAL && new == NULL);
    CHECK(sigward_replacement_open(path_of("live"), NULL, NULL) == -EINVAL);
    CHECK(sigward_replacement_open(NULL, NULL, &new) == -EINVAL);
    CHECK(sigward_replacement_write(NULL, "x", 1) == -EINVAL &&
          sigward_replacement_fd(NULL) == -EINVAL);
    CHECK(sigward_replacement_commit(NULL) == -EINVAL &&
          sigward_replacement_abort(NULL) == -EINVAL);
    CHECK(sigward_replacement_open(path_of("live"), NULL, &new) == 0);
    CHECK(sigward_replacement_write(new, NULL, 1) == -EINVAL &&
          sigward_replacement_write(new, NULL, 0) == 0);
    static char much[3 * PAGE];
    CHECK(sigward_replacement_write(new, much, sizeof much) == PAGE);
    CHECK(sigward_replacement_write(new, much, sizeof much) == -EFBIG);
    CHECK(sigward_replacement_abort(new) == 0 && whole(path_of("live"), PAGE) == 'o' &&
          leftovers() == 0);
}

/* Written piece by piece, on a file that can be mapped meanwhile; then there, or not. */
static void writer(void) {
    for (int commit = 0; commit < 2; commit++) {
        sigward_replacement *new = NULL;
        put("live", 'o', PAGE);
        CHECK(sigward_replacement_open(path_of("live"), NULL, &new) == 0 && new != NULL);
        for (int i = 0; i < 100; i++) CHECK(sigward_replacement_write(new, "nnnnnnnnnn", 10) == 10);
        CHECK(whole(path_of("live"), PAGE) == 'o' &&
              lseek(sigward_replacement_fd(new), 0, SEEK_CUR) == 1000);
        CHECK((commit ? sigward_replacement_commit(new) : sigward_replacement_abort(new)) == 0);
        CHECK(commit ? whole(path_of("live"), 1000) == 'n' : whole(path_of("live"), PAGE) == 'o');
        CHECK(leftovers() == 0);
    }
    /* A new file: the umask's permissions, or the given ones. */
    struct stat file;
    sigward_replacement *new = NULL;
    sigward_replacement_options options = {.size = sizeof options, .mode = 0604};
    umask(026);
    CHECK(sigward_replacement_open(path_of("fresh"), NULL, &new) == 0 &&
          sigward_replacement_commit(new) == 0);
    CHECK(stat(path_of("fresh"), &file) == 0 && (file.st_mode & 07777) == 0640);
    CHECK(sigward_replacement_open(path_of("given"), &options, &new) == 0 &&
          sigward_replacement_commit(new) == 0);
    CHECK(stat(path_of("given"), &file) == 0 && (file.st_mode & 07777) == 0604 && leftovers() == 0);
}

/* user::rw-, user:1234:r--, group::r--, mask::r--, other::--- in the kernel's form
 * (linux/posix_acl_xattr.h). */
static const unsigned char access_list[] = {
    2,   0,   0,   0,   1,  0, 6, 0, 255, 255, 255, 255, 2,  0, 4, 0, 210, 4,   0,   0,  4, 0, 4, 0,
    255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};

static bool has(const char *path, const char *name, const void *value, size_t len) {
    char found[256];
    return getxattr(path, name, found, sizeof found) == (ssize_t)len &&
           memcmp(found, value, len) == 0;
}

/* Mode, owner (as root), extended attributes, access control lists. */
static void attributes(void) {
    struct stat file;
    const char *live = path_of("live"), *new = path_of("new");
    put("live", 'o', PAGE);
    put("new", 'n', PAGE);
    bool root = geteuid() == 0 && chown(live, 1234, 4321) == 0;
    bool attributes = setxattr(live, "user.kept", "value", 5, 0) == 0;
    bool lists = setxattr(live, "system.posix_acl_access", access_list, sizeof access_list, 0) == 0;
    if (attributes) CHECK(setxattr(new, "user.source", "x", 1, 0) == 0);
    CHECK(chmod(live, 06741) == 0);
    CHECK(sigward_replace_file(new, live) == 0 && whole(live, PAGE) == 'n' &&
          stat(live, &file) == 0);
    CHECK((file.st_mode & 07777) == 0741);
    CHECK(!root || (file.st_uid == 1234 && file.st_gid == 4321));
    if (attributes) CHECK(has(live, "user.kept", "value", 5) && !has(live, "user.source", "x", 1));
    if (lists) CHECK(getxattr(live, "system.posix_acl_access", NULL, 0) == sizeof access_list);
    /* Privileges go with the old contents, unless they are asked for. */
    /* cap_net_bind_service, in the kernel's form */
    static const unsigned char capability[20] = {1, 0, 0, 2, 0, 4};
    char found[32];
    sigward_replacement *replacement = NULL;
    sigward_replacement_options options = {.size = sizeof options, .keep_privileges = 1};
    CHECK(chmod(live, 06741) == 0);
    bool capable = setxattr(live, "security.capability", capability, sizeof capability, 0) == 0;
    CHECK(sigward_replacement_open(live, &options, &replacement) == 0);
    CHECK(sigward_replacement_commit(replacement) == 0);
    CHECK(stat(live, &file) == 0 && (file.st_mode & 07777) == 06741);
    ssize_t got = getxattr(live, "security.capability", found, sizeof found);
    CHECK(!capable || got == sizeof capability);
    CHECK(sigward_replace_file(new, live) == 0 && stat(live, &file) == 0);
    CHECK((file.st_mode & 07777) == 0741);
    CHECK(getxattr(live, "security.capability", found, sizeof found) == -1);
    /* No file yet: those of the source, less the umask. */
    const char *fresh = path_of("fresh");
    mode_t mask = umask(027);
    CHECK(chmod(new, 06766) == 0 && sigward_replace_file(new, fresh) == 0);
    CHECK(stat(fresh, &file) == 0);
    CHECK((file.st_mode & 07777) == 0740 && (!attributes || has(fresh, "user.source", "x", 1)));
    umask(mask);
    /* A folder that gives its files a list: the old file had none. */
    if (lists) {
        CHECK(mkdir(path_of("folder"), 0755) == 0);
        put("folder/live", 'o', PAGE);
        CHECK(setxattr(path_of("folder"), "system.posix_acl_default", access_list,
                       sizeof access_list, 0) == 0);
        CHECK(sigward_replace_file(new, path_of("folder/live")) == 0);
        CHECK(getxattr(path_of("folder/live"), "system.posix_acl_access", NULL, 0) == -1 &&
              errno == ENODATA);
    }
    SAY("owner %d attributes %d lists %d\n", root, attributes, lists);
}

/* A folder from which no name can be removed (chattr +a, and +i): nothing is left in there. */
static void fixed(void) {
    int flags[] = {0x20 /* FS_APPEND_FL */, 0x10 /* FS_IMMUTABLE_FL */};
    put("new", 'n', PAGE);
    CHECK(mkdir(path_of("folder"), 0755) == 0);
    put("folder/live", 'o', PAGE);
    int folder = open(path_of("folder"), O_RDONLY), none = 0, told = 0;
    for (int i = 0; i < 2; i++) {
        if (ioctl(folder, FS_IOC_SETFLAGS, &flags[i]) != 0) continue;
        told++;
        CHECK(sigward_replace_file(path_of("new"), path_of("folder/live")) == -EPERM);
        const char *fresh = path_of(i == 0 ? "folder/fresh" : "folder/other");
        int status = sigward_replace_file(path_of("new"), fresh);
        CHECK(status == 0 || status == -EPERM || status == -EACCES);
        DIR *listed = opendir(path_of("folder"));
        for (struct dirent *entry; (entry = readdir(listed)) != NULL;)
            CHECK(strncmp(entry->d_name, ".sigward-", 9) != 0);
        closedir(listed);
        CHECK(ioctl(folder, FS_IOC_SETFLAGS, &none) == 0);
        CHECK(whole(path_of("folder/live"), PAGE) == 'o');
    }
    SAY("told %d\n", told);
}

/* What was left behind goes with the next replacement of the same file; what is at work, another's,
 * or of another file stays. */
static void swept(void) {
    char text[PATH_MAX], hidden[4][PATH_MAX], other[PATH_MAX];
    int fd;
    put("live", 'o', PAGE);
    put("new", 'n', PAGE);
    /* What is its name? FNV-1a of "live". */
    uint64_t sum = 0xcbf29ce484222325;
    for (const char *at = "live"; *at != 0; at++) sum = (sum ^ (unsigned char)*at) * 0x100000001b3;
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof text, ".sigward-%016llx-%x", (unsigned long long)sum, i);
        put(text, 'x', PAGE);
        strcpy(hidden[i], path_of(text));
    }
    snprintf(text, sizeof text, ".sigward-%016llx-0", (unsigned long long)(sum + 1));
    put(text, 'x', PAGE);
    strcpy(other, path_of(text));
    /* Somebody is at work. */
    CHECK((fd = open(hidden[1], O_RDONLY)) >= 0 && flock(fd, LOCK_EX) == 0);
    bool root = chown(hidden[2], 1234, 1234) == 0;
    CHECK(link(hidden[3], path_of("second-name")) == 0);
    CHECK(sigward_replace_file(path_of("new"), path_of("live")) == 0);
    CHECK(whole(path_of("live"), PAGE) == 'n');
    CHECK(access(hidden[0], F_OK) != 0 && access(hidden[1], F_OK) == 0);
    CHECK(access(hidden[3], F_OK) == 0);
    CHECK(access(other, F_OK) == 0 && (!root || access(hidden[2], F_OK) == 0));
    /* The owner of what is replaced. */
    CHECK(!root || chown(path_of("live"), 1234, 1234) == 0);
    close(fd);
    CHECK(sigward_replace_file(path_of("new"), path_of("live")) == 0);
    CHECK(access(hidden[1], F_OK) != 0 && access(hidden[2], F_OK) != 0);
    CHECK(access(hidden[3], F_OK) == 0);
    /* A file that was replaced may be locked by anybody. */
    CHECK((fd = open(path_of("live"), O_RDONLY)) >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
}

/* A source whose end is a hole, longer than RLIMIT_FSIZE: making the copy as long is a write, too.
 */
static void long_hole(void) {
    struct rlimit limit = {1 << 20, RLIM_INFINITY};
    int memory = memfd_create("source", 0);
    char path[64];
    put("live", 'o', PAGE);
    CHECK(write(memory, "head", 4) == 4 && ftruncate(memory, 10 << 20) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    refuses(EFBIG, path, path_of("live"));
    CHECK(whole(path_of("live"), PAGE) == 'o');
}

/* Followed, or replaced. */
static void links(void) {
    char text[PATH_MAX];
    sigward_replacement *new = NULL;
    sigward_replacement_options options = {.size = sizeof options, .replace_link = 1};
    CHECK(mkdir(path_of("folder"), 0755) == 0);
    put("folder/real", 'o', PAGE);
    put("new", 'n', PAGE);
    CHECK(symlink("folder/real", path_of("first")) == 0 &&
          symlink(path_of("first"), path_of("second")) == 0);
    CHECK(link(path_of("folder/real"), path_of("hard")) == 0);
    CHECK(sigward_replace_file(path_of("new"), path_of("second")) == 0);
    CHECK(readlink(path_of("second"), text, sizeof text) > 0 &&
          readlink(path_of("first"), text, sizeof text) > 0);
    CHECK(whole(path_of("folder/real"), PAGE) == 'n' && whole(path_of("hard"), PAGE) == 'o');
    CHECK(sigward_replacement_open(path_of("second"), &options, &new) == 0);
    CHECK(sigward_replacement_write(new, "l", 1) == 1 && sigward_replacement_commit(new) == 0);
    CHECK(readlink(path_of("second"), text, sizeof text) == -1 && errno == EINVAL);
    CHECK(whole(path_of("second"), 1) == 'l' && whole(path_of("first"), PAGE) == 'n');
    /* One that leads nowhere yet. */
    CHECK(symlink("folder/later", path_of("dangling")) == 0);
    CHECK(sigward_replace_file(path_of("new"), path_of("dangling")) == 0);
    CHECK(whole(path_of("folder/later"), PAGE) == 'n' && leftovers() == 0);
    /* A source that is a link, and one and the same file. */
    CHECK(sigward_replace_file(path_of("first"), path_of("hard")) == 0 &&
          whole(path_of("hard"), PAGE) == 'n');
    CHECK(sigward_replace_file(path_of("hard"), path_of("hard")) == 0 &&
          whole(path_of("hard"), PAGE) == 'n');
}

/* Links of /proc to a file that has a name, that has none, and one whose text names another's. */
static void magic(void) {
    char link[64], deleted[PATH_MAX], there[PAGE];
    put("new", 'n', PAGE);
    put("live", 'o', PAGE);
    int fd = open(path_of("live"), O_RDWR);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    CHECK(sigward_replace_file(path_of("new"), link) == 0 && whole(path_of("live"), PAGE) == 'n');
    snprintf(deleted, sizeof deleted, "%s (deleted)", path_of("live"));
    refuses(ENOENT, path_of("new"), link);
    CHECK(access(deleted, F_OK) == -1 && errno == ENOENT);
    put("live (deleted)", 'a', PAGE);
    refuses(ENOENT, path_of("new"), link);
    CHECK(whole(deleted, PAGE) == 'a' && whole(path_of("live"), PAGE) == 'n');
    CHECK(pread(fd, there, sizeof there, 0) == PAGE && there[0] == 'o' && leftovers() == 0);
}

/* Holes stay holes, and files of another file system come over: /proc's have no length. */
static void sources(void) {
    int fd = open(path_of("sparse"), O_RDWR | O_CREAT, 0644), memory = memfd_create("source", 0);
    struct stat file;
    char path[64], here[4096] = {0}, there[4096] = {0};
    CHECK(ftruncate(fd, 1 << 30) == 0);
    fill(fd, 300 << 20, (300 << 20) + 3 * PAGE);
    CHECK(sigward_replace_file(path_of("sparse"), path_of("copy")) == 0 &&
          stat(path_of("copy"), &file) == 0);
    CHECK(file.st_size == 1 << 30 && file.st_blocks * 512 < 1 << 20);
    int copy = open(path_of("copy"), O_RDONLY);
    holds(copy, 300 << 20, (300 << 20) + 3 * PAGE, false);
    holds(copy, 299 << 20, 300 << 20, true);
    fill(memory, 0, 1000003);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    CHECK(sigward_replace_file(path, path_of("copy")) == 0);
    copy = open(path_of("copy"), O_RDONLY);
    CHECK(fstat(copy, &file) == 0 && file.st_size == 1000003);
    holds(copy, 0, 1000003, false);
    CHECK(sigward_replace_file("/proc/version", path_of("copy")) == 0);
    ssize_t len = read(open("/proc/version", O_RDONLY), here, sizeof here);
    CHECK(len > 0 && read(open(path_of("copy"), O_RDONLY), there, sizeof there) == len &&
          strcmp(here, there) == 0);
    /* An empty one. */
    put("empty", 'e', 0);
    CHECK(sigward_replace_file(path_of("empty"), path_of("copy")) == 0 &&
          stat(path_of("copy"), &file) == 0);
    CHECK(file.st_size == 0 && leftovers() == 0);
}

/* As a user who may not: nothing has happened. */
static void not_permitted(void) {
    struct stat file;
    sigward_replacement *new = NULL;
    sigward_replacement_options options = {.size = sizeof options, .any_owner = 1};
    put("live", 'o', PAGE);
    put("new", 'n', PAGE);
    CHECK(mkdir(path_of("closed"), 0755) == 0 && mkdir(path_of("unreadable"), 0777) == 0);
    CHECK(chmod(path_of("unreadable"), 0333) == 0 && chmod(arguments[0], 0777) == 0 &&
          chmod(path_of("live"), 06755) == 0);
    put("secret", 's', PAGE);
    CHECK(chmod(path_of("secret"), 0600) == 0);
    CHECK(setgid(1000) == 0 && setuid(1000) == 0);
    refuses(EPERM, path_of("new"), path_of("live"));
    refuses(EACCES, path_of("new"), path_of("closed/live"));
    refuses(EACCES, path_of("secret"), path_of("mine"));
    CHECK(whole(path_of("live"), PAGE) == 'o');
    CHECK(sigward_replacement_open(path_of("live"), &options, &new) == 0);
    CHECK(sigward_replacement_write(new, "m", 1) == 1 && sigward_replacement_commit(new) == 0);
    CHECK(whole(path_of("live"), 1) == 'm' && stat(path_of("live"), &file) == 0);
    CHECK(file.st_uid == 1000 && (file.st_mode & 07777) == 0755); /* not with root's set-user-ID */
    CHECK(sigward_replace_file(path_of("new"), path_of("unreadable/live")) == 0);
    CHECK(whole(path_of("unreadable/live"), PAGE) == 'n');
    CHECK(sigward_replace_file(path_of("new"), path_of("mine")) == 0 &&
          whole(path_of("mine"), PAGE) == 'n');
}

/* A file on which another is mounted (the second argument), a folder that is read-only (the
 * third). */
static void mounts(void) {
    put("new", 'n', PAGE);
    refuses(EBUSY, path_of("new"), arguments[1]);
    refuses(EROFS, path_of("new"), arguments[2]);
}

/* The source is written to while it is copied: a writer that never pauses. */
static volatile bool writes;
static void *write_on(void *unused) {
    int fd = open(path_of("new"), O_WRONLY);
    for (off_t at = 0; !stop; at = (at + PAGE) % (8 << 20)) {
        CHECK(pwrite(fd, "x", 1, at) == 1);
        writes = true;
    }
    close(fd);
    return unused;
}
static void changing(void) {
    pthread_t other;
    put("new", 'n', 8 << 20);
    put("live", 'o', PAGE);
    CHECK(pthread_create(&other, NULL, write_on, NULL) == 0);
    while (!writes) usleep(1000);
    /* Until both have had a processor at the same time, or in turn. */
    alarm(patience(100));
    for (int status = 0; status != -ESTALE;) {
        status = sigward_replace_file(path_of("new"), path_of("live"));
        CHECK(status == 0 || status == -ESTALE);
    }
    stop = true;
    pthread_join(other, NULL);
    CHECK(leftovers() == 0);
    SAY("told\n");
}

/* Somebody writes all the time, each generation in one write(2): what is published is one of them,
 * or it is an error. */
static void generations(void) {
    enum { SIZE = 1 << 20, ROUNDS = 50 };
    static unsigned char block[SIZE];
    unsigned published = 0;
    int fd = open(path_of("new"), O_RDWR | O_CREAT, 0644);
    CHECK(pwrite(fd, block, SIZE, 0) == SIZE);
    generations_t *others = write_generations(fd, block, SIZE);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int status = sigward_replace_file(path_of("new"), path_of("live"));
        CHECK(status == 0 || status == -ESTALE);
        if (status != 0) continue;
        published++;
        int live = open(path_of("live"), O_RDONLY);
        CHECK(read(live, block, SIZE) == SIZE);
        close(live);
        for (size_t at = 0; at < SIZE; at++) CHECK(block[at] == block[0]);
    }
    end_generations(others);
    CHECK(leftovers() == 0);
    SAY("%u published\n", published);
}

/* ---- the folder cannot be written to the disk ---- */

static int folder_error;

/* In place of the C library's: refuses folders. */
int fsync(int fd) {
    struct stat about;
    if (folder_error != 0 && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        errno = folder_error;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static void unsynced(void) {
    sigward_replacement *new;
    put("old", 'o', PAGE);
    put("new", 'n', PAGE);
    folder_error = EIO;
    CHECK(sigward_replace_file(path_of("new"), path_of("old")) == -SIGWARD_EUNSYNCED);
    CHECK(whole(path_of("old"), PAGE) == 'n');
    CHECK(sigward_replacement_open(path_of("old"), NULL, &new) == 0 &&
          sigward_replacement_write(new, "w", 1) == 1);
    CHECK(sigward_replacement_commit(new) == -SIGWARD_EUNSYNCED && whole(path_of("old"), 1) == 'w');
    CHECK(strcmp(sigward_strerror(-SIGWARD_EUNSYNCED), sigward_strerror(SIGWARD_EUNSYNCED)) == 0);
    CHECK(strstr(sigward_strerror(-SIGWARD_EUNSYNCED), "is replaced") != NULL);
    /* A file system that has nothing to write there. */
    folder_error = EINVAL;
    CHECK(sigward_replace_file(path_of("new"), path_of("old")) == 0 &&
          whole(path_of("old"), PAGE) == 'n');
}
#define WARDED_ONLY                                                                                \
    , {"bad", bad}, {"writer", writer}, {"attributes", attributes}, {"links", links},              \
        {"magic", magic}, {"sources", sources}, {"not_permitted", not_permitted},                  \
        {"mounts", mounts}, {"changing", changing}, {"generations", generations},                  \
        {"unsynced", unsynced}, {"fixed", fixed}, {"swept", swept}, {                              \
        "long_hole", long_hole                                                                     \
    }
#else
#define WARDED_ONLY
#endif

SCENARIOS({"mapped", mapped}, {"no_space", no_space}, {"crash_make", crash_make}, {"crash", crash},
          {"crash_check", crash_check}, {"concurrent", concurrent},
          {"killed_together", killed_together} WARDED_ONLY)
