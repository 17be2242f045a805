#include <errno.h>
#include <stdio.h>

int yours_write(void);
int other_write(void);

int main(void) {
    int yours = yours_write(), other = other_write(), again = yours_write();
    if (yours != EPIPE || other != EPIPE || again != EPIPE)
        return printf("%d %d %d\n", yours, other, again), 1;
    return puts("lived") < 0;
}
