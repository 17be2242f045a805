// Starts a program as a shell would: SIGPIPE at its default, nothing blocked.
//
//     launch default PROGRAM ARGUMENTS...     SIGPIPE is SIG_DFL
//     launch ignored PROGRAM ARGUMENTS...     SIGPIPE is SIG_IGN, as a child of Python, Rust or
//     systemd finds it
//
// Why it exists: a test harness may itself have been started with SIGPIPE ignored or blocked, both
// survive execve, and a test of who dies of SIGPIPE would then prove nothing.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 3 || (strcmp(argv[1], "default") && strcmp(argv[1], "ignored"))) {
        fprintf(stderr, "usage: launch default|ignored PROGRAM ARGUMENTS...\n");
        return 125;
    }
    sigset_t none;
    sigemptyset(&none);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = strcmp(argv[1], "ignored") == 0 ? SIG_IGN : SIG_DFL;
    if (sigaction(SIGPIPE, &action, NULL) != 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0) {
        perror("launch");
        return 125;
    }
    execv(argv[2], argv + 2);
    fprintf(stderr, "launch: %s: %s\n", argv[2], strerror(errno));
    return 126;
}
