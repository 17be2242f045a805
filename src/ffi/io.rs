//! Writers and the thread guard.

use super::code;
use crate::error::Error;
use crate::io::raw;
use crate::sigpipe::GuardState;
use crate::sys::cancel::Uncancelled;
use libc::{iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
#[cfg(target_os = "linux")]
use libc::{loff_t, mmsghdr, off_t};
#[cfg(target_os = "linux")]
use std::ffi::c_uint;
use std::ffi::{c_int, c_void};

/// write(2) that cannot raise SIGPIPE, whatever the process's disposition. In all else the plain
/// call.
///
/// This and the writers below need no sigward_init and change no disposition. They use RWF_NOSIGNAL
/// (Linux 6.18), MSG_NOSIGNAL or, where there is neither, a guard of this thread's signal mask. A
/// way that is refused, also by a seccomp filter that was installed later, gives place to the next;
/// the last is the plain call. Signal-safe, thread-safe; they work in a forked child.
///
/// pthread_cancel(3): as the plain calls, they are cancellation points, and a thread of
/// asynchronous type may end inside them. Where the mask was guarded, cleanup handlers then run
/// with SIGPIPE blocked. With musl, which has no pwritev2(3), sigward_write and sigward_writev are
/// none where they use RWF_NOSIGNAL.
///
/// Returns the bytes written, or the negative errno of the plain call: -EPIPE for a broken pipe or
/// socket.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_write(fd: c_int, buf: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: the caller vouches for `len` bytes.
    unsafe { raw::write(fd, buf, len) }
}

/// writev(2) that cannot raise SIGPIPE. Returns the bytes written or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_writev(fd: c_int, iov: *const iovec, iovcnt: c_int) -> ssize_t {
    // SAFETY: the caller vouches for `iovcnt` structs and their bytes.
    unsafe { raw::writev(fd, iov, iovcnt) }
}

/// send(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_send(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller vouches for `len` bytes.
    unsafe { raw::send(fd, buf, len, flags) }
}

/// sendto(2) that cannot raise SIGPIPE. Returns the bytes sent or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sendto(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    flags: c_int,
    addr: *const sockaddr,
    addrlen: socklen_t,
) -> ssize_t {
    // SAFETY: the caller vouches for `len` bytes and the address.
    unsafe { raw::sendto(fd, buf, len, flags, addr, addrlen) }
}

/// sendmsg(2) that cannot raise SIGPIPE, ancillary data and passed descriptors included. Returns
/// the bytes sent or a negative errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sendmsg(fd: c_int, msg: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller vouches for the message.
    unsafe { raw::sendmsg(fd, msg, flags) }
}

/// sendmmsg(2) that cannot raise SIGPIPE. Returns the number of messages sent or a negative errno.
/// Linux.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller vouches for `count` messages.
    unsafe { raw::sendmmsg(fd, messages, count, flags) as c_int }
}

/// sendfile(2) that cannot raise SIGPIPE. offset may be NULL: the file's own position. Returns the
/// bytes sent or a negative errno. Linux.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_sendfile(
    out_fd: c_int,
    in_fd: c_int,
    offset: *mut off_t,
    count: size_t,
) -> ssize_t {
    // SAFETY: null, or a number of the caller's.
    unsafe { raw::sendfile(out_fd, in_fd, offset, count) }
}

/// splice(2) that cannot raise SIGPIPE. Returns the bytes moved or a negative errno. Linux.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_splice(
    in_fd: c_int,
    in_off: *mut loff_t,
    out_fd: c_int,
    out_off: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: null, or numbers of the caller's.
    unsafe { raw::splice(in_fd, in_off, out_fd, out_off, len, flags) }
}

