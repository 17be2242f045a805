/* A library that has nothing to do with it, and return addresses in it that earlier calls leave. */
#include <unistd.h>

extern const char other_after_write[], other_after_pointer[];
long other_calls(int, const void *, size_t, ssize_t (*)(int, const void *, size_t));

/* In assembly, for the labels. */
__asm__(".text\n.globl other_after_write, other_after_pointer\n"
#ifdef __x86_64__
        "other_calls: push %rbx\n mov %rcx, %rbx\n call write@PLT\n"
        "other_after_write: call *%rbx\n other_after_pointer: pop %rbx\n ret\n"
#else
        "other_calls: stp x29, x30, [sp, -16]!\n bl write\n"
        "other_after_write: blr x3\n other_after_pointer: ldp x29, x30, [sp], 16\n ret\n"
#endif
);

const void *other_return_address(int which) {
    return which ? other_after_pointer : other_after_write;
}
