/* A broken pipe, and signals that somebody sends: the first is an error and nothing else, each of
   the others comes to the handler that the host had before us, once. See soak.h. */
#include "soak.h"

static __thread volatile unsigned came;

static void on_pipe(int signal) {
    (void)signal;
    came++;
}

void handle_pipes(void) {
    struct sigaction pipes = {.sa_handler = on_pipe, .sa_flags = SA_RESTART};
    MUST(sigaction(SIGPIPE, &pipes, NULL) == 0);
}

static uint64_t swallowed(void) {
    sigward_counters counters;
    MUST(sigward_read_counters(&counters) == 0);
    return counters.swallowed;
}

void piper(void) {
    int ends[2];
    uint64_t before = swallowed(), broken = 0;
    MUST(pipe2(ends, O_CLOEXEC) == 0 && close(ends[0]) == 0);
    MUST(sigward_quiet_thread_enter() == 0);
    came = 0;
    for (unsigned sent = 0; going();) {
        if (write(ends[1], "x", 1) != -1 || errno != EPIPE)
            WRONG(unexpected, "a write to a broken pipe: %s", strerror(errno));
        broken++;
        if (came != sent) WRONG(unexpected, "%u signals were sent, %u came", sent, came);
        sent = came + 1;
        MUST(raise(SIGPIPE) == 0);
        if (came != sent) WRONG(stolen, "%u signals were sent, %u came", sent, came);
        COUNT(pipes);
        rest(100);
    }
    if (swallowed() - before != broken)
        WRONG(stolen, "%lu writes failed, %lu signals ended with us", broken, swallowed() - before);
    sigward_quiet_thread_leave();
    close(ends[1]);
}
