#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sigward.h>

int main(void) {
    int ends[2];
    int status = sigward_init(NULL);
    if (status != 0) {
        fprintf(stderr, "sigward: %s\n", sigward_strerror(status));
        return 1;
    }
    if (pipe(ends) != 0) return 1;
    close(ends[0]);
    if (write(ends[1], "x", 1) == -1) printf("write: %s\n", strerror(errno));
    return 0;
}
