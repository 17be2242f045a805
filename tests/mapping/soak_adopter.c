/* A library that maps by itself, and whose maps are guarded by the file's name. See soak.h. */
#include "soak.h"

enum { MAPPED = 3 };
struct mapped {
    uint8_t *data;
    uint64_t offset, length;
};

static bool map_one(struct mapped *map, struct file *file) {
    uint64_t pages = atomic_load(&file->length) / PAGE;
    if (pages == 0) return false;
    map->offset = any(pages) * PAGE;
    map->length = PAGE * (1 + any(pages - map->offset / PAGE));
    map->data = mmap(NULL, map->length, PROT_READ, MAP_SHARED, file->fd, (off_t)map->offset);
    MUST(map->data != MAP_FAILED);
    return true;
}

static void read_adopted(const struct mapped *map, struct file *file, sigward_adopted *adopted) {
    uint8_t bytes[PAGE];
    uint64_t at = any(map->length), length = least(1 + any(PAGE), map->length - at), good = length;
    struct sight sight;
    sigward_fault fault;
    sight_begin(&sight, file, map->offset + at, map->offset + at + length, false);
    memcpy(bytes, map->data + at, length);
    atomic_thread_fence(memory_order_seq_cst);
    if (sigward_adopted_status(adopted, &fault) == 1)
        good = fault.offset <= sight.from ? 0 : least(length, fault.offset - sight.from);
    sight_judge(&sight, bytes, good, "adopted");
}

static void adopt_and_read(struct file *file, const char *path) {
    struct mapped maps[MAPPED] = {0};
    sigward_adopted *adopted;
    int count = 0;
    while (count < MAPPED && map_one(&maps[count], file)) count++;
    int status = count ? sigward_adopt_file(path, &adopted) : -ENODATA;
    if (status != 0 && status != -ENODATA && status != -ENOENT)
        WRONG(unexpected, "adopt_file: %s", strerror(-status));
    for (int turn = 0; status == 0 && turn < 12; turn++) {
        struct mapped *map = &maps[any((uint64_t)count)];
        read_adopted(map, file, adopted);
        if (turn % 4 == 3) {
            /* The library maps anew. */
            munmap(map->data, map->length);
            if (!map_one(map, file)) *map = maps[--count];
            if (count == 0) break;
        }
        if (turn % 4 == 1 && any(2)) {
            int healed = sigward_adopted_heal(adopted);
            if (healed != 0) WRONG(unexpected, "heal: %s", strerror(-healed));
        }
    }
    if (status == 0) sigward_adopted_close(adopted);
    for (int i = 0; i < count; i++) munmap(maps[i].data, maps[i].length);
    COUNT(adopted);
}

void adopter(void) {
    char path[300];
    snprintf(path, sizeof path, "%s.adopt%u", soak->slots[any(SLOTS)].path, own_number);
    struct file *file = file_new(path, LONGEST);
    while (going()) {
        adopt_and_read(file, path);
        rest(500);
    }
    unlink(path);
    file_release(file);
}
