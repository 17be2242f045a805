#ifndef SIGWARD_H
#define SIGWARD_H

// Made by cbindgen from src/ffi. Do not edit: change the Rust side and run `make header`.

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct mmsghdr; // sys/socket.h has it with _GNU_SOURCE

// sigward: a broken peer (SIGPIPE) and a lost page of a mapped file (SIGBUS) are errors, never
// deaths; docs/book/limits.md says where not. This header is the manual of the C functions. First
// constants, enums and structs, then the functions: policy; counters and events; writers; guarded
// maps; mappings of others; the checked copy; files; leases; the log; snapshots; texts.
//
// What holds for every function, unless its own text says otherwise:
//
// Errors are returned as a negative errno, which sigward_strerror explains; errno itself is of no
// meaning afterwards. A NULL pointer where one is needed is -EINVAL (NULL or 0 from a function that
// returns a pointer or a length), a descriptor that is not open is -EBADF. On an error nothing has
// changed, and *out is NULL where a handle was asked for.
//
// Every function may be called from any thread; one handle by several threads at once where its
// text says "Thread-safe". A handle is closed once, when nobody uses it any more; closing NULL does
// nothing. A debug build ends the process with a line when a closed handle is used.
//
// In a signal handler only functions that say "Signal-safe" may be called. What a forked child may
// do with a handle is said at its functions; paths are NUL-terminated.
//
// Structs may become longer in a later version; programs and libraries of different versions work
// together all the same.
//
// Structs that a program fills (options) begin with their size: set all to zero, then size to
// sizeof. The library takes every size that a version has had, the missing fields being zero. A
// longer struct, of a later version, is taken if all that this library does not know is zero, and
// refused with -E2BIG if not. Any other size, and an unknown value, is -EINVAL.
//
// Structs that the library fills need no preparation: the macros at the end of this header pass
// sizeof along, to functions whose names end in _sized. The field size says how many bytes the
// library knew; what it did not know is zero. Without the macros (other languages, dlsym(3), a name
// in parentheses) a function fills the struct as its first version was: all of it as it is here, of
// sigward_sigpipe_report what is before size. A smaller size is -EINVAL. sigward_bytes,
// sigward_rows, sigward_standing and sigward_thread_guard never change.
//
// The symbols of libsigward.so have the version SIGWARD_0.1, its SONAME is libsigward.so.0.
//
// Cancellation (pthread_cancel(3)): the writers (sigward_write and its like) are cancellation
// points as their text says, and no other function is one. A request that is pending, or comes
// meanwhile, takes effect at the caller's next cancellation point. A thread of asynchronous type
// ends when the function has done its work, just before it returns: what the function made (a
// handle in *out) is there then, and the caller's to close. Inside sigward_map_read_at,
// sigward_map_write_at, sigward_map_status, sigward_try_copy and functions that only answer from
// memory it may end at any instruction; they hold nothing that another thread waits for. A thread
// of asynchronous type must not call sigward_log_append: the others would wait for ever.
//
// Descriptors: those that the library keeps have numbers from 3 on, if it could write to them, also
// in a program that was started without stdin, stdout and stderr.
//
// Record locks (fcntl(2), F_SETLK) of a file are gone when their process closes any descriptor of
// it, the kernel says. So they are when a map, a snapshot, a lease or a log of that file is closed
// here, or when it was the source of a replacement. What is done with adopted files, and
// sigward_reserve, leave them alone: as long as a file has such locks, one descriptor of it stays
// open, and serves the next time. Other locks (flock(2), F_OFD_SETLK) have nothing to do with
// that.

// Echoes of failed writes end in our handler, every other SIGPIPE goes to whoever had it. The
// default.
#define SIGWARD_SIGPIPE_FILTER 0

// SIG_IGN where SIG_DFL stands, else as SIGWARD_SIGPIPE_FILTER. Children inherit SIG_IGN.
#define SIGWARD_SIGPIPE_IGNORE 1

// SIGPIPE is not touched by sigward_init. What the constructor of the archive that Go links did to
// it before anybody could ask is taken back, unless a call has asked for it meanwhile.
#define SIGWARD_SIGPIPE_LEAVE 2

// Flag: one line on stderr for each swallowed SIGPIPE and each loss in a guarded map, as
// SIGWARD_LOG=stderr in the environment does. Left out is a line for which stderr would block, one
// about a write to stderr itself, and all of them once descriptor 2 stands for something else.
#define SIGWARD_LOG_STDERR 1

// Flag: a SIG_IGN that stands there, inherited or set by a runtime (Rust, CPython, Node) or a
// library, is replaced by the filter in one step, so that children start with SIG_DFL. What is no
// echo is ignored as before. With SIGWARD_SIGPIPE_FILTER only.
#define SIGWARD_REPLACE_IGNORE 2

// Flag: SIGPIPEs of writes to a stdout or stderr that is a pipe end in our handler as well.
// Without it they go to whoever had SIGPIPE before us, so that `prog | head` ends as every filter
// does; a socket there is a peer like any other. Where the processor hides the descriptor
// (aarch64) they end in our handler.
#define SIGWARD_SWALLOW_STDIO 4

// Flag, for sandboxes (seccomp): the handler for SIGPIPE makes no system call (x86-64, aarch64). A
// swallowed signal is counted (swallowed, unattributed), but there is no event and no line. What
// would take a system call is decided without: a write to a pipe at descriptor 1 or 2 ends in our
// handler as well, a quiet descriptor is known by its number alone. A signal that is no echo goes
// to who was there before, which takes system calls. Two exceptions: rt_sigprocmask with less than
// 1.5 KiB of an alternate stack left; process_vm_readv for a write whose system call instruction
// is the last word of its page (aarch64, processors with FRED).
#define SIGWARD_NO_EVENTS 8

// Flag: last words, as by sigward_explain.
#define SIGWARD_EXPLAIN 16

// SIGBUS is blocked in this thread: a fault kills the process, and no handler runs.
#define SIGWARD_THREAD_BLOCKED 1

// Another handler stands above ours: sigward_ensure_on_top.
#define SIGWARD_THREAD_COVERED 2

// Nobody has taken the seat: sigward_sigbus_guard.
#define SIGWARD_THREAD_UNGUARDED 4

// An error of this library's own, returned negative: the file is replaced, but whether that
// survives a power failure is not known, because its folder could not be written to the disk
// (fsync(2)). No errno has this number.
#define SIGWARD_EUNSYNCED 4097

// The snapshot is in blocks of the disk that are shared with the file until that is changed. No
// memory is held.
#define SIGWARD_SNAPSHOT_CLONE 1

// The snapshot is in memory that nobody can write to.
#define SIGWARD_SNAPSHOT_MEMORY 2

// The snapshot has all or nothing of every write(2): its file system keeps writers away from a
// clone, or tells of each of them by the file's times. Of stores through a shared map the times
// tell only now and then.
#define SIGWARD_MOMENT_PROVEN 1

// Nobody knows what the file system's times are worth (FUSE, network file systems, any that the
// library does not know): asked past the kernel's memory they had not moved, and reading the file
// a second time gave the same bytes. A file of /proc is read once.
#define SIGWARD_MOMENT_UNPROVEN 2

// Why bytes of a map are lost.
typedef enum sigward_cause {
    // Nothing is lost.
    SIGWARD_CAUSE_NONE = 0,
    // The file is shorter now, or was cut and written again: len_now.
    SIGWARD_CAUSE_TRUNCATED = 1,
    // The file system has no room, or the user no quota.
    SIGWARD_CAUSE_NO_SPACE = 2,
    // Reading or writing the page failed: error.
    SIGWARD_CAUSE_IO = 3,
    // The memory itself is damaged.
    SIGWARD_CAUSE_HARDWARE = 4,
    // The kernel gave no reason that could be found, or the map keeps no descriptor to ask about.
    SIGWARD_CAUSE_UNKNOWN = 5,
} sigward_cause;

// What the last policy call found and did.
typedef enum sigward_outcome {
    // Nobody has asked for anything, or it was taken back.
    SIGWARD_OUTCOME_UNTOUCHED = 0,
    // SIGPIPE was ignored when we came: left as it is.
    SIGWARD_OUTCOME_ALREADY_IGNORED = 1,
    // SIG_IGN now stands where SIG_DFL stood.
    SIGWARD_OUTCOME_IGNORED = 2,
    // Echoes end in our handler; `previous` gets the rest.
    SIGWARD_OUTCOME_FILTERED = 3,
    // The host has a handler of its own, `previous`, and it gets the echoes as well, as before us,
    // except those of quiet threads and descriptors. Never where Go is in the process.
    SIGWARD_OUTCOME_CHAINED = 4,
} sigward_outcome;

// Why a signal is armed or not.
typedef enum sigward_reason {
    // It is armed: our handler is asked.
    SIGWARD_REASON_ARMED = 0,
    // Nobody has asked for it, or it was taken back.
    SIGWARD_REASON_NOT_ASKED = 1,
    // The signal is ignored: nothing ends the process, and no handler of anybody's is asked.
    SIGWARD_REASON_IGNORED = 2,
    // Another handler, or SIG_DFL, stands above ours: sigward_ensure_on_top takes the top again.
    SIGWARD_REASON_COVERED = 3,
    // Our row has lost its flags or its mask (signal(3) that puts back what signal(3) has
    // returned): sigward_ensure_on_top writes it anew, and so does our handler when it is called.
    SIGWARD_REASON_ALTERED = 4,
    // This system shows no handler what a system call has returned.
    SIGWARD_REASON_UNSUPPORTED = 5,
} sigward_reason;

// Where our seat for SIGPIPE is.
typedef enum sigward_seat {
    // Nowhere.
    SIGWARD_SEAT_NONE = 0,
    // First in line.
    SIGWARD_SEAT_ON_TOP = 1,
    // Beneath Go, which forwards what is not its own.
    SIGWARD_SEAT_BENEATH = 2,
    // Beneath a handler that may or may not pass signals on: sigward_ensure_on_top takes the top
    // again.
    SIGWARD_SEAT_COVERED = 3,
} sigward_seat;

// Mappings of a file that somebody else made, guarded. Made by sigward_adopt_file or
// sigward_adopt_range, let go by sigward_adopted_close.
typedef struct sigward_adopted sigward_adopted;

// A file that nobody opens for writing or cuts before its holder was told: whoever wants to, also
// in this process, waits until the lease is released, at most /proc/sys/fs/lease-break-time
// seconds (45). Nobody is told of those who come from another machine or through the lower layer
// of an overlay. Made by sigward_lease_take, ended by sigward_lease_release.
//
// Read or map sigward_lease_file, and look at sigward_lease_is_wanted now and then: as soon as it
// is, finish or copy. If sigward_lease_release returns 0, all that was read is as it was when the
// lease was taken.
//
// The kernel's notices go to a thread of the library's own that all leases share,
// "sigward-leases"; it ends with the last lease. No signal handler, disposition or mask of
// anybody's is touched. Replacing a file (rename(2)) and removing it are no concern of a lease:
// who has it open keeps it.
//
// A thread that opens the file for writing while it holds the lease waits for itself: use
// O_NONBLOCK (EWOULDBLOCK), or release first. In a forked child a handle is the parent's lease:
// releasing it there only closes the child's descriptors.
typedef struct sigward_lease sigward_lease;