/// Makes every write to this descriptor quiet, by any code: SO_NOSIGPIPE or F_SETNOSIGPIPE (macOS,
/// the BSDs), and on Linux x86-64 our handler, in which such a SIGPIPE ends whatever stands behind
/// it: a host's own handler, Go's.
///
/// On Linux it is the number that is quiet, for as long as it stands for the same pipe or socket:
/// not a duplicate, and not what the number is given to after close(2). It holds while our handler
/// is asked: sigward_ensure_on_top brings it back above what another library has installed. A
/// forked child has it as well, for what it inherits. Thread-safe; signal-safe, except for the
/// first call for each 1,024 numbers.
///
/// Returns 0. -EBADF: fd is not open. -ENOTSUP: the system has nothing of the kind; on Linux before
/// sigward_init, on other processors, which do not show the descriptor of a write, and for numbers
/// above 1,048,575. -ENOMEM: no memory for the table.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_set_nosigpipe(fd: c_int) -> c_int {
    let _whole = Uncancelled::enter();
    raw::set_nosigpipe(fd) as c_int
}

/// A guard of one thread. Its fields are the library's; it needs no initial value.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_thread_guard {
    /// Not yours.
    pub opaque: [u64; 4],
}

/// "sigward" and the state, so that stray bytes are no guard.
const ENTERED: u64 = 0x7369_6777_6172_6401;
const LEFT: u64 = 0x7369_6777_6172_6400;

/// Keeps SIGPIPE from this thread until sigward_thread_guard_leave: for libraries that write by
/// themselves.
///
/// Start no thread and no child in between (fork, posix_spawn, popen, system): it would have
/// SIGPIPE blocked for ever, so that a helper does not end when its reader has gone, and pclose
/// waits for it. For calls that may do so take sigward_quiet_thread_enter, which changes no mask.
///
/// A jump out of it leaves SIGPIPE blocked, and the guard can be left afterwards. But siglongjmp to
/// a mask without SIGPIPE ends the process if a write inside has met a broken peer: the signal
/// still waits, and nothing shows any more what it was for. So it is with a mask that you have
/// changed yourself.
///
/// Guards nest. A SIGPIPE that was pending before stays pending, and so does one of the process
/// (kill) that comes meanwhile. Enter and leave on the same thread. Not across separate calls from
/// Go, which may change threads in between. Signal-safe; works in a forked child.
///
/// Returns 0; -EINVAL if guard is NULL; the kernel's errno if the mask cannot be changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_thread_guard_enter(guard: *mut sigward_thread_guard) -> c_int {
    let _whole = Uncancelled::enter();
    if guard.is_null() {
        return code(Err(Error::InvalidArgument));
    }
    match GuardState::enter() {
        Ok(state) => {
            let flags = u64::from(state.was_blocked) | u64::from(state.was_pending) << 1;
            let value = sigward_thread_guard { opaque: [ENTERED, thread(), flags, guard as u64] };
            // SAFETY: the caller vouches for one struct.
            unsafe { guard.write(value) };
            code(Ok(()))
        }
        Err(error) => code(Err(error)),
    }
}

/// Ends a guard: consumes the SIGPIPE that was raised inside, if any, and restores the mask.
///
/// Returns 0. -EINVAL: guard is NULL, was never entered, was left already, or was copied. -EPERM:
/// it was entered by another thread. On an error nothing has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_thread_guard_leave(guard: *mut sigward_thread_guard) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or a struct that the caller vouches for.
    let Some(guard) = (unsafe { guard.as_mut() }) else { return code(Err(Error::InvalidArgument)) };
    let own_address = std::ptr::from_mut(guard) as u64;
    let [state, owner, flags, address] = guard.opaque;
    if state != ENTERED || address != own_address {
        return code(Err(Error::InvalidArgument));
    }
    if owner != thread() {
        return code(Err(Error::System(libc::EPERM)));
    }
    guard.opaque = [LEFT, 0, 0, 0];
    GuardState { was_blocked: flags & 1 != 0, was_pending: flags & 2 != 0 }.leave();
    code(Ok(()))
}

/// This thread; after a fork the child's only thread is still the one that entered.
fn thread() -> u64 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::pthread_self() as u64 }
}
