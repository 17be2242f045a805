/* dlopen, init, dlclose: the kernel still has the address of our handlers. */
#include "host.h"
#include <dlfcn.h>

static int call(void *library, const char *name) {
    int (*function)(const void *);
    *(void **)&function = dlsym(library, name);
    CHECK(function);
    return function(NULL);
}

static void fault(void) {
    int fd = memfd_create("cut", 0);
    volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(byte != MAP_FAILED);
    (void)*byte;
}

/* unload LIBRARY INIT pipe|bus|segv */
int main(int argc, char **argv) {
    CHECK(argc == 4);
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library && call(library, argv[2]) == 0);
    CHECK(dlclose(library) == 0);
    if (strcmp(argv[3], "pipe") == 0) CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    if (strcmp(argv[3], "bus") == 0) fault();
    if (strcmp(argv[3], "segv") == 0) *(volatile char *)16;
    CHECK(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL);
    return 0;
}
