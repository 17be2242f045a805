/* libwriter.so: a library that writes by itself, on threads of its own, as any C library does. */
#include "ward.h"

/* The errno of one bare write (or writev) on a thread that the interpreter does not know. */
int writer_foreign_write(int vectored) { return foreign_write(vectored); }
