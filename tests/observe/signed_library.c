/* Two libraries that sign the addresses that they return to (aarch64,
 * -mbranch-protection=standard). Built as a shared object each: with -DLIBC under a C library's
 * name, the wrapper of a system call; without, the library that calls it. */
#include <stddef.h>

long signed_write(int fd, const void *bytes, size_t length, int calls);

#ifdef LIBC
__attribute__((noinline)) static void nothing(void) { __asm__ volatile("" ::: "memory"); }

/* Without `calls` the address is in the link register still, signed; with it, on the stack only. */
long signed_write(int fd, const void *bytes, size_t length, int calls) {
    if (calls) nothing();
    register long number __asm__("x8") = 64, first __asm__("x0") = fd;
    register const void *second __asm__("x1") = bytes;
    register size_t third __asm__("x2") = length;
    __asm__ volatile("svc 0" : "+r"(first) : "r"(number), "r"(second), "r"(third) : "memory");
    if (calls) nothing();
    return first;
}
#else
long caller(int fd, int calls) {
    long result = signed_write(fd, "x", 1, calls);
    __asm__ volatile("" ::: "memory"); /* no jump in place of the call */
    return result;
}
#endif
