#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <sigward.h>

int main(void) {
    char path[] = "/tmp/sigward-map-XXXXXX", byte;
    sigward_map *map;
    sigward_fault fault;
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, 1 << 16) != 0) return 1;
    if (sigward_map_open(path, NULL, &map) != 0) return 1;

    if (ftruncate(fd, 0) != 0) return 1; /* another process cuts the file */
    if (sigward_map_read_at(map, 1 << 15, &byte, 1) < 0 && sigward_map_status(map, &fault) > 0)
        printf("lost: %s\n", fault.cause == SIGWARD_CAUSE_TRUNCATED ? "the file was cut" : "other");
    unlink(path);
    return sigward_map_close(map) != 0;
}
