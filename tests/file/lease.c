/* Told before a file is cut. The first argument is a folder. Bare: the kernel's lease as it comes,
 * or none. */
#include "disk.h"
#include "refuse.h"
#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

enum { PAGES = 64 };
#define SIZE (PAGES * PAGE)

static const char *new_file(const char *name) {
    const char *path = strdup(path_of(name));
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0);
    fill(fd, 0, SIZE);
    CHECK(close(fd) == 0);
    return path;
}

static int cut(const char *path) { return truncate(path, 0); }

/* In another process, which ends when it is through. */
static pid_t elsewhere(int (*work)(const char *), const char *path) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) _exit(work(path) == 0 ? 0 : 1);
    return child;
}

static inline bool is_over(pid_t child) {
    int status;
    pid_t ended = waitpid(child, &status, WNOHANG);
    CHECK(ended >= 0);
    return ended == child;
}

static void went_well(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static const volatile unsigned char *map_of(int fd) {
    void *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    return map;
}

static void all_is_there(const volatile unsigned char *map) {
    for (uint64_t at = 0; at < SIZE; at++) CHECK(map[at] == content(at));
    munmap((void *)map, SIZE);
}

static inline uint64_t length(const char *path) {
    struct stat file;
    CHECK(stat(path, &file) == 0);
    return (uint64_t)file.st_size;
}

static int open_to_cut(const char *path) { return open(path, O_WRONLY | O_TRUNC) < 0; }

static int copy_over(const char *path) {
    execlp("cp", "cp", "/dev/null", path, (char *)NULL);
    return 1;
}

static int (*const cutters[])(const char *) = {cut, open_to_cut, copy_over};

#ifdef BARE
/* As a program does it that has never heard of F_SETSIG. */
typedef struct {
    int fd;
} sigward_lease;
static int sigward_lease_take(const char *path, sigward_lease **out) {
    static sigward_lease lease;
    lease.fd = open(path, O_RDONLY);
    *out = &lease;
    return fcntl(lease.fd, F_SETLEASE, F_RDLCK);
}
static int sigward_lease_file(sigward_lease *lease) { return lease->fd; }
static int sigward_lease_wait(sigward_lease *lease, int timeout) {
    (void)timeout;
    while (fcntl(lease->fd, F_GETLEASE) == F_RDLCK) usleep(1000);
    return 1;
}
static int sigward_lease_release(sigward_lease *lease) {
    CHECK(fcntl(lease->fd, F_SETLEASE, F_UNLCK) == 0);
    return close(lease->fd);
}

/* A map, and somebody who cuts the file. */
static void in_time(void) {
    const char *path = new_file("in_time");
    int fd = open(path, O_RDONLY);
    const volatile unsigned char *map = map_of(fd);
    went_well(elsewhere(cutters[atoi(arguments[1])], path));
    all_is_there(map);
}
#else
static bool is_readable(int fd) {
    struct pollfd poll_it = {.fd = fd, .events = POLLIN};
    int count = poll(&poll_it, 1, 0);
    CHECK(count >= 0);
    return count == 1;
}

/* Nobody wants it yet. */
static sigward_lease *taken(const char *path) {
    sigward_lease *lease;
    int status = sigward_lease_take(path, &lease);
    if (status != 0) fprintf(stderr, "%s: %s\n", path, sigward_strerror(status));
    CHECK(status == 0 && lease != NULL);
    return lease;
}

static void in_time(void) {
    const char *path = new_file("in_time");
    sigward_lease *lease = taken(path);
    const volatile unsigned char *map = map_of(sigward_lease_file(lease));
    CHECK(sigward_lease_wait(lease, 0) == 0 && sigward_lease_wait(lease, 20) == 0);
    CHECK(!is_readable(sigward_lease_fd(lease)) && sigward_lease_is_wanted(lease) == 0);
    CHECK(sigward_lease_time_left_ms(lease) == INT64_MAX && sigward_lease_check(lease) == 0);
    pid_t cutter = elsewhere(cutters[atoi(arguments[1])], path);
    CHECK(sigward_lease_wait(lease, -1) == 1 && sigward_lease_wait(lease, 0) == 1);
    CHECK(is_readable(sigward_lease_fd(lease)) && sigward_lease_is_wanted(lease) == 1);
    int64_t left = sigward_lease_time_left_ms(lease);
    CHECK(left > 0 && left < INT64_MAX);
    all_is_there(map);
    CHECK(!is_over(cutter) && length(path) == SIZE && sigward_lease_check(lease) == 0);
    CHECK(sigward_lease_release(lease) == 0);
    went_well(cutter);
    CHECK(length(path) == 0);
}

/* Beside the folder that the overlay shows: its writers get a copy, and wait for this one's readers
 * nonetheless. */
static void lower(void) {
    const char *path = path_of("lower_file");
    sigward_lease *lease = taken(path);
    const volatile unsigned char *map = map_of(sigward_lease_file(lease));
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(lease, -1) == 1 && !is_over(cutter));
    all_is_there(map);
    CHECK(sigward_lease_release(lease) == 0);
    went_well(cutter);
    CHECK(length(path) == 0);
}

