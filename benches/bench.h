// What every row needs: modes that run in processes of their own, batches that alternate, medians.
//
// A ratio means something only if both sides ran under the same conditions. So the two sides of a
// row are two forked workers on the same core (same memory layout, same linked code), which the
// parent lets run in turn, one short batch each. A new pair is forked every few batches, so that no
// side owes its figure to lucky pages.
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>

// One side of a row.
struct side {
    // Sets the process up once; the worker has SIG_DFL for SIGPIPE and none of our handlers when it
    // is called.
    void (*setup)(void);
    // Does the thing `count` times and returns the nanoseconds it took.
    uint64_t (*batch)(unsigned count);
};

struct row {
    const char *name;
    struct side ours, peer;
    unsigned count;    // in one batch
    unsigned batches;  // of one pair of workers
    unsigned pairs;    // of workers, one after the other
    const char *target;  // highest ratio wanted, or "-"
};

uint64_t now_ns(void);
// Prints why and ends the process: a bench that measured something else must not print a figure.
void fail(const char *what) __attribute__((noreturn));
void check(int ok, const char *what);

// Starts over with SIGPIPE at its default (make, CI and test harnesses ignore it), pins the process
// to a core.
void prepare(char **argv);

// Measures one row and prints it, tab-separated, for benches/run:
// name, "ns", ours, peer, ratio, its 95 % interval, target.
void measure(const struct row *row);

#endif
