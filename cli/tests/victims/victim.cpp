// Dies of a mapped file that is cut, in a function with a mangled name.
#include <cstdio>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace inner {
__attribute__((noinline)) unsigned char look(const unsigned char *map, std::size_t at) {
    return static_cast<const volatile unsigned char *>(map)[at];
}
}

int main(int, char **arguments) {
    int file = open(arguments[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, 1 << 20) != 0) return 1;
    void *map = mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED, file, 0);
    if (ftruncate(file, 0) != 0) return 1;
    std::printf("%d\n", inner::look(static_cast<unsigned char *>(map), 81925));
}
