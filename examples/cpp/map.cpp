#include <cstdio>
#include <cstdlib>
#include <system_error>

#include <sigward.hpp>
#include <unistd.h>

int main() {
    char path[] = "/tmp/sigward-map-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, 1 << 16) != 0) return 1;
    sigward::map map(path);
    if (ftruncate(fd, 0) != 0) return 1; // another process cuts the file
    char byte = 0;
    std::error_code error;
    map.read_at(1 << 15, &byte, 1, error);
    std::printf("read_at: %s\n", error.message().c_str());
    unlink(path);
    return error ? 0 : 1;
}
