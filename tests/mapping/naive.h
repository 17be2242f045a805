/* The names of sigward.h that the soak uses, for the guard in naive.c: what a program has that
 * writes its own. */
#ifndef NAIVE_H
#define NAIVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct sigward_map sigward_map;
typedef struct sigward_map_options {
    size_t size;
    uint64_t offset, len;
    uint32_t writable, copy_on_write, populate, no_descriptor;
} sigward_map_options;
typedef struct sigward_fault {
    uint64_t offset;
    int32_t cause, error;
} sigward_fault;
enum { SIGWARD_CAUSE_TRUNCATED = 1, SIGWARD_CAUSE_UNKNOWN = 5 };
typedef struct sigward_counters {
    uint64_t faults, patches, healed, maps;
} sigward_counters;

int sigward_init(const void *options);
int sigward_sigbus_guard(void);
int sigward_read_counters(sigward_counters *out);
int sigward_map_open(const char *path, const sigward_map_options *options, sigward_map **out);
int sigward_map_fd(int fd, const sigward_map_options *options, sigward_map **out);
int sigward_map_close(sigward_map *map);
const void *sigward_map_data(const sigward_map *map);
size_t sigward_map_len(const sigward_map *map);
const uint64_t *sigward_map_poison_word(const sigward_map *map);
ssize_t sigward_map_read_at(const sigward_map *map, uint64_t offset, void *buf, size_t len);
ssize_t sigward_map_write_at(sigward_map *map, uint64_t offset, const void *buf, size_t len);
int sigward_map_status(const sigward_map *map, sigward_fault *out);
int sigward_map_verify(const sigward_map *map);
int sigward_map_refresh(sigward_map *map);
int sigward_map_populate(const sigward_map *map, uint64_t offset, uint64_t len);
int sigward_map_flush(sigward_map *map);
ssize_t sigward_try_copy(void *dst, const void *src, size_t len);
int sigward_try_copy_segv(void);

#endif
