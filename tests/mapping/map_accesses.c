/* Every kind of load and store on a lost page, and across the edge of one: the bytes below keep
 * their values, those above are zero and poisoned. Each row bare (dies) and warded. */
#include "maps.h"

#define LOST (2 * PAGE)
#define LENGTH (3 * PAGE)

static sigward_map *map;
static unsigned char *lost; /* the first lost byte */
static int file;

/* Three pages, the last one gone. */
static void cut(void) {
    const char *path = new_file("access", LENGTH);
    map = open_map(path, OPTIONS(.writable = 1));
    file = open(path, O_RDONLY);
    lost = (unsigned char *)bytes(map) + LOST;
    CHECK(truncate(path, LOST) == 0);
}

static void told(bool write) {
    WARD_CHECK(poison(map) == LOST);
    WARD_CHECK(status_of(map).cause == SIGWARD_CAUSE_TRUNCATED && status_of(map).write == write);
    WARD_CHECK(counters().faults == 1 && counters().patches == 1);
}

/* What was loaded from `back` bytes before the edge. */
static void loaded(const void *value, size_t size, long back) {
    const unsigned char *byte = value;
    for (size_t i = 0; i < size; i++)
        CHECK(byte[i] == (i < (size_t)back ? content(LOST - (uint64_t)back + i) : 0));
    told(false);
}

/* What was stored from `back` bytes before the edge: in the file below, in the private sink above.
 */
static void stored(size_t size, long back, unsigned char value) {
    unsigned char written[64];
    CHECK(pread(file, written, sizeof written, LOST - back) == back);
    for (long i = 0; i < back; i++) CHECK(written[i] == value);
    for (size_t i = (size_t)back; i < size; i++) CHECK(lost[i - (size_t)back] == value);
    CHECK(lost[size - (size_t)back] == 0);
    told(true);
    WARD_CHECK(sigward_map_flush(map) == -EFAULT);
}

