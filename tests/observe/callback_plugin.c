/* A callback in a library that is unloaded: `callback.c`, "unloaded". */
#include "sigward.h"

int reported;

void report(const sigward_event *event, uint64_t missed, uint64_t suppressed, void *context);

void report(const sigward_event *event, uint64_t missed, uint64_t suppressed, void *context) {
    (void)missed, (void)suppressed, (void)context;
    reported += event != NULL;
}
