/* A library with a copy of libsigward.a of its own, as a plugin would have it. */
#include "sigward.h"

int part_init(const sigward_options *options) { return sigward_init(options); }
int part_sigpipe_restore(void) { return sigward_sigpipe_restore(); }
int part_ensure_on_top(void) { return sigward_ensure_on_top(); }