#define LOAD(bits)                                                                                 \
    static void load_##bits(long back) {                                                           \
        cut();                                                                                     \
        uint##bits##_t value = *(volatile uint##bits##_t *)(lost - back);                          \
        loaded(&value, sizeof value, back);                                                        \
    }                                                                                              \
    static void store_##bits(long back) {                                                          \
        cut();                                                                                     \
        *(volatile uint##bits##_t *)(lost - back) = (uint##bits##_t)0x7777777777777777;            \
        stored(sizeof(uint##bits##_t), back, 0x77);                                                \
    }
LOAD(8)
LOAD(16)
LOAD(32)
LOAD(64)

/* ---- the compiler's and the C library's vectors ---- */

typedef unsigned char vector __attribute__((vector_size(16), aligned(1)));

static void load_vector(long back) {
    cut();
    vector value = *(volatile vector *)(lost - back);
    loaded(&value, sizeof value, back);
}

static void store_vector(long back) {
    cut();
    vector value = {0};
    value += 0x77;
    *(volatile vector *)(lost - back) = value;
    stored(sizeof value, back, 0x77);
}

static void copy_from(long back) {
    unsigned char value[60] = {1};
    cut();
    memcpy(value, lost - back, sizeof value);
    loaded(value, sizeof value, back);
}

static void set(long back) {
    cut();
    memset(lost - back, 0x77, 60);
    stored(60, back, 0x77);
}

static void length(long back) {
    cut();
    CHECK(strlen((char *)lost - back) == (size_t)back);
    told(false);
}

static void compare(long back) {
    unsigned char other[60] = {0};
    cut();
    CHECK(pread(file, other, sizeof other, LOST - back) == back);
    CHECK(memcmp(lost - back, other, sizeof other) == 0);
    told(false);
}

/* ---- atomics ---- */

static void fetch_add(long unused) {
    (void)unused;
    cut();
    CHECK(__atomic_fetch_add((uint64_t *)lost, 5, __ATOMIC_SEQ_CST) == 0 && *(uint64_t *)lost == 5);
    WARD_CHECK(poison(map) == LOST);
}

static void exchange(long unused) {
    (void)unused;
    cut();
    CHECK(__atomic_exchange_n((uint32_t *)lost, 5, __ATOMIC_SEQ_CST) == 0 &&
          *(uint32_t *)lost == 5);
    WARD_CHECK(poison(map) == LOST);
}

static void compare_exchange(long unused) {
    uint64_t expected = 0;
    (void)unused;
    cut();
    CHECK(__atomic_compare_exchange_n((uint64_t *)lost, &expected, 5, 0, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST));
    WARD_CHECK(poison(map) == LOST && *(uint64_t *)lost == 5);
}

/* ---- instructions of x86-64 ---- */

#ifdef __x86_64__
static void rep_movsb(long back) {
    unsigned char value[60], *to = value;
    cut();
    unsigned char *from = lost - back;
    size_t count = sizeof value;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    CHECK(count == 0 && to == value + sizeof value);
    loaded(value, sizeof value, back);
}

static void rep_stosb(long back) {
    cut();
    unsigned char *to = lost - back;
    size_t count = 60;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(0x77) : "memory");
    CHECK(count == 0);
    stored(60, back, 0x77);
}

static void avx2(long back) {
    unsigned char value[32] = {0};
    cut();
    if (__builtin_cpu_supports("avx2"))
        __asm__ volatile("vmovdqu (%0), %%ymm0; vmovdqu %%ymm0, (%1)"
                         :
                         : "r"(lost - back), "r"(value)
                         : "xmm0", "memory");
    else memcpy(value, lost - back, sizeof value);
    loaded(value, sizeof value, back);
}

static void avx512(long back) {
    unsigned char value[60] = {0};
    cut();
    if (__builtin_cpu_supports("avx512bw"))
        __asm__ volatile(
            "kmovq %2, %%k1; vmovdqu8 (%0), %%zmm0 %{%%k1%}%{z%}; vmovdqu8 %%zmm0, (%1) %{%%k1%}"
            :
            : "r"(lost - back), "r"(value), "r"((1ULL << 60) - 1)
            : "xmm0", "memory");
    else memcpy(value, lost - back, sizeof value);
    loaded(value, sizeof value, back);
}

/* The registers of the interrupted code are as they were, whatever the handler used. */
static void registers(long back) {
    unsigned char before[16], after[16];
    uint64_t kept = 0x123456789abcdef0, sum = kept, flags = 0;
    memset(before, 0x5a, sizeof before);
    cut();
    __asm__ volatile(
        "movdqu (%3), %%xmm7; stc; movb (%2), %%al; pushfq; popq %1; movdqu %%xmm7, (%4)"
        : "+r"(sum), "=&r"(flags)
        : "r"(lost - back), "r"(before), "r"(after)
        : "rax", "xmm7", "memory", "cc");
    CHECK(sum == kept && (flags & 1) == 1 && memcmp(before, after, sizeof before) == 0);
    told(false);
}

static void exchange_16(long unused) {
    uint64_t low = 0, high = 0;
    unsigned char equal = 0;
    (void)unused;
    cut();
    __asm__ volatile("lock cmpxchg16b (%3); sete %2"
                     : "+a"(low), "+d"(high), "=q"(equal)
                     : "r"(lost), "b"(5L), "c"(6L)
                     : "memory", "cc");
    CHECK(equal && low == 0 && high == 0);
    WARD_CHECK(poison(map) == LOST && ((uint64_t *)lost)[1] == 6);
}
#endif

/* ---- code that runs where a signal finds it ---- */

static volatile int in_handler;
static void read_in_handler(int signal) {
    (void)signal, in_handler = *(volatile unsigned char *)lost == 0 ? 1 : 2;
}

static void another_handler(long flags) {
    static char stack[64 * 1024];
    struct sigaction action = {.sa_handler = read_in_handler, .sa_flags = (int)flags};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    cut();
    CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    raise(SIGUSR1);
    CHECK(in_handler == 1);
    told(false);
}

static void *read_on_thread(void *unused) {
    (void)unused;
    CHECK(*(volatile unsigned char *)(lost + 7) == 0);
    told(false);
    return NULL;
}

static void small_thread(long unused) {
    pthread_attr_t attributes;
    pthread_t thread;
    (void)unused;
    cut();
    pthread_attr_init(&attributes);
    size_t least = (size_t)PTHREAD_STACK_MIN;
    CHECK(pthread_attr_setstacksize(&attributes, least > 32 << 10 ? least : 32 << 10) == 0);
    CHECK(pthread_create(&thread, &attributes, read_on_thread, NULL) == 0 &&
          pthread_join(thread, NULL) == 0);
}

static void in_child(long unused) {
    int status;
    (void)unused;
    cut();
    pid_t child = fork();
    if (child == 0) {
        CHECK(*(volatile unsigned char *)lost == 0);
        told(false);
        WARD_CHECK(sigward_map_close(map) == 0);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && poison(map) == INTACT);
    CHECK(!WARDED || status == 0);
    CHECK(*(volatile unsigned char *)lost == 0); /* the parent's own pages are still as they were */
    told(false);
}

#define EDGES(name, function)                                                                      \
    {name, function, 0}, {name " across", function, 1}, {                                          \
        name " all but one", function, sizeof(uint32_t) - 1                                        \
    }

static void accesses(void) {
    static const struct row rows[] = {
        {"load 1", load_8, 0},
        {"load 2", load_16, 0},
        {"load 2 across", load_16, 1},
        EDGES("load 4", load_32),
        EDGES("load 8", load_64),
        EDGES("load 16", load_vector),
        {"store 1", store_8, 0},
        {"store 2", store_16, 0},
        {"store 2 across", store_16, 1},
        EDGES("store 4", store_32),
        EDGES("store 8", store_64),
        EDGES("store 16", store_vector),
        EDGES("memcpy", copy_from),
        EDGES("memset", set),
        EDGES("strlen", length),
        EDGES("memcmp", compare),
        {"fetch_add", fetch_add, 0},
        {"exchange", exchange, 0},
        {"compare_exchange", compare_exchange, 0},
        {"in a handler", another_handler, 0},
        {"in a handler on its own stack", another_handler, SA_ONSTACK},
        {"on a small thread", small_thread, 0},
        {"in a child", in_child, 0},
#ifdef __x86_64__
        EDGES("rep movsb", rep_movsb),
        EDGES("rep stosb", rep_stosb),
        EDGES("avx2", avx2),
        EDGES("avx512", avx512),
        {"registers", registers, 0},
        {"cmpxchg16b", exchange_16, 0},
#endif
    };
    ROWS(rows);
}

SCENARIOS({"accesses", accesses})