// An append log: records in a file that grows, blocks first. Appending is a copy into memory
// where SIGBUS is guarded; a full disk is an error of one append; a record whose append has
// returned survives the process, kill -9 included, and after sigward_log_flush the machine. Made
// by sigward_log_open, taken away by sigward_log_close. A record has 0 to 1073741823 bytes.
typedef struct sigward_log sigward_log;

// Reads a log, in any process, while it is written. Made by sigward_log_reader_open, taken away by
// sigward_log_reader_close.
typedef struct sigward_log_reader sigward_log_reader;

// A guarded map. Made by sigward_map_open, sigward_map_fd, sigward_snapshot; taken away by
// sigward_map_close.
typedef struct sigward_map sigward_map;

// A file that is being written to take the place of another. Made by sigward_replacement_open,
// ended by sigward_replacement_commit or sigward_replacement_abort.
typedef struct sigward_replacement sigward_replacement;

// A thread of the library's own that calls back for each event: made by sigward_watch_start, ended
// by sigward_watch_stop. There is none unless that is asked for.
typedef struct sigward_watch sigward_watch;

// Options of sigward_init. Set all to zero, then size.
typedef struct sigward_options {
    // sizeof(sigward_options).
    size_t size;
    // One of SIGWARD_SIGPIPE_*.
    uint32_t sigpipe;
    // Zero, or of SIGWARD_LOG_STDERR, SIGWARD_REPLACE_IGNORE, SIGWARD_SWALLOW_STDIO,
    // SIGWARD_NO_EVENTS and SIGWARD_EXPLAIN what is wanted, added up.
    uint32_t flags;
} sigward_options;

// How SIGPIPE stands now.
typedef struct sigward_sigpipe_report {
    // What the last policy call did: a sigward_outcome.
    int32_t outcome;
    // Where our seat is at this moment: a sigward_seat.
    int32_t seat;
    // With FILTERED and CHAINED: SIG_DFL (0), SIG_IGN (1) or the address of the handler behind us.
    // Else 0.
    size_t previous;
    // How many bytes of this struct the library knew and has filled.
    size_t size;
} sigward_sigpipe_report;

// How one signal stands. Part of sigward_status_report.
typedef struct sigward_standing {
    // 1 if our handler is asked, first or by a runtime above it; else 0.
    int32_t armed;
    // Why: a sigward_reason. sigward_reason_text says it in words.
    int32_t reason;
    // Where our seat is: a sigward_seat.
    int32_t seat;
    // 0.
    int32_t reserved;
    // What the kernel calls: SIG_DFL (0), SIG_IGN (1) or the address of a function.
    uint64_t handler;
    // The file name of the executable or library that holds this function, NUL-terminated; "the
    // executable" for a program without a path to tell (ld.so was started with it); empty if
    // unknown.
    char owner[64];
} sigward_standing;

// How both signals stand now.
typedef struct sigward_status_report {
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
    // SIGPIPE.
    struct sigward_standing sigpipe;
    // SIGBUS.
    struct sigward_standing sigbus;
    // What the last policy call for SIGPIPE did: a sigward_outcome.
    int32_t outcome;
    // 1 if the echoes of failed writes end with us; 0 if a handler of the host's gets them too, or
    // nobody is armed.
    int32_t echoes_end_here;
    // Zero; room for later fields.
    uint64_t reserved[7];
} sigward_status_report;

// The dispositions of all signals at one moment. Filled by sigward_rows_save; its fields are the
// library's.
typedef struct sigward_rows {
    // Not yours.
    uint64_t opaque[200];
} sigward_rows;

// All counters at about one moment: each is exact, their sum may be one delivery apart.
typedef struct sigward_counters {
    // Signals that came to one of our entry points; twice when a runtime above forwards to ours
    // beneath.
    uint64_t deliveries;
    // SIGPIPEs that ended here: the write returned EPIPE and nothing else happened.
    uint64_t swallowed;
    // Signals that were given to a predecessor, SIG_DFL and SIG_IGN included.
    uint64_t chained;
    // Swallowed ones whose file descriptor could not be told for certain.
    uint64_t unattributed;
    // How often something else, or a row of ours that somebody had changed, was found standing
    // where ours had been on top.
    uint64_t overwritten;
    // Races with other writers of the kernel's table, lost and put right.
    uint64_t races_repaired;
    // Circles of handlers that were cut.
    uint64_t cycles_cut;
    // Events that found their slot in the ring still being written by another thread.
    uint64_t events_dropped;
    // SIGBUS that ended here: in a guarded map or in a checked copy.
    uint64_t faults;
    // Ranges of lost pages that were replaced.
    uint64_t patches;
    // Faults whose page was there again at a second look: nothing was lost.
    uint64_t healed;
    // Guarded maps there are now.
    uint64_t maps;
    // Maps that were closed while a handler was at work on them and did not end within a second:
    // their addresses, descriptor and slot stay taken for ever.
    uint64_t leaked;
    // Zero; room for later counters.
    uint64_t reserved[2];
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
} sigward_counters;

// One swallowed SIGPIPE, or one loss in a guarded map.
typedef struct sigward_event {
    // 1 for the first of this process, then one more each; a forked child goes on from its
    // parent's. A gap is an event that was overwritten or dropped.
    uint64_t number;
    // Nanoseconds since 1970 (`CLOCK_REALTIME`).
    uint64_t time_ns;
    // SIGPIPE, or SIGBUS for a loss in a guarded map.
    int signal;
    // Kernel thread id of the writer, as in /proc/PID/task.
    int32_t tid;
    // The writer's thread name, NUL-terminated (prctl(2), `PR_GET_NAME`).
    char thread[16];
    // The file descriptor that was written to (SIGBUS: that the map keeps), or -1 if it could not
    // be told for certain.
    int fd;
    // 0 unknown, 1 pipe or FIFO, 2 socket, 3 other, 4 a guarded map's file.
    int fd_kind;
    // What the write returned: `-EPIPE`, or the bytes of a partial write. SIGBUS: the negative
    // errno of the cause.
    int64_t result;
    // Inode of the pipe or socket, as in /proc/PID/fd (`socket:[…]`), or of the map's file; 0 if
    // unknown.
    uint64_t inode;
    // Address of the instruction after the system call, or of the one that faulted.
    uint64_t pc;
    // Bytes of `peer` that count; 0 if there is no address.
    uint32_t peer_len;
    // The number of the system call (`SYS_writev`, …), or 0 if it could not be told.
    uint32_t operation;
    // The peer's `struct sockaddr`, also of a connection that is gone. SIGBUS: the file's path,
    // its end if it is longer.
    uint8_t peer[112];
    // The link register, where there is one, and the top of the writer's stack: for finding the
    // library that called.
    uint64_t stack[16];
    // SIGBUS: the lowest lost offset, in bytes from the start of the map.
    uint64_t offset;
    // SIGBUS, file truncated: its length in bytes when the fault was handled.
    uint64_t len_now;
    // SIGBUS: 1 truncated, 2 no space, 3 input/output error, 4 hardware, 5 unknown. Else 0.
    uint32_t cause;
    // SIGBUS: 1 if it was met by a write.
    uint32_t write;
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
} sigward_event;

// A guard of one thread. Its fields are the library's; it needs no initial value.
typedef struct sigward_thread_guard {
    // Not yours.
    uint64_t opaque[4];
} sigward_thread_guard;

// Options of a map. Set all to zero, then size.
typedef struct sigward_map_options {
    // sizeof(sigward_map_options).
    size_t size;
    // Where in the file the map begins, in bytes; any byte will do.
    uint64_t offset;
    // How many bytes; 0: up to the end that the file has now.
    uint64_t len;
    // 1: for writing as well. What is written goes to the file.
    uint32_t writable;
    // 1: what is written stays in this process (MAP_PRIVATE).
    uint32_t copy_on_write;
    // 1: every page is read in at once, so that a page that cannot be had is an error of opening.
    uint32_t populate;
    // 1: no file descriptor is kept, for very many maps; causes are then SIGWARD_CAUSE_UNKNOWN,
    // and lost pages are replaced one by one, a signal each.
    uint32_t no_descriptor;
    // Address space kept for growth, in bytes from the file's start: sigward_map_grow and
    // sigward_map_follow find room in place up to here. It costs no memory. A file that is longer
    // already is mapped whole, and an empty one can be mapped. For whole files only: not with
    // offset, len, copy_on_write or no_descriptor. 0: none. A struct that ends before this field
    // has a size of 40.
    uint64_t capacity;
    // 1: where the file system cannot promise blocks, growing writes zeros, as
    // sigward_reserve_slowly does.
    uint32_t reserve_slowly;
    // 0.
    uint32_t reserved;
} sigward_map_options;

// The first loss of a map at its lowest lost offset.
typedef struct sigward_fault {
    // Lowest lost offset in bytes from the start of the map; everything below is intact.
    uint64_t offset;
    // When the file was cut: its length in bytes as the fault was handled.
    uint64_t len_now;
    // The address that faulted.
    uint64_t address;
    // Nanoseconds since 1970 (`CLOCK_REALTIME`).
    uint64_t time_ns;
    // 1 truncated, 2 no space, 3 input/output error, 4 hardware, 5 unknown.
    int32_t cause;
    // The errno of the cause (`ENOSPC`, `EDQUOT`, `EIO`, `EHWPOISON`…); `EFAULT` where there is
    // none.
    int32_t error;
    // Kernel thread id of who met it first.
    int32_t tid;
    // 1 if that was a write, 0 if it was a read or cannot be told.
    uint32_t write;
    // That thread's name, NUL-terminated.
    char thread[16];
    // Zero; room for later fields.
    uint64_t reserved[3];
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
} sigward_fault;

// Where the map's bytes are, how many, and their poison word.
typedef struct sigward_bytes {
    // As sigward_map_data.
    const void *data;
    // As sigward_map_len.
    size_t len;
    // As sigward_map_poison_word.
    const uint64_t *poison;
} sigward_bytes;

// Options of a replacement. Set all to zero, then size.
typedef struct sigward_replacement_options {
    // sizeof(sigward_replacement_options).
    size_t size;
    // 1: a symbolic link at the path is itself replaced, and what it names stays.
    uint32_t replace_link;
    // 1: the new file may belong to the caller where the old one's owner cannot be kept.
    uint32_t any_owner;
    // Permissions of a file that was not there, without umask; 0: rw-rw-rw- less umask.
    uint32_t mode;
    // 1: set-user-ID, set-group-ID and file capabilities of the old file are the new one's, too,
    // if its owner can be kept. 0: none is.
    uint32_t keep_privileges;
} sigward_replacement_options;

// Options of a log. Set all to zero, then size.
typedef struct sigward_log_options {
    // sizeof(sigward_log_options).
    size_t size;
    // How long the log can become while it is open, in bytes of addresses; 0: 64 GiB, or four
    // times what there is if that is more; where the process cannot have so many (RLIMIT_AS), at
    // most half of what it can.
    uint64_t capacity;
    // How many bytes to reserve at a time; 0: an eighth of what there is, 1 MiB at least and 64
    // MiB at most.
    uint64_t step;
    // 1: where the file system cannot promise blocks (ext2, some network file systems), write
    // zeros.
    uint32_t slow_zeros;
    // 1: if whole records follow a torn one that was never flushed, the log ends before it, and
    // they are overwritten; 0: -EBADMSG.
    uint32_t discard_after_torn;
} sigward_log_options;