static void make(void) { new_file("lower_file"); }

static void once_more(const char *path) {
    sigward_lease *lease = taken(path);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(lease, -1) == 1 && !is_over(cutter));
    CHECK(sigward_lease_release(lease) == 0);
    went_well(cutter);
}

/* Each take has to arm the notice anew. */
static void again(void) {
    const char *path = new_file("again");
    for (int round = 0; round < 20; round++) once_more(path);
}

static void no_room_for_signals(void) {
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
}

/* So often that looking every two seconds would not do. */
static void again_full_queue(void) {
    no_room_for_signals();
    const char *path = new_file("again");
    sigward_lease *other = taken(new_file("other"));
    for (int round = 0; round < 40; round++) once_more(path);
    CHECK(sigward_lease_is_wanted(other) == 0 && sigward_lease_release(other) == 0);
}

static void one_to_keep(const char *path, const sigset_t *pending) {
    sigset_t now;
    once_more(path);
    CHECK(sigpending(&now) == 0);
    for (int signal = 1; signal < NSIG; signal++)
        if (sigismember(pending, signal) == 1 && sigismember(&now, signal) != 1) {
            fprintf(stderr, "signal %d is gone\n", signal);
            _exit(99);
        }
}

/* Signals to the process that wait until the host takes them: no thread of ours may do it
 * instead. */
static void waiting_signals(void) {
    sigset_t all, sent;
    const char *path = new_file("waiting");
    CHECK(sigfillset(&all) == 0 && sigprocmask(SIG_BLOCK, &all, NULL) == 0);
    CHECK(sigemptyset(&sent) == 0);
    once_more(path);
    sigward_lease *other = taken(new_file("other"));
    for (int signal = 1; signal < NSIG; signal++) {
        if (signal == SIGKILL || signal == SIGSTOP || signal == SIGCHLD ||
            sigismember(&all, signal) != 1)
            continue;
        /* The one that is ours, and that nobody uses. */
        if (signal == SIGSTKFLT) continue;
        CHECK(kill(getpid(), signal) == 0 && sigaddset(&sent, signal) == 0);
    }
    sigdelset(&sent, SIGCONT), sigdelset(&sent, SIGTSTP), sigdelset(&sent, SIGTTIN),
        sigdelset(&sent, SIGTTOU);
    one_to_keep(path, &sent);
    CHECK(sigward_lease_release(other) == 0);
    one_to_keep(path, &sent);
    /* They would end us now. */
    _exit(0);
}

/* A notice that never comes: somebody has taken the address off it. */
static void lost_notice(void) {
    const char *path = new_file("lost");
    sigward_lease *lease = taken(path);
    CHECK(fcntl(sigward_lease_file(lease), F_SETOWN, 0) == 0);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(lease, -1) == 1 && !is_over(cutter));
    CHECK(sigward_lease_time_left_ms(lease) > 0 && sigward_lease_release(lease) == 0);
    went_well(cutter);
}

enum { MANY = 200 };

static const char *numbered(int number) {
    char name[32];
    snprintf(name, sizeof name, "many%d", number);
    return path_of(name);
}

