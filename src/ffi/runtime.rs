//! For packages of a runtime (Go's `sigward`), not for applications.

use super::handle::opened;
use super::mapping::sigward_map;
use super::status::fixed;
use super::{code, map_code};
use crate::chain::{self, Disposition};
use crate::mapping::Error;
use crate::sigpipe;
use crate::status::Standing;
use crate::sys::cancel::Uncancelled;
use std::ffi::{c_char, c_int};

/// Go's code lies from address low to before high, so a write from there is Go's own. Idempotent,
/// thread-safe.
///
/// Returns 0; -EINVAL for an empty range; -ENOSPC after 16 runtimes.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_text(low: usize, high: usize) -> c_int {
    code(sigpipe::runtime::add_text(low, high))
}

/// 1 if Go has recorded the constructor's handler where it would have recorded SIG_DFL
/// without us, 0 if not.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_default_beneath() -> c_int {
    match sigpipe::has_default_beneath() {
        Ok(answer) => code(Ok(())) + c_int::from(answer),
        Err(error) => code(Err(error)),
    }
}

/// Between signal.Ignore and signal.Notify: puts SIG_DFL where Go has just put SIG_IGN,
/// for Go to record.
///
/// Returns 0 or as sigward_init.
#[unsafe(no_mangle)]
pub extern "C" fn sigward_runtime_give_default() -> c_int {
    code(sigpipe::give_default_to_runtime())
}

/// What sigward_map_refresh does about a sigward_map_flush that has failed, for a map that was
/// opened beside those that were there before and nobody has touched yet. older: count of them, the
/// last first, whose flush it was; they stay, and others may be using them.
///
/// Returns 0, also if no flush of the first has failed; the flush's errno if the kernel goes on
/// keeping pages of the file: somebody has it mapped, or uses an older map; else as fsync(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_runtime_map_succeed(
    map: *const sigward_map,
    older: *const *const sigward_map,
    count: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    // SAFETY: null, or an open map that stays open during the call, by the header's contract.
    let open = |map| unsafe { opened(map) }.map(|map: &sigward_map| &map.0);
    let older = if older.is_null() {
        &[]
    } else {
        // SAFETY: as many handles, by the header's contract.
        unsafe { std::slice::from_raw_parts(older, count) }
    };
    let older: Option<Vec<_>> = older.iter().map(|&map| open(map)).collect();
    let (Some(map), Some(older)) = (open(map), older) else {
        return map_code(Err(Error::Invalid("no map")));
    };
    map_code(map.succeed(&older))
}

/// Who is called for a signal.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct sigward_runtime_handler {
    /// SIG_DFL (0), SIG_IGN (1) or the address of a function.
    pub address: u64,
    /// The SA_ flags.
    pub flags: i32,
    /// 1 if it is an entry point of the library.
    pub is_ours: i32,
    /// The file name of the executable or library that holds it, NUL-terminated; empty if unknown.
    pub library: [c_char; 64],
}

/// Fills out with who is called for a signal: what the kernel calls, and who comes after it as far
/// as that goes by seats of the library. At most capacity of them.
///
/// Returns how many; -EINVAL for what is no signal that may be asked for, or a NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigward_runtime_handlers(
    signal: c_int,
    out: *mut sigward_runtime_handler,
    capacity: usize,
) -> c_int {
    let _whole = Uncancelled::enter();
    let (Ok(top), false) = (Disposition::read(signal), out.is_null()) else {
        return code(Err(crate::Error::InvalidArgument));
    };
    // SAFETY: room for as many by the header's contract.
    let room = unsafe { std::slice::from_raw_parts_mut(out, capacity) };
    let mut count = 0;
    chain::line(signal, &top, &mut |row| {
        let Some(place) = room.get_mut(count) else { return };
        let owner = Standing::owner_of(row.handler).unwrap_or_default();
        let is_ours = c_int::from(chain::is_ours(row.handler));
        let library = fixed(&owner);
        *place = sigward_runtime_handler {
            address: row.handler as u64,
            flags: row.flags,
            is_ours,
            library,
        };
        count += 1;
    });
    count as c_int
}