// What sigward_log_open found.
typedef struct sigward_log_recovery {
    // How many whole records there are.
    uint64_t records;
    // Where the next one will be: bytes from the start of the file.
    uint64_t end;
    // Up to where everything was known to be on the disk.
    uint64_t durable;
    // Bytes behind the last whole record that were being written when the process or the machine
    // died, and are zeros now; 0 after an orderly end.
    uint64_t torn;
    // 1: an append is a copy into memory, because SIGBUS was guarded when the log was opened; 0:
    // it is some system calls.
    uint64_t mapped;
    // 0.
    uint64_t reserved[2];
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
} sigward_log_recovery;

// What a log's file holds.
typedef struct sigward_log_report {
    // How many whole records there are, before and behind damage.
    uint64_t records;
    // Where the last of them ends: bytes from the start of the file.
    uint64_t end;
    // Up to where everything was on the disk once.
    uint64_t durable;
    // How many places are damaged: below durable, or with whole records behind them.
    uint64_t damaged;
    // Where the first of them begins; 0 if there is none.
    uint64_t first_damage;
    // How many bytes they have together.
    uint64_t lost;
    // Bytes behind the end that are no record: what was being written when the process or the
    // machine died, or is being written now.
    uint64_t torn;
    // How many copies of the header are as they were written, of two.
    uint64_t headers;
    // 0.
    uint64_t reserved[3];
    // How many bytes of this struct the library knew and has filled.
    uint64_t size;
} sigward_log_report;

// Is told the bytes done and the bytes in all; anything but 0 ends the copy.
typedef int (*sigward_progress)(void *context, uint64_t done, uint64_t total);

// Options of a snapshot. Set all to zero, then size.
typedef struct sigward_snapshot_options {
    // sizeof(sigward_snapshot_options).
    size_t size;
    // A file of more bytes is refused (-EFBIG). 0: only one that has to be copied and is larger,
    // holes included, than what the machine has available (MemAvailable, SwapFree) or the control
    // groups of this process have left (memory.max, memory.high, memory.limit_in_bytes):
    // -ENOMEM.
    uint64_t limit;
    // 1: copied into memory also where the file system could clone.
    uint32_t memory_only;
    // 1: every page of a clone is read at once, so that a disk that fails now is an error of this
    // call.
    uint32_t populate;
    // NULL, or called from this thread at the beginning of a copy and every 256 KiB, for a clone
    // once; pthread_cancel(3) waits until the snapshot is done. It must return.
    sigward_progress progress;
    // Its first argument.
    void *context;
} sigward_snapshot_options;

// What a snapshot costs, and is worth.
typedef struct sigward_snapshot_report {
    // Bytes of memory that it holds until it is closed: its length in whole pages, or 0 for a
    // clone.
    uint64_t memory;
    // SIGWARD_SNAPSHOT_CLONE or SIGWARD_SNAPSHOT_MEMORY.
    uint32_t kind;
    // How many bytes of this struct the library knew and has filled.
    uint32_t size;
    // SIGWARD_MOMENT_PROVEN or SIGWARD_MOMENT_UNPROVEN.
    uint32_t moment;
    // 0.
    uint32_t reserved;
} sigward_snapshot_report;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// ---- the process's policy ----------------------------------------------------------------------

// Sets the process's policy: SIGPIPE as the options say (NULL: filter it), and the seat on top for
// SIGBUS, so that guarded maps are looked after.
//
// Idempotent; from any thread, also many at once; works in a forked child. Call it before or after
// any other runtime starts: it looks at what stands there and chains it. It works in a signal
// handler as well, also in one that has interrupted the dynamic loader, and takes no lock of the
// loader's. Signals that others send wait while this call changes anything; the handler of a fault
// inside it is told -EDEADLK. (Only in a plug-in that holds libsigward.a, the first call pins that
// object with dlopen(3): make it outside handlers.) A SIGPIPE that a thread has blocked stays
// pending there, as without us. A flag that one call has set stays when a later call does without
// it; sigward_sigpipe_restore takes SIGWARD_SWALLOW_STDIO back.
//
// Returns 0. -EINVAL: options of an unknown size, policy or flag. -ENOSPC: no entry point left.
// -EDEADLK: see above. -ENOTSUP: this system shows no system call's result (filter works on Linux
// x86-64 and aarch64). Else the kernel's errno, for example -EPERM from a seccomp filter. On
// failure nothing has changed.
int sigward_init(const struct sigward_options *options);

// Takes the seats on top again after another runtime or library installed its handlers; what
// stands there now is chained. A SIG_IGN that was put over our seat for SIGPIPE goes, and a row of
// ours whose flags or mask somebody has changed is written anew. Does nothing for a signal without
// a policy, on top already, or where SIGPIPE was ignored before we came. The seats of
// sigward_try_copy_segv and sigward_explain_signals are taken again as well.
//
// Thread-safe; works in a forked child. Returns 0 or as sigward_init.
int sigward_ensure_on_top(void);

// SIG_IGN where SIG_DFL stands; an existing handler is chained as by sigward_sigpipe_filter, never
// overwritten. Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked
// child.
//
// Returns 0 or as sigward_init; sigward_sigpipe_status tells which it was.
int sigward_sigpipe_ignore(void);

// Lets SIGPIPEs that are the echo of a failed write end in our handler; all others pass to what
// stood there before, SIG_DFL included. Children start with SIG_DFL. Where SIGPIPE is ignored
// already it stays so, for children as well (SIGWARD_REPLACE_IGNORE of sigward_options).
// Idempotent; sigward_sigpipe_restore takes it back. Thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init; sigward_sigpipe_status tells what was found.
int sigward_sigpipe_filter(void);

// Takes back what sigward_sigpipe_filter, sigward_sigpipe_ignore, the constructor and
// SIGWARD_SWALLOW_STDIO did. What somebody else has installed since stays. Idempotent.
// Thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init.
int sigward_sigpipe_restore(void);

// Fills *out with how SIGPIPE stands now. Signal-safe, thread-safe; changes nothing but the
// counter overwritten, when it is the first to see that somebody stands above us.
//
// Returns 0; -EINVAL if out is NULL; else the kernel's errno, where a seccomp filter refuses
// sigaction(2).
int sigward_sigpipe_status(struct sigward_sigpipe_report *out);

// As sigward_sigpipe_status, for a struct of size bytes.
//
// Returns as sigward_sigpipe_status; -EINVAL also for a size that no version has.
int sigward_sigpipe_status_sized(struct sigward_sigpipe_report *out, size_t size);

// Gives the handler of this signal SA_ONSTACK if it lacks it; nothing else about it changes. For
// handlers that libraries install without it (signal-hook, tokio::signal, ctrlc), which end a Go
// process: call it right after they have registered. The handler has to get along with the room of
// the threads' alternate stacks, and must not switch to another stack before it returns.
//
// Thread-safe; works in a forked child. Returns 1 if the handler was repaired, 0 if there was
// nothing to do; -EINVAL for a number that is no signal; else as sigward_init.
int sigward_repair(int signal);

// sigward_repair for every signal, on the same condition. After a library has been loaded or
// started that installs handlers of its own.
//
// Thread-safe; works in a forked child; not for signal handlers. Returns how many handlers had no
// SA_ONSTACK and have it now, or as sigward_repair; handlers of lower signals have been repaired
// then.
int sigward_repair_all(void);

// From now on until sigward_quiet_thread_leave a SIGPIPE that is the echo of a write of this
// thread ends in our handler, whatever stands behind it: a host's own handler, Go's. For libraries
// in a host that handles SIGPIPE itself.
//
// It needs sigward_init, and our handler to be asked: on top, or beneath one that passes signals
// on (sigward_ensure_on_top). No disposition and no mask changes, so nothing leaks into children,
// and a kill(2) does what it always did; a signal that waits behind a mask of yours comes, when
// you open that, as without us. It nests. No system call, except for the first of a
// process, and for more threads at a time than ever before; signal-safe except there. A thread
// that ends is not quiet any more. After fork(2) the child's only thread stays quiet. Not across
// separate calls from Go, which may change threads in between.
//
// Returns 0. -ENOMEM: no memory for one more thread. -EOVERFLOW: entered 2,047 times.
int sigward_quiet_thread_enter(void);

// Takes one sigward_quiet_thread_enter of this thread back. No system call; signal-safe.
//
// Returns 0; -EINVAL if the thread is not quiet.
int sigward_quiet_thread_leave(void);

// How both signals stand: armed or not, why, and who is called first. For a health check, and for
// the question "is it active?".
//
// Thread-safe; works in a forked child; not for signal handlers, as it allocates. Changes nothing
// but the counter overwritten, when it is the first to see that somebody stands above us.
//
// Returns 0. -EINVAL: out is NULL. Else the kernel's errno, where a seccomp filter refuses
// sigaction(2).
int sigward_status(struct sigward_status_report *out);

// As sigward_status, for a struct of size bytes.
//
// Returns as sigward_status; -EINVAL also for a size that no version has.
int sigward_status_sized(struct sigward_status_report *out, size_t size);

// What a sigward_reason means, in one sentence that says what to do next. Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_reason_text(int32_t reason);

// Looks at this process, as `sigward audit PID` does from outside, and writes what it has found
// into buf of cap bytes: one JSON object in one line, NUL-terminated, "process_audit" of `sigward
// schema`: runtimes, signals ignored and caught, findings with evidence and remedy, and in "own"
// what only the process itself can see: each handler with its library, its flags and who comes
// after it, and how SIGPIPE and SIGBUS stand.
//
// Reads /proc, also of all other processes that it may look at, so it takes milliseconds, and 20
// more where a signal is blocked that matters (they are looked at twice). Thread-safe; works in a
// forked child; not for signal handlers. Changes nothing but the counter overwritten, as
// sigward_status.
//
// Returns the length of the text without the NUL. If that is cap or more, it has not fit: buf is
// the empty text then, and a call with more room says what there is by then. buf may be NULL if
// cap is 0. -EINVAL: buf is NULL and cap is not 0. -ENOENT: there is no /proc. -ENOTSUP: not on
// Linux. Else as sigward_status. Not in the archive that Go links, whose package has Audit.
ssize_t sigward_audit_json(char *buf, size_t cap);

// ---- the dispositions of all signals -----------------------------------------------------------

// Notes the disposition of every signal. Together with sigward_rows_restore it goes around a
// dlopen(3), or the start and the stop of a library that installs handlers and leaves them behind:
// a profiler inside Go, whose SIGPROF is Go's again afterwards; a plug-in that puts SIG_DFL where
// the host had a handler.
//
// Signal-safe, thread-safe, the same in a forked child; changes nothing. Signals that the C
// library keeps for itself (32 and 33 with glibc) are left out. Returns 0. -EINVAL: rows is NULL.
int sigward_rows_save(struct sigward_rows *rows);

// Puts back every disposition that differs from what sigward_rows_save noted: handler, flags and
// mask. Seats of ours that were taken since then stay. A row that somebody else changes at this
// very moment is left to them. The handlers that stood there must still be loaded.
//
// Thread-safe, works in a forked child; not for signal handlers. May be called more than once with
// the same rows. Returns 0. -EINVAL: rows is NULL or was never saved. -EDEADLK: called by the
// handler of a fault while this thread was changing seats. Else the kernel's errno; signals of
// lower numbers have been put back then.
int sigward_rows_restore(const struct sigward_rows *rows);

// ---- counters and events -----------------------------------------------------------------------