static int want_all(const char *unused) {
    (void)unused;
    for (int i = 0; i < MANY; i++)
        CHECK(open(numbered(i), O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
    return 0;
}

static void many(void) {
    sigward_lease *lease[MANY];
    for (int i = 0; i < MANY; i++) {
        close(open(numbered(i), O_WRONLY | O_CREAT, 0600));
        lease[i] = taken(numbered(i));
    }
    went_well(elsewhere(want_all, NULL));
    for (int i = 0; i < MANY; i++)
        CHECK(sigward_lease_wait(lease[i], -1) == 1 && sigward_lease_check(lease[i]) == 0);
    for (int i = 0; i < MANY; i++) CHECK(sigward_lease_release(lease[i]) == 0);
    for (int i = 0; i < MANY; i++) CHECK(truncate(numbered(i), 1) == 0);
}

static void many_full_queue(void) {
    no_room_for_signals();
    many();
}

static void writers(void) {
    const char *path = new_file("writers");
    sigward_lease *lease = (sigward_lease *)1;
    int fd = open(path, O_RDWR);
    CHECK(sigward_lease_take(path, &lease) == -EAGAIN && lease == NULL);
    CHECK(sigward_lease_of(fd, &lease) == -EAGAIN && lease == NULL);
    void *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED && close(fd) == 0);
    CHECK(sigward_lease_take(path, &lease) == -EAGAIN && lease == NULL);
    CHECK(munmap(map, PAGE) == 0);
    CHECK(sigward_lease_release(taken(path)) == 0);
    /* A child has its parent's descriptors until it calls exec, those with O_CLOEXEC as well. */
    int go_on[2];
    CHECK(pipe(go_on) == 0 && (fd = open(path, O_RDWR | O_CLOEXEC)) >= 0);
    pid_t child = fork();
    if (child == 0) {
        char none;
        close(go_on[1]);
        CHECK(read(go_on[0], &none, 1) == 0);
        execlp("true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK(close(fd) == 0 && sigward_lease_take(path, &lease) == -EAGAIN && lease == NULL);
    CHECK(close(go_on[1]) == 0 && close(go_on[0]) == 0);
    went_well(child);
    CHECK(sigward_lease_release(taken(path)) == 0);
    /* One that waits for another reader's lease is a writer, too; and so is a lease for writing. */
    sigward_lease *first = taken(path);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(first, -1) == 1 && sigward_lease_take(path, &lease) == -EAGAIN);
    CHECK(sigward_lease_release(first) == 0);
    went_well(cutter);
    fd = open(path, O_RDONLY);
    CHECK(fcntl(fd, F_SETOWN, 0) == 0 && signal(SIGIO, SIG_IGN) != SIG_ERR);
    CHECK(fcntl(fd, F_SETLEASE, F_WRLCK) == 0);
    CHECK(sigward_lease_take(path, &lease) == -EAGAIN && lease == NULL);
    close(fd);
    /* Two readers are none, and both are told. */
    first = taken(path);
    sigward_lease *second = taken(path);
    cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(first, -1) == 1 && sigward_lease_wait(second, -1) == 1);
    CHECK(sigward_lease_release(first) == 0 && !is_over(cutter));
    CHECK(sigward_lease_release(second) == 0);
    went_well(cutter);
}

/* Of an open descriptor: nothing of it changes, and it may be closed. */
static void of_descriptor(void) {
    const char *path = new_file("of");
    int fd = open(path, O_RDONLY);
    sigward_lease *lease;
    CHECK(lseek(fd, 77, SEEK_SET) == 77 && fcntl(fd, F_SETOWN, getpid()) == 0);
    CHECK(sigward_lease_of(fd, &lease) == 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == 77 && fcntl(fd, F_GETOWN) == getpid());
    CHECK(fcntl(fd, F_GETSIG) == 0);
    CHECK(fcntl(fd, F_GETFL) == (fcntl(fd, F_GETFL) & ~(O_ASYNC | O_NONBLOCK)) && close(fd) == 0);
    CHECK(unlink(path) == 0 && sigward_lease_check(lease) == 0);
    all_is_there(map_of(sigward_lease_file(lease)));
    CHECK(sigward_lease_release(lease) == 0);
}

static int as_nobody(const char *path) {
    sigward_lease *lease;
    if (geteuid() == 0) CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && close(fd) == 0);
    CHECK(sigward_lease_take(path, &lease) == -EACCES && lease == NULL);
    return 0;
}

static void not_owner(void) { went_well(elsewhere(as_nobody, "/etc/passwd")); }

