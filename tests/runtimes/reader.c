/* reader FILE STOP LEAST [blind]: reads a map of FILE again and again, whole, while others cut it
   and fill it again, until STOP exists. Says "ready" first, "enough" when it has met LEAST losses,
   and its figures at the end. Each byte before the first lost one must be the file's; blind, it
   takes all of them for good. reader.py, rust/src/bin/reader.rs and tests/go/cmd/reader do the
   same. */
#include "map.h"
#include <stdbool.h>

#ifdef BARE
static uint64_t lost_from(void) { return UINT64_MAX; }
#else
static uint64_t lost_from(void) {
    return __atomic_load_n(sigward_map_poison_word(the_map), __ATOMIC_SEQ_CST);
}
#endif

static void judge(const uint8_t *seen, const uint8_t *content, uint64_t good) {
    if (memcmp(seen, content, good) == 0) return;
    uint64_t at = 0;
    while (seen[at] == content[at]) at++;
    fprintf(stderr, "%s at %" PRIu64 "\n", seen[at] ? "wrong" : "zero", at);
    exit(1);
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

int main(int argc, char **argv) {
    CHECK(argc >= 4 && ward() == 0);
    uint64_t reads = 0, losses = 0, least = strtoull(argv[3], NULL, 10);
    map_open(argv[1]);
    size_t whole = map_len();
    uint8_t *seen = malloc(whole), *content = malloc(whole);
    CHECK(seen != NULL && content != NULL);
    for (size_t i = 0; i < whole; i++) content[i] = (uint8_t)(i % 251 + 1);
    for (say("ready"); access(argv[2], F_OK) != 0; reads++) {
        uint64_t good = map_len();
        memcpy(seen, map_data(), good);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        uint64_t lost = lost_from();
        bool is_lost = lost < good;
        if (is_lost && argc == 4) good = lost;
        judge(seen, content, good);
        losses += is_lost;
        if (is_lost && losses == least) say("enough");
        if (is_lost || map_len() < whole) map_refresh();
    }
    map_close();
    printf("reads %" PRIu64 " losses %" PRIu64 "\n", reads, losses);
    return 0;
}