// Fills *out with all counters. Signal-safe, thread-safe; a forked child goes on from its parent's
// numbers.
//
// Returns 0; -EINVAL if out is NULL.
int sigward_read_counters(struct sigward_counters *out);

// As sigward_read_counters, for a struct of size bytes.
//
// Returns as sigward_read_counters; -EINVAL also for a size that no version has.
int sigward_read_counters_sized(struct sigward_counters *out, size_t size);

// Copies events after number *cursor into out, oldest first, at most capacity of them, and moves
// *cursor to the last one looked at. Start with a cursor of 0; each reader keeps its own. The
// library keeps the last 512; a gap in the numbers is an event that was overwritten before it was
// read.
//
// Signal-safe, thread-safe, waits for nobody; a forked child sees its parent's events up to the
// fork.
//
// Returns the number of events copied, 0 if there are none; -EINVAL if a pointer is NULL or the
// capacity more than memory can hold.
ssize_t sigward_read_events(uint64_t *cursor, struct sigward_event *out, size_t capacity);

// As sigward_read_events, for structs of size bytes.
//
// Returns as sigward_read_events; -EINVAL also for a size that no version has.
ssize_t sigward_read_events_sized(uint64_t *cursor,
                                  struct sigward_event *out,
                                  size_t capacity,
                                  size_t size);

// Says what the process dies of, from now on: one line on stderr, and to the descriptor of
// sigward_last_words, before a SIGPIPE or SIGBUS that comes by here ends it. Whether it ends is
// not changed: the default action follows, or the handler of somebody else, with its own report.
// Also for mappings that nobody guards. A preloaded program has it by SIGWARD=explain.
//
// - sigward: last words: SIGPIPE (code 0) on thread "pool-3" (tid 4713) of pid 4711: write to fd
//   17 (`socket:[8123]`, peer 127.0.0.1:5432) by libfoo.so: the peer is gone (EPIPE)
// - sigward: last words: SIGBUS (code 2, address 0x7f3a50014000) on thread "app" (tid 4711) of pid
//   4711: read at offset 81,920 of /data/geo.mmdb (67,108,864 bytes mapped) by app: the file is 0
//   bytes long now
// - sigward: last words: SIGBUS (…) on thread …: write at offset 81,920 of /var/lib/app.db
//   (67,108,864 bytes mapped) by app: the disk is full (0 bytes free), and the file with holes has
//   no block there
//
// (Each is one line.) The beginning, up to the signal's name, stays as it is in later versions. A
// line is one write of at most 1,024 bytes. A long path loses its beginning; control characters in
// names become `?`. A signal that somebody has sent is told with its sender.
//
// A fault that goes to somebody's handler may end there or go on (Go's panics, the JVM, a
// longjmp), which cannot be known in advance. It is told in other words, at most 16 times in the
// life of a process: "sigward: passing on: SIGBUS …; it goes to the handler of libjvm.so".
//
// The seat for SIGBUS is taken as by sigward_init. Where SIGPIPE has its default action and no
// policy was set, a seat that lets everything pass is taken for it; sigward_sigpipe_filter makes
// it one that filters, sigward_sigpipe_restore leaves it. Nothing is told where somebody else has
// written over a seat, of a SIGPIPE that a handler gets or that is ignored, of a fault in a thread
// that has SIGBUS blocked (the kernel consults no handler), and in the first process of a pid
// namespace, which such a signal does not end.
//
// A line that stderr cannot take at once is left out, and so is one for a stderr that was closed
// or has become another file since: call this again after redirecting it. Of two threads that die
// at once, one is told or both, each in a line of its own; a thread waits for the other's line for
// 200 ms at most.
//
// Idempotent; thread-safe; a forked child goes on as its parent. Returns 0 or as sigward_init.
int sigward_explain(void);

// As sigward_explain, and also of these signals: of SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGXFSZ and
// SIGSYS those that are among the count numbers at signals. Those that an earlier call has named
// and this one does not are left again; a count of 0 leaves them all. A preloaded program has them
// by their names in SIGWARD, as in SIGWARD=explain,SEGV,ABRT.
//
// - sigward: last words: SIGSEGV (code 1, address 0x10) on thread "app" (tid 4711) of pid 4711:
//   read at libfoo.so+0x1b32 by libfoo.so: a null pointer
// - sigward: last words: SIGXFSZ (code 0) on thread "app" (tid 4711) of pid 4711: write to fd 5
//   (/var/log/app.log) by app: the file may not be longer than 1,048,576 bytes (RLIMIT_FSIZE, …)
//
// (Each is one line.) A seat that lets everything pass is taken on top of each, above whatever
// handler stands there, which goes on to get every signal: the reports of Go, of a JVM or of a
// crash reporter come after ours, as they were. A signal that is ignored is left alone, so that
// children inherit that. A fault or an abort that goes to a handler is told as "passing on" (see
// sigward_explain), but for SIGSEGVs in code that a runtime makes as it runs, by which a JVM
// lives: after 64 of these no SIGSEGV that goes to a handler is. A SIGXFSZ or SIGSYS that goes to
// a handler never is.
//
// A thread that has no stack left, and no alternate one (sigaltstack(2)), cannot say anything. In
// a sandbox (seccomp) the line takes the system calls openat, read, pread64, close, readlink or
// readlinkat, ioctl, fstat, stat or newfstatat, statfs, ppoll, write, prctl, getpid, gettid,
// process_vm_readv, rt_sigprocmask and rt_sigaction, of a SIGXFSZ prlimit64 as well: a filter that
// ends the process for one of them makes the death another one.
//
// Idempotent; thread-safe; a forked child goes on as its parent. Returns 0; -EINVAL for another
// signal (SIGPIPE and SIGBUS may be named and change nothing), for more than 64, or if signals is
// NULL and count is not 0: then nothing has changed; else as sigward_init.
int sigward_explain_signals(const int *signals, size_t count);

// Whether the reports of sigward_explain and sigward_explain_signals are JSON (not 0), or text
// (0): one object in one line, less than 2,048 bytes.
//
// Its keys, in this order: sigward ("last words" or "passing on"), time_ns (since 1970), signal
// (the name), number, code, address (hexadecimal), thread, tid, pid, cause (as in the text),
// handler. They stay; more may follow. code and address are null where there is none; handler is
// null before the default action, else the file name of the handler's library, empty if it is
// unknown. A preloaded program has it by the word json in SIGWARD.
//
// Signal-safe, thread-safe. Returns 0.
int sigward_last_words_json(int wanted);

// Where last words go besides stderr; -1, or any negative number, is for none at all, stderr
// included. Last words are one line (cause, file, offset, thread) before a process ends because an
// adopted file has lost a page of a shared writable mapping (see sigward_adopt_file), after
// sigward_explain before any SIGPIPE or SIGBUS ends it, and after sigward_explain_signals before a
// signal that was named there does.
//
// fd stays the caller's and is used only while it is the same file, pipe or socket. A line that
// would block, or that stderr cannot take at once, is left out. Thread-safe; a forked child goes
// on as its parent.
//
// Returns 0; -EBADF if fd is not open: then nothing has changed.
int sigward_last_words(int fd);

// Writes an event as one line of text, without a newline, NUL-terminated and cut to fit, into buf
// of cap bytes: system call, calling library, thread, descriptor, peer, result.
//
// Thread-safe; not for signal handlers. Returns the length of the text without the NUL; -EINVAL if
// a pointer is NULL or cap is 0.
ssize_t sigward_event_format(const struct sigward_event *event, char *buf, size_t cap);

// The name of the event's system call ("writev"), "" if it could not be told. Never NULL, never
// freed.
//
// Signal-safe, thread-safe.
const char *sigward_event_operation(const struct sigward_event *event);

// Writes the file name of the library (or executable) that made the event's system call,
// NUL-terminated and cut to fit, into buf of cap bytes: the C library's own wrappers left out,
// "the executable" for a program without a path to tell (ld.so was started with it), empty if that
// cannot be told for certain.
//
// Thread-safe; not for signal handlers. Returns the length of the name; -EINVAL if a pointer is
// NULL or cap is 0.
ssize_t sigward_event_library(const struct sigward_event *event, char *buf, size_t cap);

// Calls report for each event from now on: never in a signal handler, always on one thread,
// "sigward-watch", which looks every interval_ms milliseconds (1 or more). *out is the handle, or
// NULL on failure; report may be called before this returns.
//
// report gets the event, which is valid until report returns and as long as its field size says;
// how many events the library had to drop since the call before (missed: it keeps 512 between two
// looks); how many had no call because more than 512 came at once and then more than 10 a second
// (suppressed); and context. A last call, with NULL for the event, tells of both at the end if one
// of them is not 0.
//
// report must return: no exception, no longjmp, no pthread_exit. It may call any function of this
// header, and sigward_watch_stop of its own watch. Its thread has all signals blocked but for
// faults, and so have the threads that it starts: a write there to a broken peer is EPIPE and no
// event, so a logger whose own peer has gone does not report itself.
//
// Thread-safe; not for signal handlers. Any number of watches may go on, and each reports all. A
// forked child has no such thread: report is not called there. It may start a watch of its own.
//
// Returns 0. -EINVAL: report or out is NULL, or interval_ms 0. -EAGAIN: no thread can be had.
int sigward_watch_start(uint32_t interval_ms,
                        void (*report)(const struct sigward_event *event,
                                       uint64_t missed,
                                       uint64_t suppressed,
                                       void *context),
                        void *context,
                        struct sigward_watch **out);

// Ends a watch, and frees the handle. The events of before are reported first; when it returns,
// report is not running and is not called again, so that what it needs may go: context, and the
// library that it is in (dlclose(3)). NULL is nothing to do.
//
// Called by report itself, it waits for nobody, and that call of report is the last: context may
// go, the library that report is in may not. In a forked child it only frees the handle.
//
// Not for signal handlers. Returns 0.
int sigward_watch_stop(struct sigward_watch *watch);

// ---- writers that cannot raise SIGPIPE, and the guard of a thread ------------------------------

// write(2) that cannot raise SIGPIPE, whatever the process's disposition. In all else the plain
// call.
//
// This and the writers below need no sigward_init and change no disposition. They use RWF_NOSIGNAL
// (Linux 6.18), MSG_NOSIGNAL or, where there is neither, a guard of this thread's signal mask. A
// way that is refused, also by a seccomp filter that was installed later, gives place to the next;
// the last is the plain call. Signal-safe, thread-safe; they work in a forked child.
//
// pthread_cancel(3): as the plain calls, they are cancellation points, and a thread of
// asynchronous type may end inside them. Where the mask was guarded, cleanup handlers then run
// with SIGPIPE blocked. With musl, which has no pwritev2(3), sigward_write and sigward_writev are
// none where they use RWF_NOSIGNAL.
//
// Returns the bytes written, or the negative errno of the plain call: -EPIPE for a broken pipe or
// socket.
ssize_t sigward_write(int fd, const void *buf, size_t len);

// writev(2) that cannot raise SIGPIPE. Returns the bytes written or a negative errno.
ssize_t sigward_writev(int fd, const struct iovec *iov, int iovcnt);

// send(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
ssize_t sigward_send(int fd, const void *buf, size_t len, int flags);

// sendto(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
ssize_t sigward_sendto(int fd,
                       const void *buf,
                       size_t len,
                       int flags,
                       const struct sockaddr *addr,
                       socklen_t addrlen);

