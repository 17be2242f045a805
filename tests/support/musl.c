/* For hosts of musl (scripts/test-musl): what glibc has under a second name, for programs that
 * stand before the first. musl's are hidden, or, in a static program, take the place of these. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WEAK __attribute__((weak, used))

/* Debian's libgcc_eh asks glibc where unwind tables are, if there is one; that of a system that is
 * musl's own does not. The answer is "ask dl_iterate_phdr". */
WEAK int _dl_find_object(void *pc, void *found) { return (void)pc, (void)found, -1; }

/* The kernel's own struct. */
struct row {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

#ifdef __x86_64__
enum { RESTORER = 0x04000000 };
void return_from_handler(void);
__asm__("return_from_handler:\n mov $15, %eax\n syscall\n");
#else
enum { RESTORER = 0 };
#define return_from_handler NULL
#endif

WEAK int __sigaction(int signal, const struct sigaction *action, struct sigaction *old) {
    struct row new, before = {0};
    if (action != NULL) {
        new = (struct row){action->sa_handler, (unsigned)action->sa_flags | RESTORER,
                           return_from_handler, 0};
        memcpy(&new.mask, &action->sa_mask, sizeof new.mask);
    }
    if (syscall(SYS_rt_sigaction, signal, action ? &new : NULL, &before, sizeof new.mask) != 0)
        return -1;
    if (old != NULL) {
        *old = (struct sigaction){.sa_handler = before.handler, .sa_flags = (int)before.flags};
        memcpy(&old->sa_mask, &before.mask, sizeof before.mask);
    }
    return 0;
}

#ifdef STATIC
/* musl's own, which are seen in here. */
void *__libc_malloc(size_t size);

WEAK void *__libc_calloc(size_t count, size_t size) {
    void *block = __libc_malloc(count * size);
    return block == NULL ? NULL : memset(block, 0, count * size);
}
#else
/* Enough for a host, and never given back. Each block begins with its size. */
static _Alignas(16) char heap[1 << 20];
static atomic_size_t taken;

WEAK void *__libc_malloc(size_t size) {
    size_t whole = (size + 31) & ~(size_t)15, at = atomic_fetch_add(&taken, whole);
    if (size > sizeof heap || at > sizeof heap - whole) return errno = ENOMEM, NULL;
    *(size_t *)&heap[at] = size;
    return &heap[at + 16];
}

WEAK void *__libc_calloc(size_t count, size_t size) { return __libc_malloc(count * size); }

WEAK void __libc_free(void *block) { (void)block; }

WEAK void *__libc_realloc(void *old, size_t size) {
    void *new = __libc_malloc(size);
    size_t before = old == NULL ? 0 : ((size_t *)old)[-2];
    return new == NULL || before == 0 ? new : memcpy(new, old, before < size ? before : size);
}
#endif
