/* A plug-in with libsigward.a in it. */
#include "sigward.h"

int plug_init(void) { return sigward_init(0); }

int plug_segv(void) { return sigward_try_copy_segv(); }