static int files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

/* With its name, if it is there. */
static int threads(pid_t *ours) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    CHECK(folder != NULL);
    for (struct dirent *task; (task = readdir(folder)) != NULL;) {
        char path[300], name[32] = "";
        if (task->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%.200s/comm", task->d_name);
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        if (read(fd, name, sizeof name - 1) > 0 && strcmp(name, "sigward-leases\n") == 0 && ours)
            *ours = atoi(task->d_name);
        close(fd);
        count++;
    }
    closedir(folder);
    return count;
}

/* The kernel lists a thread that was joined for a moment longer. */
static void alone(void) {
    while (threads(NULL) != 1) usleep(1000);
}

static unsigned long long blocked_in(pid_t thread) {
    char path[64], line[128];
    unsigned long long set = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", thread);
    FILE *status = fopen(path, "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status)) sscanf(line, "SigBlk: %llx", &set);
    fclose(status);
    return set;
}

static void one_thread(void) {
    pid_t thread = 0;
    const char *path = new_file("thread");
    CHECK(threads(NULL) == 1);
    for (int round = 0; round < 3; round++) {
        sigward_lease *first = taken(path), *second = taken(path);
        CHECK(threads(&thread) == 2 && thread != 0);
        /* All but KILL, STOP, the C library's own and what a thread's own instruction raises. While
         * it waits for one, that is not shown as blocked. */
        unsigned long long kept = ((1ULL << (SIGRTMIN - 32)) - 1) << 31;
        const int open[] = {SIGKILL, SIGSTOP, SIGSTKFLT, SIGBUS, SIGSEGV,
                            SIGILL,  SIGFPE,  SIGTRAP,   SIGSYS};
        for (size_t i = 0; i < sizeof open / sizeof *open; i++) kept |= 1ULL << (open[i] - 1);
        CHECK((blocked_in(thread) | kept) == ~0ULL);
        CHECK(sigward_lease_release(first) == 0 && threads(NULL) == 2);
        CHECK(sigward_lease_release(second) == 0);
        alone();
    }
}

static int of_the_child(const char *path) {
    (void)path;
    sigward_lease *own = taken(path_of("child"));
    CHECK(open(path_of("child"), O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
    CHECK(sigward_lease_wait(own, -1) == 1 && sigward_lease_release(own) == 0);
    alone();
    return 0;
}

static sigward_lease *inherited;

static int gives_back(const char *path) {
    int before = files();
    CHECK(sigward_lease_release(inherited) == 0 && files() == before - 2);
    return of_the_child(path);
}

static int is_told(const char *path) {
    (void)path;
    return sigward_lease_wait(inherited, -1) != 1;
}

static void forked(void) {
    const char *path = new_file("forked");
    new_file("child");
    inherited = taken(path);
    went_well(elsewhere(gives_back, path));
    CHECK(sigward_lease_check(inherited) == 0 && sigward_lease_is_wanted(inherited) == 0);
    pid_t listener = elsewhere(is_told, path);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(inherited, -1) == 1);
    went_well(listener);
    went_well(elsewhere(gives_back, path));
    CHECK(!is_over(cutter) && sigward_lease_check(inherited) == 0);
    CHECK(sigward_lease_release(inherited) == 0);
    went_well(cutter);
}

static volatile bool stop;

static void *takes_and_releases(void *path) {
    while (!stop) CHECK(sigward_lease_release(taken(path)) == 0);
    return NULL;
}

/* At a fork another thread may be anywhere in here, with the lock held. */
static void forked_in_between(void) {
    pthread_t thread;
    new_file("child");
    CHECK(pthread_create(&thread, NULL, takes_and_releases, (void *)new_file("busy")) == 0);
    for (int round = 0; round < 100; round++) went_well(elsewhere(of_the_child, NULL));
    stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

/* On the thread that holds it. */
static void by_itself(void) {
    const char *path = new_file("itself");
    sigward_lease *lease = taken(path);
    CHECK(open(path, O_WRONLY | O_NONBLOCK) == -1 && errno == EWOULDBLOCK);
    CHECK(sigward_lease_wait(lease, -1) == 1 && length(path) == SIZE);
    CHECK(sigward_lease_release(lease) == 0);
    int fd = open(path, O_WRONLY | O_NONBLOCK);
    CHECK(fd >= 0);
}

static int maps(void) {
    int lines = 0, c;
    FILE *list = fopen("/proc/self/maps", "r");
    CHECK(list != NULL);
    while ((c = getc(list)) != EOF) lines += c == '\n';
    fclose(list);
    return lines;
}

static void leaks(void) {
    const char *path = new_file("leaks");
    sigward_lease *lease;
    int files_before = 0, maps_before = 0;
    for (int round = 0; round < 600; round++) {
        if (round == 100) files_before = files(), maps_before = maps();
        lease = taken(path);
        if (round % 2) CHECK(open(path, O_WRONLY | O_NONBLOCK) == -1);
        CHECK(sigward_lease_release(lease) == 0);
        int writer = open(path, O_WRONLY);
        CHECK(sigward_lease_take(path, &lease) == -EAGAIN && close(writer) == 0);
    }
    alone();
    CHECK(files() == files_before && maps() <= maps_before);
}

static void bad(void) {
    const char *path = new_file("bad");
    sigward_lease *lease = (sigward_lease *)1;
    int before = files(), socket_fd = socket(AF_UNIX, SOCK_STREAM, 0), ends[2];
    struct sockaddr_un {
        sa_family_t family;
        char path[108];
    } address = {AF_UNIX, ""};
    CHECK(sigward_lease_take(NULL, &lease) == -EINVAL && lease == NULL);
    CHECK(sigward_lease_take(path, NULL) == -EINVAL && sigward_lease_of(0, NULL) == -EINVAL);
    CHECK(truncate(path, 1) == 0); /* nobody holds it */
    CHECK(sigward_lease_take("", &lease) == -ENOENT);
    CHECK(sigward_lease_take(path_of("none"), &lease) == -ENOENT);
    CHECK(sigward_lease_take(arguments[0], &lease) == -EISDIR);
    CHECK(sigward_lease_take("/dev/null", &lease) == -ENODEV);
    CHECK(mkfifo(path_of("fifo"), 0600) == 0);
    CHECK(sigward_lease_take(path_of("fifo"), &lease) == -ENODEV);
    CHECK(chdir(arguments[0]) == 0 && strcpy(address.path, "socket"));
    CHECK(bind(socket_fd, (struct sockaddr *)&address, sizeof address) == 0 && pipe(ends) == 0);
    CHECK(sigward_lease_take("socket", &lease) == -ENODEV);
    CHECK(sigward_lease_of(socket_fd, &lease) == -ENODEV);
    CHECK(sigward_lease_of(ends[0], &lease) == -ENODEV);
    CHECK(sigward_lease_of(ends[1], &lease) == -ENODEV);
    CHECK(sigward_lease_of(-1, &lease) == -EBADF && sigward_lease_of(4000, &lease) == -EBADF);
    CHECK(symlink("circle", "circle") == 0 && sigward_lease_take("circle", &lease) == -ELOOP);
    CHECK(lease == NULL);
    CHECK(sigward_lease_file(NULL) == -EINVAL && sigward_lease_fd(NULL) == -EINVAL);
    CHECK(sigward_lease_wait(NULL, 0) == -EINVAL && sigward_lease_check(NULL) == -EINVAL);
    CHECK(sigward_lease_is_wanted(NULL) == -EINVAL && sigward_lease_time_left_ms(NULL) == -EINVAL);
    CHECK(sigward_lease_release(NULL) == 0);
    close(socket_fd), close(ends[0]), close(ends[1]);
    /* With no descriptor left, and with one. */
    for (int room = 0; room < 2; room++) {
        struct rlimit limit, tight;
        int next = dup(0);
        CHECK(next >= 0 && close(next) == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0);
        tight = limit;
        tight.rlim_cur = (rlim_t)(next + room);
        CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0 && sigward_lease_take(path, &lease) == -EMFILE);
        CHECK(lease == NULL);
        CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    }
    alone();
    CHECK(files() == before && truncate(path, 0) == 0);
}

/* lease-break-time is 1. */
static void by_force(void) {
    const char *path = new_file("force");
    sigward_lease *lease = taken(path);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(lease, -1) == 1 || sigward_lease_check(lease) == -ESTALE);
    CHECK(sigward_lease_time_left_ms(lease) <= 1000);
    went_well(cutter);
    CHECK(length(path) == 0 && sigward_lease_is_wanted(lease) == 1);
    CHECK(sigward_lease_check(lease) == -ESTALE && sigward_lease_wait(lease, -1) == -ESTALE);
    while (sigward_lease_time_left_ms(lease) != 0) usleep(1000);
    CHECK(sigward_lease_release(lease) == -ESTALE);
    /* A new one is as any other, with as much time as there is by default: who called us puts back
     * what was there. */
    int setting = open("/proc/sys/fs/lease-break-time", O_WRONLY);
    CHECK(setting >= 0 && write(setting, "45", 2) == 2 && close(setting) == 0);
    once_more(path);
}

/* It is 0. */
static void for_ever(void) {
    const char *path = new_file("ever");
    sigward_lease *lease = taken(path);
    pid_t cutter = elsewhere(cut, path);
    CHECK(sigward_lease_wait(lease, -1) == 1 && sigward_lease_time_left_ms(lease) == INT64_MAX);
    CHECK(!is_over(cutter) && sigward_lease_release(lease) == 0);
    went_well(cutter);
}

/* As where /proc/sys/fs/leases-enable is 0 (`generic_setlease` in fs/locks.c), which would be so
 * for everybody on this machine. */
static void switched_off(void) {
    sigward_lease *lease = (sigward_lease *)1;
    const char *path = new_file("off");
    refuse_command(SYS_fcntl, F_SETLEASE, EINVAL);
    CHECK(sigward_lease_take(path, &lease) == -EOPNOTSUPP && lease == NULL);
    alone();
}
#endif

static volatile sig_atomic_t handled;

static void count(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info, (void)context;
    handled++;
}

static void dispositions(struct sigaction *all, sigset_t *mask) {
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, NULL, &all[signal]);
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, mask) == 0);
}