// sendmsg(2) that cannot raise SIGPIPE, ancillary data and passed descriptors included. Returns
// the bytes sent or a negative errno.
ssize_t sigward_sendmsg(int fd, const struct msghdr *msg, int flags);

// sendmmsg(2) that cannot raise SIGPIPE. Returns the number of messages sent or a negative errno.
// Linux.
int sigward_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);

// sendfile(2) that cannot raise SIGPIPE. offset may be NULL: the file's own position. Returns the
// bytes sent or a negative errno. Linux.
ssize_t sigward_sendfile(int out_fd, int in_fd, off_t *offset, size_t count);

// splice(2) that cannot raise SIGPIPE. Returns the bytes moved or a negative errno. Linux.
ssize_t sigward_splice(int in_fd,
                       int64_t *in_off,
                       int out_fd,
                       int64_t *out_off,
                       size_t len,
                       unsigned int flags);

// Makes every write to this descriptor quiet, by any code: SO_NOSIGPIPE or F_SETNOSIGPIPE (macOS,
// the BSDs), and on Linux x86-64 our handler, in which such a SIGPIPE ends whatever stands behind
// it: a host's own handler, Go's.
//
// On Linux it is the number that is quiet, for as long as it stands for the same pipe or socket:
// not a duplicate, and not what the number is given to after close(2). It holds while our handler
// is asked: sigward_ensure_on_top brings it back above what another library has installed. A
// forked child has it as well, for what it inherits. Thread-safe; signal-safe, except for the
// first call for each 1,024 numbers.
//
// Returns 0. -EBADF: fd is not open. -ENOTSUP: the system has nothing of the kind; on Linux before
// sigward_init, on other processors, which do not show the descriptor of a write, and for numbers
// above 1,048,575. -ENOMEM: no memory for the table.
int sigward_set_nosigpipe(int fd);

// Keeps SIGPIPE from this thread until sigward_thread_guard_leave: for libraries that write by
// themselves.
//
// Start no thread and no child in between (fork, posix_spawn, popen, system): it would have
// SIGPIPE blocked for ever, so that a helper does not end when its reader has gone, and pclose
// waits for it. For calls that may do so take sigward_quiet_thread_enter, which changes no mask.
//
// A jump out of it leaves SIGPIPE blocked, and the guard can be left afterwards. But siglongjmp to
// a mask without SIGPIPE ends the process if a write inside has met a broken peer: the signal
// still waits, and nothing shows any more what it was for. So it is with a mask that you have
// changed yourself.
//
// Guards nest. A SIGPIPE that was pending before stays pending, and so does one of the process
// (kill) that comes meanwhile. Enter and leave on the same thread. Not across separate calls from
// Go, which may change threads in between. Signal-safe; works in a forked child.
//
// Returns 0; -EINVAL if guard is NULL; the kernel's errno if the mask cannot be changed.
int sigward_thread_guard_enter(struct sigward_thread_guard *guard);

// Ends a guard: consumes the SIGPIPE that was raised inside, if any, and restores the mask.
//
// Returns 0. -EINVAL: guard is NULL, was never entered, was left already, or was copied. -EPERM:
// it was entered by another thread. On an error nothing has changed.
int sigward_thread_guard_leave(struct sigward_thread_guard *guard);

// ---- guarded maps ------------------------------------------------------------------------------

// Maps the file at path; NULL options mean the whole file, read-only. *out is the map, or NULL on
// failure.
//
// When the file is truncated, overwritten in place or cannot be read any more, a read of the lost
// bytes is an error (sigward_map_read_at) or gives zeros that the poison word tells of
// (sigward_map_data), on every thread but those that have SIGBUS blocked (sigward_thread_check):
// there the kernel ends the process. A truncation within a page gives zeros up to the page's end
// and no signal, and where a file system has large folios (ext4) whole pages behind a cut may do
// so for a while: sigward_map_verify tells.
//
// Thread-safe; in a forked child the map is there and guarded as well; not for signal handlers.
//
// Returns 0. -EINVAL: a NULL pointer, options of an unknown size or value. -ENODATA: the file is
// empty. -EISDIR, -ENODEV: a directory; a pipe, socket or device. -ENXIO: offset or end beyond the
// file's. -EOVERFLOW: too large. Else what open(2) or mmap(2) say (-ENOENT, -EACCES, -EMFILE,
// -ENOMEM), or as sigward_init. On failure nothing is left behind but the seat for SIGBUS
// (sigward_sigbus_guard), which may have been taken.
int sigward_map_open(const char *path,
                     const struct sigward_map_options *options,
                     struct sigward_map **out);

// As sigward_map_open, of an open file, which must be readable and, for a writable shared map,
// writable. The map keeps a duplicate of the descriptor: fd may be closed.
//
// Returns as sigward_map_open; -EBADF if fd is not open.
int sigward_map_fd(int fd, const struct sigward_map_options *options, struct sigward_map **out);

// Where the map's bytes are. Whoever reads them there reads the poison word afterwards. Changes
// with sigward_map_refresh, and when sigward_map_grow moves the map.
//
// Signal-safe, thread-safe. NULL if map is NULL.
const void *sigward_map_data(const struct sigward_map *map);

// The map's length in bytes. Signal-safe, thread-safe. 0 if map is NULL.
size_t sigward_map_len(const struct sigward_map *map);

// The poison word: UINT64_MAX while nothing is lost, else the lowest lost offset in bytes from the
// start of the map. It is stored before any page changes. Read it after the bytes, with an acquire
// fence in between (atomic_thread_fence(memory_order_acquire); after writing
// memory_order_seq_cst); bytes below it are good. It changes its place when
// sigward_map_data does; the old one stays readable for ever.
//
// Signal-safe, thread-safe. NULL if map is NULL.
const uint64_t *sigward_map_poison_word(const struct sigward_map *map);

// Copies up to len bytes from offset on (bytes from the start of the map) into buf.
//
// Signal-safe, thread-safe. Returns the bytes copied: fewer at the map's end, 0 behind it, and
// fewer where the rest is lost. -EFAULT if the byte at offset is lost: sigward_map_status tells
// why. -EINVAL if a pointer is NULL.
ssize_t sigward_map_read_at(const struct sigward_map *map, uint64_t offset, void *buf, size_t len);

// Copies len bytes from buf to offset (bytes from the start of the map).
//
// Thread-safe as memcpy is: bytes that two threads write are one's or the other's. Returns the
// bytes that are in the file's pages: fewer at the map's end and where the rest has no room or is
// lost. If the byte at offset is lost, the errno of the cause: -ENOSPC on a full disk, -EIO,
// -EFAULT for a truncated file. -EBADF if the map is not writable, -EINVAL if a pointer is NULL.
ssize_t sigward_map_write_at(struct sigward_map *map, uint64_t offset, const void *buf, size_t len);

// Whether bytes of the map are lost, as far as anybody has met them, or because the file is
// shorter than the map now: if no loss is known yet, the length of the descriptor that the map
// keeps is asked for (fstat(2)); of a map without one (no_descriptor) sigward_map_verify looks at
// the path. out may be NULL.
//
// A system call that is given the map's own bytes (write(2) from sigward_map_data) meets a lost
// page without a signal: it returns a short count or EFAULT, and nobody here knows. Then this call
// tells of a file that was cut, and sigward_map_populate of the range tells of every other loss;
// both make the poison word tell it from then on.
//
// Signal-safe, thread-safe. Returns 0 while intact, with out->offset UINT64_MAX and the rest 0; 1
// if not, with *out filled: the loss at the lowest offset. -EINVAL if map is NULL.
int sigward_map_status(const struct sigward_map *map, struct sigward_fault *out);

// As sigward_map_status, for a struct of size bytes.
//
// Returns as sigward_map_status; -EINVAL also for a size that no version has.
int sigward_map_status_sized(const struct sigward_map *map, struct sigward_fault *out, size_t size);

// Looks at the file: whether it is the one that was mapped, unchanged (length and change time; of
// a writable shared map only the length), and still the one that the path names.
//
// A file that somebody cuts and makes as long again shows its new bytes, zeros perhaps. Of a
// read-only map this call tells, because the change time is another one, and so does a read that
// met the file while it was short. Of a writable shared map that has grown (sigward_map_grow; not
// on btrfs and FUSE) the missing blocks tell; of others nothing, because their own stores
// move the time as well: whoever shares such a file with somebody who cuts it has to agree with
// him on a lock or a generation number. The kept descriptor is used only if it still is ours: if
// the host has closed it, -EBADF.
//
// Thread-safe; one or two system calls. Returns 0. -EFAULT: bytes are lost, or the file is shorter
// than the map. -ESTALE: it was changed in place, or its path names another file, or none.
// -EINVAL, or what fstat(2) says.
int sigward_map_verify(const struct sigward_map *map);

// Maps what the path (or the descriptor) names now, if that has changed or bytes are lost. Data,
// length and poison word are others afterwards: no thread may be using the map meanwhile.
//
// After a sigward_map_flush that has failed the kernel's memory has bytes that the disk has not,
// and takes them for written. So they are dropped, and the map shows what the disk has: what was
// stored since the last flush that succeeded may be gone, and is to be stored again. Where
// somebody else has the file mapped they cannot be dropped, and who has no right any more to write
// to the file cannot know: then the flush's errno is returned, the map shows what the others see,
// and flushes go on failing.
//
// Returns 0, also if nothing had changed; else as sigward_map_open, and then the map is what it
// was. -EBADF: the map has no path, and the host has closed the descriptor that the map keeps.
int sigward_map_refresh(struct sigward_map *map);

// Reads in every page of the range now (of a writable shared map: allocates it); a len of 0 is up
// to the map's end.
//
// Thread-safe. Returns 0; the errno of the cause if a page cannot be had (-EFAULT, -ENOSPC, -EIO);
// -EINVAL if the range is not within the map; else what madvise(2) says.
int sigward_map_populate(const struct sigward_map *map, uint64_t offset, uint64_t len);

// Makes the map and its file new_len bytes long: for a map of a whole file that is writable.
// The file gets blocks for every byte first, then the map its new length, so a full disk is an
// error of this call, and afterwards a store into any byte below new_len finds its block, also on
// a disk that is full by then (on btrfs once: see sigward_reserve). New bytes are zeros. A file
// that somebody else has made longer stays so.
//
// Up to the capacity (sigward_map_options) nothing moves and nobody waits. Beyond, or without, the
// map moves to a mapping with room for twice as much: the old addresses and their poison word stay
// readable, writable and one with the file until sigward_map_close (or _refresh), so pointers
// taken before stay good; sigward_map_data, _len and _poison_word answer for the new one. Other
// threads may read, write and grow meanwhile in both cases, by calls or by pointers. Where a move
// is possible, a thread that asks for address, length and poison word one by one takes them with
// sigward_map_look.
//
// Each call costs some system calls (fallocate(2) among them): grow in large steps. Thread-safe;
// works in a forked child; not for signal handlers.
//
// Returns 0. Else the map, the file's length and every byte in it are as they were (see
// sigward_reserve): -ENOSPC, -EDQUOT: no room, no quota. -EFBIG: beyond RLIMIT_FSIZE (no SIGXFSZ)
// or what the file system can. -EOPNOTSUPP: this file system cannot promise: see reserve_slowly in
// the options. -ENOMEM, -EAGAIN: no addresses for so much. -EFAULT: bytes of the map are lost, or
// the file was cut: sigward_map_refresh first. -ESTALE: it was unlinked, replaced, or cut and made
// as long again (see sigward_map_flush). -EBADF: not writable. -EPERM: the file is sealed.
// -EINVAL: NULL, a length below the map's, or a map that cannot grow (a part of a file,
// copy_on_write, no_descriptor). -EOVERFLOW: too large. -EDEADLK: in the handler
// of a fault inside such a call.
int sigward_map_grow(struct sigward_map *map, uint64_t new_len);

