/* dlopen, init, dlclose: the kernel still has the address of our handlers. */
#include "host.h"
#include <dlfcn.h>

static int call(void *library, const char *name, const void *argument) {
    int (*function)(const void *);
    *(void **)&function = dlsym(library, name);
    CHECK(function);
    return function(argument);
}

static void fault(void) {
    int fd = memfd_create("cut", 0);
    volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(byte != MAP_FAILED);
    (void)*byte;
}

/* unload LIBRARY INIT pipe|bus|segv|adopted */
int main(int argc, char **argv) {
    char name[32];
    int fd = memfd_create("adopted", 0);
    CHECK(argc == 4 && ftruncate(fd, 4096) == 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    const char *argument = strcmp(argv[3], "adopted") == 0 ? name : NULL;
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library && call(library, argv[2], argument) == 0);
    CHECK(dlclose(library) == 0);
    if (strcmp(argv[3], "pipe") == 0) CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    if (strcmp(argv[3], "bus") == 0) fault();
    /* A lost page of a guarded file is zeros. */
    if (argument) CHECK(byte != MAP_FAILED && ftruncate(fd, 0) == 0 && *byte == 0);
    if (strcmp(argv[3], "segv") == 0) *(volatile char *)16;
    CHECK(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL);
    return 0;
}
