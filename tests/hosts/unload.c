/* dlopen, init, dlclose: the kernel still has the address of our handler. */
#include "host.h"
#include <dlfcn.h>

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    int (*init)(const void *);
    *(void **)&init = dlsym(library, "sigward_init");
    CHECK(init && init(NULL) == 0);
    CHECK(dlclose(library) == 0);
    CHECK(write(broken_pipe(), "x", 1) == -1 && errno == EPIPE);
    CHECK(dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) != NULL);
    return 0;
}