// Takes over the length that the file has now, up to the map's capacity: for readers of a file
// that another process makes longer. The map never becomes shorter; sigward_map_len answers. One
// system call.
//
// Thread-safe. Returns 0; -EFAULT if the file is shorter than the map; -EINVAL if map is NULL or
// keeps no descriptor; else what fstat(2) says.
int sigward_map_follow(struct sigward_map *map);

// How many bytes the map can have without moving: its capacity, or its length if it has none.
// Thread-safe. 0 if map is NULL.
uint64_t sigward_map_capacity(const struct sigward_map *map);

// Address, length and poison word that belong together, also while another thread makes the map
// move (sigward_map_grow).
//
// Signal-safe, thread-safe. Returns 0; -EINVAL if a pointer is NULL.
int sigward_map_look(const struct sigward_map *map, struct sigward_bytes *out);

// Waits until what was written is on the disk (msync(2)).
//
// Thread-safe; flushes of one map, and of maps of one descriptor or its duplicates, wait for each
// other. Returns 0. If any byte of the map is lost, the errno of the cause (-ENOSPC, -EIO,
// -EFAULT): all else is on the disk then. -EINVAL if map is NULL; else what msync says: some of
// what was written is not on the disk. The kernel says that once, for the descriptor and its
// duplicates together, and does not try again: so every later flush of this map, and of others in
// this process that share its file in this way, says it, too, until sigward_map_refresh. The
// kernel counts a host's own fsync(2) of that descriptor, and flushes of a forked child and of its
// parent, as one as well: who is told there has to tell the other. On FUSE and network file
// systems a full disk is first met here. -ESTALE: what was written is on the disk, but not where
// somebody finds it: the file was unlinked, or another has taken its place (one that has any name
// left is well); or it has fewer blocks than sigward_map_grow has given it, because somebody has
// cut it and made it as long again, or punched holes. Of a map that has not grown, and on btrfs
// and FUSE, a file that was cut and is as long again cannot be told.
int sigward_map_flush(struct sigward_map *map);

// Takes the map away: no thread may be using it, and its bytes must not be read any more. NULL is
// nothing to do. Using a closed map is the caller's defect; a debug build of the library says so
// and aborts.
//
// Waits for faults that are being dealt with, at most a second. If one still is then (its file
// system does not answer, or its thread was killed in a process that shares our memory), the map's
// addresses and descriptor are never given back: leaked in sigward_counters.
//
// Returns 0.
int sigward_map_close(struct sigward_map *map);

// For packages of a garbage-collected language, where nobody can tell when the last reader is
// gone: as sigward_map_close, but the addresses stay readable for ever, as zeros that cost no
// memory.
//
// Returns 0.
int sigward_map_retire(struct sigward_map *map);

// Takes the seat on top for SIGBUS, above whatever handler stands there; that one goes on to get
// every fault and signal that is not ours. sigward_init and the first map do it by themselves.
// Once it is taken this does nothing, also where another handler has come above it:
// sigward_ensure_on_top takes the top again. Children start with SIG_DFL, also where SIGBUS was
// ignored before. Idempotent; thread-safe; works in a forked child.
//
// Returns 0 or as sigward_init.
int sigward_sigbus_guard(void);

// Leaves the seat for SIGBUS. A sigward_try_copy that another thread is in meanwhile is not looked
// after any more. Idempotent; thread-safe; works in a forked child.
//
// Returns 0; -EBUSY while maps are open or files adopted; else as sigward_init.
int sigward_sigbus_restore(void);

// Whether a fault on the calling thread would be caught. Signal-safe, changes nothing.
//
// Returns 0 if it would; else a sum of SIGWARD_THREAD_*.
int sigward_thread_check(void);

// ---- mappings that others made -----------------------------------------------------------------

// Guards every mapping of the file at path in this process, made before or after, executable ones
// left out: for libraries that map by themselves (SQLite, LMDB). At a fault the kernel is asked
// which file lies there, so mappings that are moved, split, protected anew or opened again are
// guarded as well.
//
// Guarded is the file that path names now, also after it was renamed or unlinked; and a file that
// has the path at the moment of the fault, as after a rotation by rename. The path is that of the
// file itself: where a symbolic link is switched to another file later, adopt that one as well
// (sigward_adopted_verify tells), and so before a second rotation, as a file that only had the
// path in between is nobody's. At most one descriptor is kept (O_PATH: it can neither read nor
// write, and is no obstacle to leases, exec or watchers), none when half of the process's
// descriptors are in use.
//
// A lost page of a private mapping, or of a shared one that is read-only, becomes zeros, and the
// library is not asked: look at sigward_adopted_status where its answers matter, and take them as
// void if something is lost. A lost page of a SHARED WRITABLE mapping ends the process as without
// the library, with the cause told in one line (sigward_last_words): a crash-safe store survives
// that, but not writes that go nowhere. sigward_adopted_sink is the other way.
//
// Thread-safe; in a forked child the mappings are guarded as well; not for signal handlers.
//
// Returns 0, with *out the handle; -EINVAL if a pointer is NULL; -EISDIR, -ENODEV: a directory; a
// pipe, socket or device. -ENOSYS: /proc is not mounted. Else what open(2) says, or
// as sigward_init. On failure nothing is left behind but the seat for SIGBUS
// (sigward_sigbus_guard), which may have been taken.
int sigward_adopt_file(const char *path, struct sigward_adopted **out);

// Guards one mapping that somebody else made, as sigward_adopt_file does: these bytes of its file,
// at these addresses or where the owner moves them. addr is aligned to a page and mapped from
// offset on; len may end anywhere. fd is the file's, or -1: then causes are SIGWARD_CAUSE_UNKNOWN
// and sigward_adopted_heal is impossible. It may be closed afterwards.
//
// The mapping stays its owner's: nothing here ever unmaps it. Thread-safe; not for signal
// handlers.
//
// Returns 0, with *out the handle. -EINVAL: NULL, not aligned, empty, not mapped from one file, or
// from another one than fd. -EACCES: the mapping is executable. -EEXIST: part of it is guarded
// already. -EOPNOTSUPP: a shared writable mapping of huge pages. -EBADF: fd is not
// open. -ENOSYS: /proc is not mounted. -EOVERFLOW, or as sigward_init. Of a failure is left what
// sigward_adopt_file leaves.
int sigward_adopt_range(const void *addr,
                        size_t len,
                        int fd,
                        off_t offset,
                        struct sigward_adopted **out);

// How many mappings are guarded now. Reads /proc/self/maps. Thread-safe. Returns that; -EINVAL if
// adopted is NULL.
int sigward_adopted_count(const struct sigward_adopted *adopted);

// Whether bytes of any of the mappings are lost, as far as anybody has met them; out may be NULL.
// out->offset is in bytes from the start of the FILE here. A loss stays, also when its mapping is
// gone, until sigward_adopted_take or _heal.
//
// Signal-safe, thread-safe. Returns 0 or 1 as sigward_map_status; -EINVAL if adopted is NULL.
int sigward_adopted_status(const struct sigward_adopted *adopted, struct sigward_fault *out);

// As sigward_adopted_status, for a struct of size bytes.
//
// Returns as sigward_adopted_status; -EINVAL also for a size that no version has.
int sigward_adopted_status_sized(const struct sigward_adopted *adopted,
                                 struct sigward_fault *out,
                                 size_t size);

// The lowest lost offset in bytes from the start of the FILE, UINT64_MAX while nothing is lost:
// what sigward_adopted_status looks at, for callers who look often. It is stored before any page
// changes. Read it after the bytes, with an atomic fence (memory_order_seq_cst) in between. It is
// there until sigward_adopted_close.
//
// Signal-safe, thread-safe. NULL if adopted is NULL.
const uint64_t *sigward_adopted_poison_word(const struct sigward_adopted *adopted);

// As sigward_adopted_status, and forgets the loss: later ones are told anew. Zeros that took the
// place of lost pages stay. Thread-safe; not for signal handlers.
int sigward_adopted_take(struct sigward_adopted *adopted, struct sigward_fault *out);

// As sigward_adopted_take, for a struct of size bytes.
//
// Returns as sigward_adopted_take; -EINVAL also for a size that no version has: then nothing is
// forgotten.
int sigward_adopted_take_sized(struct sigward_adopted *adopted,
                               struct sigward_fault *out,
                               size_t size);

// Looks at the file: nothing is lost, it is as long as it was when it was adopted (or a loss was
// last taken or healed), was not changed since, and its path still names it. What the library
// itself writes is a change as well: of a data base only the loss tells. A file that is shorter is
// a loss from then on.
//
// Thread-safe; two or three system calls; not for signal handlers. Returns 0. -EFAULT: bytes are
// lost. -ESTALE: it was changed, or its path names another file, or none. -EBADF: the host has
// closed the descriptor that was kept. -EINVAL: NULL, or a range without descriptor. Else what
// fstat(2) says.
int sigward_adopted_verify(const struct sigward_adopted *adopted);

// Lets up to bytes of lost pages in SHARED WRITABLE mappings be private memory, instead of ending
// the process: what is written there goes nowhere, and other processes do not see it. 0, as it is
// at first: none. When so many bytes are used up, the next lost page ends the process. It suits a
// file that can be thrown away (a cache), and no data base.
//
// Thread-safe. Returns 0; -EINVAL if adopted is NULL.
int sigward_adopted_sink(struct sigward_adopted *adopted, uint64_t bytes);

// Maps the file's own pages over the zeros that took their place, wherever they are now, and
// forgets the loss: what the file has now is seen, and what was written to the zeros is gone.
// Nobody may be reading meanwhile.
//
// Returns 0. -EINVAL if adopted is NULL, or nothing was kept to map the file by. -EBADF: the host
// has closed the descriptor that was kept; nothing is changed then. -ESTALE: zeros took the place
// of a later file that had the path: the owner must map that anew. Else what open(2) and mmap(2)
// say.
int sigward_adopted_heal(struct sigward_adopted *adopted);

// Stops guarding; the library's mappings stay as they are. NULL is nothing to do. Returns 0.
int sigward_adopted_close(struct sigward_adopted *adopted);

// ---- the checked copy --------------------------------------------------------------------------

// Copies len bytes from src to dst as memcpy does, and returns how many came over: all, or as many
// as there are before the first byte that cannot be read or written because of a SIGBUS (a mapped
// file that was truncated, a full disk, lost memory). The count is exact to the byte; bytes of dst
// after it are as they were. src and dst may not overlap. 0 if a pointer is NULL, len is 0 or
// above SSIZE_MAX.
//
// Needs no registration: for maps that the caller keeps. SIGSEGV is as it ever was until
// sigward_try_copy_segv.
//
// Changes no disposition. Once the seat for SIGBUS is taken (sigward_init, sigward_sigbus_guard,
// any map) it costs what memcpy costs; before, the kernel copies (process_vm_readv), by a system
// call for each copy. Signal-safe, thread-safe; works in a forked child. With the seat, in a
// thread that has SIGBUS blocked, the kernel ends the process at a fault: see
// sigward_thread_check.
//
// Returns a count; else nothing was copied, or an unknown part: -ENOTSUP where there is no checked
// copy (other systems than Linux, other processors than x86-64 and aarch64); without the seat, the
// errno that process_vm_readv is refused with (seccomp): take the seat then.
ssize_t sigward_try_copy(void *dst, const void *src, size_t len);

