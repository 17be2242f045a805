/* A process without /proc (a chroot, a container): files cannot be adopted there, and it is told
 * what is missing. The library's system calls come here. */
#include "maps.h"
#include <dlfcn.h>
#include <stdarg.h>

static int hidden;

long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (real == NULL) real = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
    va_list all;
    long of[6];
    va_start(all, number);
    for (int i = 0; i < 6; i++) of[i] = va_arg(all, long);
    va_end(all);
    int in_proc = number == SYS_openat && strncmp((const char *)of[1], "/proc/", 6) == 0;
    if (hidden && in_proc) return errno = ENOENT, -1;
    return real(number, of[0], of[1], of[2], of[3], of[4], of[5]);
}

static void refused(const char *path, void *at, int fd) {
    sigward_adopted *adopted = NULL;
    CHECK(sigward_adopt_file(path, &adopted) == -ENOSYS && adopted == NULL);
    CHECK(sigward_adopt_range(at, PAGE, fd, 0, &adopted) == -ENOSYS && adopted == NULL);
}

static void adopting(void) {
    const char *path = new_file("adopted", 2 * PAGE);
    sigward_adopted *adopted = NULL, *other = NULL;
    int fd = open(path, O_RDWR);
    volatile unsigned char *bytes = mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(fd >= 0 && bytes != MAP_FAILED);
    hidden = 1;
    refused(path, (void *)(uintptr_t)bytes, fd);
    CHECK(strstr(sigward_strerror(-ENOSYS), "/proc") != NULL);
    hidden = 0;
    CHECK(sigward_adopt_file(path, &adopted) == 0);
    hidden = 1; /* as by chroot(2): what is open stays, and is enough */
    CHECK(sigward_adopt_file(path, &other) == 0 && sigward_adopted_close(other) == 0);
    CHECK(ftruncate(fd, 0) == 0 && bytes[PAGE] == 0 && sigward_adopted_status(adopted, NULL) == 1);
    CHECK(sigward_adopted_close(adopted) == 0);
    refused(path, (void *)(uintptr_t)bytes, fd);
}

SCENARIOS({"adopting", adopting})
