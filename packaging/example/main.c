/* A write to a pipe that nobody reads: bare it ends the process (status 141). */
#include <errno.h>
#include <sigward.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    int ends[2];
    if (sigward_init(NULL) != 0 || pipe(ends) != 0) return 1;
    close(ends[0]);
    if (write(ends[1], "x", 1) != -1 || errno != EPIPE) return 2;
    return printf("sigward %s: lived\n", sigward_version()) < 0;
}