// Lets sigward_try_copy return at a SIGSEGV of its own as well: an address where nothing is
// mapped, or nothing that may be read or written. Takes the seat on top for SIGSEGV; every other
// SIGSEGV goes to what stood there before, which sees it as without the library. Call it again
// after another runtime has installed its handler. There is no way back.
//
// Idempotent, thread-safe, works in a forked child; not for signal handlers.
//
// Returns 0; -ENOTSUP where there is no checked copy; -ENOSPC, -EAGAIN, -EDEADLK or the errno of
// sigaction(2) if the seat cannot be taken: then nothing has changed.
int sigward_try_copy_segv(void);

// ---- files: reserved blocks, new contents at once ----------------------------------------------

// Gives every byte from offset to offset + len of the open file its block, so that writes there,
// also through a map, cannot fail for lack of space; the file reaches at least so far then. What
// is there stays as it is, holes read as zeros. Holes beside the range get blocks, too, as far as
// a store into it can need them (2 MiB on most machines). The promise ends when the file is cut, a
// hole is punched into the range, or its blocks are shared (reflink, snapshot). fd must be open
// for writing; its position is not used. RLIMIT_FSIZE raises no SIGXFSZ.
//
// On failure the file is as long as it was and has the bytes that it had, with all that others
// have written meanwhile, through maps, through descriptors, in other processes, also beyond the
// old end. Blocks may have come: nothing is ever punched or cut to give them back. Where the file
// system keeps what a refused call had found (ext4), room is asked for first, so that this happens
// only if others take it meanwhile, or to a quota. They serve later growth; ftruncate(2) to the
// file's own length frees those beyond its end, if nobody else writes. The times may have moved.
//
// Signals of this thread wait until the call is done. Thread-safe, works in a forked child; not
// for signal handlers.
//
// Returns 0; 1 if the file system copies on write (btrfs): each block takes one write, and a
// second one, also of other bytes of it, may find no room (before Linux 6.17 a store through a map
// asks for room of its own there, whatever is reserved, also if 0 is returned); 2 if the file
// system is a program (FUSE) that has said yes, and may keep nothing of that: stores through a map
// ask for no room there, sigward_map_flush or msync(2) tells. -ENOSPC, -EDQUOT: no room, no quota.
// -EOPNOTSUPP: this file system cannot promise; see sigward_reserve_slowly. -EFBIG: beyond
// RLIMIT_FSIZE or the file system's largest file. -EINVAL: len is 0. -EOVERFLOW: offset and len
// together are too large. -EBADF: not open for writing. -EPERM: sealed against growth (memfd) or
// immutable. -ESPIPE, -ENODEV, -EISDIR: no regular file.
int sigward_reserve(int fd, uint64_t offset, uint64_t len);

// As sigward_reserve; where the file system cannot promise (ext2, some network file systems),
// appends zeros, has holes of the range filled by page faults that change no byte, and waits until
// all is on the disk. Others may write into the file meanwhile, and append to it. Room is asked
// for first; if others take it meanwhile, or a quota ends, what was appended stays, as zeros: the
// file is longer then although the call has failed. The same after a crash in between.
//
// Returns as sigward_reserve; -EOPNOTSUPP where not even zeros take space (ZFS), holes cannot be
// told, or there are some and Linux is older than 5.14. -EACCES: holes of a file that may not be
// read.
int sigward_reserve_slowly(int fd, uint64_t offset, uint64_t len);

// Copies the contents of source over destination at once: as `cp source destination`, but at every
// moment, also after a crash, destination is the old file or the new one, whole, and whoever has
// the old one open or mapped keeps it. source stays. A missing destination is made. (Where a file
// system is a program, on FUSE, its rename may not be at once: who opens destination meanwhile may
// find nothing there.)
//
// The new file has mode, owner and extended attributes (access control lists among them) of the
// one it replaces, but no privilege: set-user-ID, set-group-ID and file capabilities were given to
// the old contents. Where there was none, permissions are those of source less umask(2), and its
// owner and the user's own attributes come along as far as they may be given. A symbolic link is
// followed: what it names is replaced, unless it is one of /proc to a file that has no name here
// (-ENOENT). Other hard links to the old file keep the old contents.
//
// Beside others: `cp new live` writes over the old file, under whoever has it mapped, and a crash
// leaves half of it; `cp -p` the same, with the source's owner, mode and times; `install` unlinks
// live first, so that for a while there is none, or half of one; rename(2) of a file written
// elsewhere is as whole, but has that file's attributes, and without fsync(2) a power failure may
// leave the name without the bytes.
//
// A process that is killed leaves at worst one hidden file, .sigward-*, which belongs to its
// destination; the next replacement of the same file removes it, unless somebody works on it (it
// is locked then, flock(2)) or it is another user's.
//
// Thread-safe, also against other replacers; works in a forked child; not for signal handlers.
//
// Returns 0: file and folder are on the disk. Else the old file is untouched and nothing is left
// behind: -EISDIR, -ENODEV: one of both is a directory, a pipe, socket or device. -EPERM: the
// owner cannot be kept. -ESTALE: the source was changed while it was copied. -EBUSY: something is
// mounted on destination. -ENOSPC, -EDQUOT, -EFBIG, -EACCES, -ENOENT, -EROFS, -ELOOP as ever.
//
// One error is another: -SIGWARD_EUNSYNCED. The new file is there, whole, but after a power
// failure the old one may be back.
int sigward_replace_file(const char *source, const char *destination);

// Begins a new file for path, in the same folder; readers of path see nothing of it until it is
// committed, and nothing is left of it if the process dies (at worst one hidden .sigward-* file,
// which the next replacement of the same file removes). *out is the handle, or NULL on failure.
// NULL options: all zero.
//
// Thread-safe; a handle is for one thread at a time; not for signal handlers.
//
// Returns 0; -EINVAL: a NULL pointer, options of an unknown size or value; else as
// sigward_replace_file.
int sigward_replacement_open(const char *path,
                             const struct sigward_replacement_options *options,
                             struct sigward_replacement **out);

// Writes len bytes from buf to the end of what was written; as write(2), without SIGXFSZ.
//
// Returns the bytes written, fewer only if an error follows; -EINVAL: a NULL pointer; -ENOSPC,
// -EDQUOT, -EFBIG, -EIO.
ssize_t sigward_replacement_write(struct sigward_replacement *replacement,
                                  const void *buf,
                                  size_t len);

// The new file's descriptor, for whoever wants to seek, reserve or map: open for reading and
// writing, and the handle's own: do not close it. -EINVAL if replacement is NULL.
int sigward_replacement_fd(const struct sigward_replacement *replacement);

// The new file takes the place of the old one. The handle is gone, whatever comes back.
//
// Returns 0 or an error as sigward_replace_file; -EINVAL if replacement is NULL.
int sigward_replacement_commit(struct sigward_replacement *replacement);

// Nothing has happened; the handle is gone. Returns 0; -EINVAL if replacement is NULL.
int sigward_replacement_abort(struct sigward_replacement *replacement);

// ---- leases ------------------------------------------------------------------------------------

// Opens the file at path for reading (symbolic links are followed) and takes a lease on it. *out
// is the handle, or NULL on failure. Waits for nobody. It needs two descriptors, both closed on
// exec.
//
// Thread-safe; works in a forked child; not for signal handlers.
//
// Returns 0. -EAGAIN: somebody has the file open for writing (also this process, by a writable map
// too, and a child of it between fork and exec), or waits to. -EACCES: no permission to read it,
// or it is somebody else's: leases are for the owner, and with CAP_LEASE. -EOPNOTSUPP: no leases
// on this file system, or on this system. -EISDIR, -ENODEV: a directory, a pipe, socket or
// device. -EINVAL: a NULL pointer. -ENOENT, -EMFILE, … as open(2).
int sigward_lease_take(const char *path, struct sigward_lease **out);

// As sigward_lease_take, of a file that is open already. It is opened once more by way of
// /proc/self/fd: fd may be closed, and its flags, owner and position are left alone.
//
// Returns as sigward_lease_take; -EBADF: fd is not open.
int sigward_lease_of(int fd, struct sigward_lease **out);

// The file, open for reading: to read, map or copy from. The handle's own: do not close it, and
// leave its owner and signal (F_SETOWN, F_SETSIG) alone. A map of it may outlive the lease, the
// promise does not.
//
// Thread-safe. -EINVAL if lease is NULL.
int sigward_lease_file(const struct sigward_lease *lease);

// A descriptor that is readable as soon as somebody wants the file, and from then on: for poll(2),
// epoll(7) and event loops. Do not read from it, and do not close it.
//
// Thread-safe. -EINVAL if lease is NULL.
int sigward_lease_fd(const struct sigward_lease *lease);

// Whether somebody wants the file: one look at memory, no system call. Thread-safe, signal-safe.
//
// Returns 1 (and never 0 again) or 0; -EINVAL if lease is NULL.
int sigward_lease_is_wanted(const struct sigward_lease *lease);

// Waits until somebody wants the file, at most for timeout_ms milliseconds; below 0: for ever.
// Once somebody does, it answers at once.
//
// Thread-safe. Returns 1 if somebody does, and nothing has changed yet; 0 if nobody came in time;
// -ESTALE if the kernel has broken the lease by force, or somebody has closed its descriptors (a
// daemon's close_range(2)), so that the file may have changed; -EINVAL if lease is NULL.
int sigward_lease_wait(const struct sigward_lease *lease, int timeout_ms);

// Whether the lease has held until now, wanted or not: what was read before this call is as it was
// when the lease was taken. One system call; thread-safe.
//
// Returns 0 if it has, -ESTALE if the kernel has broken it; -EINVAL if lease is NULL.
int sigward_lease_check(const struct sigward_lease *lease);

// How many milliseconds are left until the kernel breaks the lease by force; 0 when they have
// passed. Reckoned from the notice: whether the lease held is told by sigward_lease_check and
// sigward_lease_release.
//
// Thread-safe. INT64_MAX while nobody wants the file, and where lease-break-time is 0
// (never); -EINVAL if lease is NULL.
int64_t sigward_lease_time_left_ms(const struct sigward_lease *lease);

// Gives the lease up, and frees the handle: whoever waits goes on. NULL is nothing to do.
//
// Returns 0: all that was read under the lease is as it was when that was taken. -ESTALE: the
// kernel had broken the lease before, or somebody had closed its descriptors, so what was read
// last may be of another file, or of none. The handle is gone in both cases.
int sigward_lease_release(struct sigward_lease *lease);

// ---- the append log ----------------------------------------------------------------------------

