/* The Rust half of the example, as C sees it. rust/src/ffi.rs implements it. */
#ifndef HALVES_H
#define HALVES_H

#include <stddef.h>
#include <stdint.h>

/* See rust/src/counters.rs; same fields, same order. */
typedef struct halves_counters {
    uint64_t accepted;         /* events taken from Go */
    uint64_t acknowledged;     /* events that the collector acknowledged */
    uint64_t resent;           /* events sent once more over a new connection */
    uint64_t connections;      /* connections made to the collector */
    uint64_t downloads;        /* downloads begun */
    uint64_t broken_pipe;      /* io::Error of kind BrokenPipe */
    uint64_t connection_reset; /* … ConnectionReset */
    uint64_t other_errors;     /* … any other */
    uint64_t journaled;        /* lines that are in the journal */
    uint64_t journal_no_space; /* times that its disk was full */
    uint64_t journal_cut;      /* times that its file was cut */
} halves_counters;

/*
 * Starts the shipper and the downloads, once per process. `collector` is "IP:PORT"; `certificate`
 * is the PEM file to trust, or NULL for plain TCP. Returns the TCP port of the downloads on
 * 127.0.0.1, or a negative errno.
 */
int halves_start(const char *collector, const char *certificate);

/* Starts the journal in a new file at `path`, once per process. Returns 0 or a negative errno. */
int halves_journal(const char *path);

/* Takes an event, one line of UTF-8 text. Returns its sequence number (from 1 on), or a negative
 * errno. */
int64_t halves_ship(const uint8_t *event, size_t length);

/* Copies the counters. Returns 0 or a negative errno. */
int halves_read_counters(halves_counters *out);

#endif