/* A host that listens to every signal that a notice could be: how many handlers ran. */
static void untouched(void) {
    struct sigaction before[NSIG], after[NSIG];
    sigset_t mask_before, mask_after, some;
    memset(before, 0, sizeof before);
    memset(after, 0, sizeof after);
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &some, NULL) == 0);
    install(SIGIO, count, SA_RESTART);
    install(SIGURG, count, SA_RESTART);
    for (int signal = SIGRTMIN; signal <= SIGRTMAX; signal++) install(signal, count, SA_RESTART);
    dispositions(before, &mask_before);
    const char *path = new_file("untouched");
    for (int round = 0; round < 4; round++) {
        if (round == 2) {
            struct rlimit none = {0, 0};
            CHECK(setrlimit(RLIMIT_SIGPENDING, &none) == 0);
        }
        sigward_lease *lease;
        CHECK(sigward_lease_take(path, &lease) == 0);
        pid_t cutter = elsewhere(cut, path);
        CHECK(sigward_lease_wait(lease, -1) == 1);
        all_is_there(map_of(sigward_lease_file(lease)));
        CHECK(sigward_lease_release(lease) == 0);
        went_well(cutter);
        new_file("untouched");
    }
    dispositions(after, &mask_after);
    for (int signal = 1; signal < NSIG; signal++) {
        CHECK(before[signal].sa_sigaction == after[signal].sa_sigaction);
        CHECK(before[signal].sa_flags == after[signal].sa_flags);
        CHECK(sigismember(&mask_before, signal) == sigismember(&mask_after, signal));
    }
    SAY("%d handled\n", (int)handled);
}

SCENARIOS({"in_time", in_time}, {"untouched", untouched},
#ifndef BARE
          {"make", make}, {"lower", lower}, {"again", again},
          {"again_full_queue", again_full_queue}, {"lost_notice", lost_notice},
          {"waiting_signals", waiting_signals}, {"many", many},
          {"many_full_queue", many_full_queue}, {"writers", writers},
          {"of_descriptor", of_descriptor}, {"not_owner", not_owner}, {"one_thread", one_thread},
          {"forked", forked}, {"forked_in_between", forked_in_between}, {"by_itself", by_itself},
          {"leaks", leaks}, {"bad", bad}, {"by_force", by_force}, {"for_ever", for_ever},
          {"switched_off", switched_off},
#endif
)