// Opens the log at path, or makes it (rw-rw-rw- less umask); a symbolic link is followed. NULL
// options: all zero. After a crash the end is found: all whole records stay, what is torn behind
// them becomes zeros; recovery (may be NULL) tells. *out is the log, or NULL on failure.
//
// No signal's disposition is touched. Where SIGBUS is guarded already (sigward_init,
// sigward_sigbus_guard, an open map) and no other handler has come above, the log goes through a
// guarded map, and appending is a copy into memory; else through pread(2) and pwrite(2), and each
// append takes some system calls: several times a write(2). So guard first for the fast way.
//
// Thread-safe. The log belongs to this process: in a forked child sigward_log_append and
// sigward_log_flush are -EPERM; if the process dies before it has closed the log, such a child
// keeps the lock until it ends or calls exec. Not for signal handlers.
//
// Returns 0. -EBUSY: another writer has it. -EILSEQ: the file is no log. -EPROTONOSUPPORT: a log
// of a later format. -EBADMSG: bytes that were on the disk once are damaged; nothing was changed,
// and recovery->end is where. -ENOSPC, -EDQUOT, -EFBIG, -EOPNOTSUPP: no blocks for the first page
// (see sigward_reserve). -EINVAL: a NULL pointer, options of an unknown size or value. Else as
// sigward_map_open.
int sigward_log_open(const char *path,
                     const struct sigward_log_options *options,
                     struct sigward_log_recovery *recovery,
                     struct sigward_log **out);

// As sigward_log_open, for a recovery of recovery_size bytes.
//
// Returns as sigward_log_open; -EINVAL also for a size that no version has.
int sigward_log_open_sized(const char *path,
                           const struct sigward_log_options *options,
                           struct sigward_log_recovery *recovery,
                           struct sigward_log **out,
                           size_t recovery_size);

// Appends a record of len bytes; *position (may be NULL) is where it is: bytes from the start of
// the file. It survives the process from now on, and the machine from the next sigward_log_flush
// on.
//
// Thread-safe: records of several threads come one after the other. Returns 0. -ENOSPC, -EDQUOT,
// -EFBIG, -EOPNOTSUPP: no blocks; the record is not there, all before is, and a later append may
// find room. -EFBIG also when the capacity is used up. -EMSGSIZE: too long. -EFAULT: somebody has
// cut the file, -ENOSPC or -EIO: (btrfs, broken disk) a page is lost; -ESTALE: the file has lost
// its name (unlinked, renamed, replaced), which is looked for at flushes; then, and after a flush
// that failed, every later call fails, too: open the log anew. -EPERM: a forked child, or somebody
// has made the file immutable (chattr +i). -EINVAL: a NULL pointer.
//
// record must be readable. A handler that jumps out of the call (siglongjmp(3), at a fault there)
// leaves the log locked: every later call for it waits. What was appended before is whole.
int sigward_log_append(const struct sigward_log *log,
                       const void *record,
                       size_t len,
                       uint64_t *position);

// Waits until everything that was appended before is on the disk; *durable (may be NULL) is up to
// where. Appends of other threads go on meanwhile; flushes that wait for each other share one
// write.
//
// Returns 0. What the disk says (-EIO, -ENOSPC), now or at an append before: what is there from
// *durable on nobody knows; open the log anew. -EFAULT: somebody has cut the file, -EBADMSG: or
// written over it. -ESTALE: it has lost its name; everything is on the disk in that file. -EPERM:
// a forked child. -EINVAL if log is NULL.
int sigward_log_flush(const struct sigward_log *log, uint64_t *durable);

// Where the next record will be: bytes from the start of the file; in a forked child, where it was
// when the log was opened. 0 if log is NULL.
uint64_t sigward_log_end(const struct sigward_log *log);

// Flushes, says in the file that the log was closed in order, gives reserved blocks behind its end
// back, and takes the log away, whatever it returns; the file keeps its length, so no reader dies
// of that. NULL, and a forked child's copy, is nothing to do.
//
// Returns as sigward_log_flush, but not what an append or a flush has failed with already.
int sigward_log_close(struct sigward_log *log);

// Looks at every record of the log at path, and changes nothing; report (may be NULL) tells. It
// takes no lock: what a writer appends meanwhile may be seen or not.
//
// Returns 0, also for a log that is damaged further behind: see report->damaged. -EILSEQ,
// -EPROTONOSUPPORT, -EBADMSG: no copy of the header can be read. -ENODATA: the file is empty.
// -EINVAL: a NULL path. Else what open(2) and read(2) say.
int sigward_log_check(const char *path, struct sigward_log_report *report);

// As sigward_log_check, for a report of report_size bytes.
//
// Returns as sigward_log_check; -EINVAL also for a size that no version has.
int sigward_log_check_sized(const char *path,
                            struct sigward_log_report *report,
                            size_t report_size);

// Copies all whole records of the log at from, in their order, into a new log at to, where they
// have other positions; from is only read. report (may be NULL) is as of sigward_log_check.
//
// Returns as sigward_log_check and sigward_log_append. -EEXIST: there is a file at to. On failure
// what was copied so far stays there.
int sigward_log_salvage(const char *from, const char *to, struct sigward_log_report *report);

// As sigward_log_salvage, for a report of report_size bytes.
//
// Returns as sigward_log_salvage; -EINVAL also for a size that no version has.
int sigward_log_salvage_sized(const char *from,
                              const char *to,
                              struct sigward_log_report *report,
                              size_t report_size);

// Opens the log at path for reading, from the first record on. *out is the reader, or NULL on
// failure.
//
// A reader is for one thread at a time; it works in a forked child, and is the child's own; not
// for signal handlers.
//
// Returns 0. -ENODATA: nobody has begun the log, the file is empty or zeros. -EILSEQ,
// -EPROTONOSUPPORT, -EBADMSG: as sigward_log_open. -EINVAL: a NULL pointer. Else as
// sigward_map_open.
int sigward_log_reader_open(const char *path, struct sigward_log_reader **out);

// Copies the next record into buf, if it has room for it, and goes on to the one after it;
// *position (may be NULL) is where the record is. A record that is longer than len is left: its
// length is returned, and the next call finds it again.
//
// Returns the record's length, 0 is one. -EAGAIN: no further record for now; the writer may append
// one at any time. -EBADMSG: what was there was on the disk once, and is damaged or gone. -EFAULT,
// -EIO: bytes of the file are lost. -EBADF: somebody has closed the reader's descriptor. -EINVAL:
// a NULL pointer.
ssize_t sigward_log_reader_next(struct sigward_log_reader *reader,
                                void *buf,
                                size_t len,
                                uint64_t *position);

// Goes to a position that an append or a read returned; at any other one there is no record, or
// damage.
//
// Returns 0; -EINVAL: reader is NULL, or no record can begin there.
int sigward_log_reader_seek(struct sigward_log_reader *reader, uint64_t position);

// Where the next record is or will be: bytes from the start of the file. 0 if reader is NULL.
uint64_t sigward_log_reader_position(struct sigward_log_reader *reader);

// *durable is where everything before is on the disk, and survives a power failure: bytes from the
// start of the file.
//
// Returns 0; -EINVAL: a NULL pointer; -EFAULT, -EIO: bytes of the file are lost.
int sigward_log_reader_durable(struct sigward_log_reader *reader, uint64_t *durable);

// Takes the reader away. NULL is nothing to do. Returns 0.
int sigward_log_reader_close(struct sigward_log_reader *reader);

// ---- snapshots ---------------------------------------------------------------------------------

// Takes the bytes of the file at path as they are now, as a read-only map that nobody can change:
// whatever happens to the file, the bytes stay. Where the file system can, its blocks are shared
// (xfs, btrfs; no memory), else they are copied into memory that is sealed. All sigward_map_*
// functions read it, sigward_map_close gives it back; an empty file is a map of length 0. A file
// of /proc is read to its end. It takes the seat for SIGBUS, as every map does.
//
// No page of a copy in memory can be lost; of a clone only when the disk fails, and then
// sigward_map_status and the poison word tell, as for every map. sigward_map_verify says 0 as long
// as nothing is lost, whatever the file is now; sigward_map_refresh does nothing then, and after a
// loss reads the clone again.
//
// A clone has all of a write(2) or none of it. A copy is taken again when the file's length or
// times have moved meanwhile; stores through a shared map move them only now and then. What that
// is worth the report's field moment says. inotify(7) on the folder tells of a clone, under the
// name "#" and its inode number.
//
// Thread-safe; works in a forked child; not for signal handlers.
//
// Returns 0, with *out the map; else *out is NULL and nothing is kept: -ESTALE: the file was
// written to during each of ten attempts. -ENOMEM: no memory. -EFBIG: beyond RLIMIT_FSIZE, which
// counts for copies in memory. -EISDIR, -ENODEV: a directory; a pipe, socket or device. -EINVAL: a
// NULL pointer. -EOPNOTSUPP: not Linux. Else what open(2), read(2) and mmap(2) say, or as
// sigward_init.
int sigward_snapshot(const char *path, struct sigward_map **out);

// As sigward_snapshot, with options (NULL: all zero), and what it costs in *report (may be NULL).
//
// Returns as sigward_snapshot; -EFBIG also if the file is larger than options->limit; -ECANCELED:
// options->progress has ended it; -EIO, -EFAULT: with populate, the disk could not give a
// page. -EINVAL: options of an unknown size or value.
int sigward_snapshot_with(const char *path,
                          const struct sigward_snapshot_options *options,
                          struct sigward_map **out,
                          struct sigward_snapshot_report *report);

// As sigward_snapshot_with, for a report of report_size bytes.
//
// Returns as sigward_snapshot_with; -EINVAL also for a size that no version has.
int sigward_snapshot_with_sized(const char *path,
                                const struct sigward_snapshot_options *options,
                                struct sigward_map **out,
                                struct sigward_snapshot_report *report,
                                size_t report_size);

// ---- texts -------------------------------------------------------------------------------------

// The library's version, for example "0.1.0". Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_version(void);

// What a code that a function of this header returned means, and what to do next; for a code that
// this header does not name, a word about errno(3). Takes the code as it was returned (negative)
// or its errno (positive). Never NULL, never freed.
//
// Signal-safe, thread-safe.
const char *sigward_strerror(int code);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIGWARD_H */

// Programs see these functions through macros, which say how long the structs are that they were
// compiled with.
#ifndef SIGWARD_NO_MACROS
#define sigward_sigpipe_status(...) \
    sigward_sigpipe_status_sized(__VA_ARGS__, sizeof(sigward_sigpipe_report))
#define sigward_status(...) sigward_status_sized(__VA_ARGS__, sizeof(sigward_status_report))
#define sigward_read_counters(...) \
    sigward_read_counters_sized(__VA_ARGS__, sizeof(sigward_counters))
#define sigward_read_events(...) sigward_read_events_sized(__VA_ARGS__, sizeof(sigward_event))
#define sigward_map_status(...) sigward_map_status_sized(__VA_ARGS__, sizeof(sigward_fault))
#define sigward_adopted_status(...) sigward_adopted_status_sized(__VA_ARGS__, sizeof(sigward_fault))
#define sigward_adopted_take(...) sigward_adopted_take_sized(__VA_ARGS__, sizeof(sigward_fault))
#define sigward_log_open(...) sigward_log_open_sized(__VA_ARGS__, sizeof(sigward_log_recovery))
#define sigward_log_check(...) sigward_log_check_sized(__VA_ARGS__, sizeof(sigward_log_report))
#define sigward_log_salvage(...) sigward_log_salvage_sized(__VA_ARGS__, sizeof(sigward_log_report))
#define sigward_snapshot_with(...) \
    sigward_snapshot_with_sized(__VA_ARGS__, sizeof(sigward_snapshot_report))
#endif
