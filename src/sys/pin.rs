//! Keeps the object that holds this code mapped: dlclose(3) of a plug-in that `libsigward.a` or
//! this crate was linked into would unmap the handlers whose addresses the kernel has.
//!
//! The main program is never unmapped, and `libsigward.so` says so itself (`-z nodelete`): for both
//! nothing is called that takes the loader's lock. A static executable is a main program too, but
//! need not have dlopen(3), and its linker warns of programs that name it: so this is looked up by
//! name when it is called. musl unmaps nothing.
//!
//! A plug-in's first call can come from a handler that has interrupted the loader while it adds or
//! removes an object: glibc ends the process at a dlopen(3) there. Then the object is pinned by the
//! next call.

/// Pins the object. Idempotent; not for handlers of ours, and not under the lock of the seats: a
/// constructor that another thread's dlopen(3) runs may be waiting for that.
#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(crate) fn object() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    // Relaxed: nothing is read because of it, and as long as the first caller is in here the object
    // stays. Written at once: a page that is read before costs two faults.
    if !DONE.swap(true, Ordering::Relaxed) && !loader::pin() {
        DONE.store(false, Ordering::Relaxed);
    }
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(crate) fn object() {}

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod loader {
    use crate::sys::objects::{self, Object, Room};
    use std::ffi::{CStr, c_char, c_int, c_void};

    /// `DT_FLAGS_1` and its `DF_1_NODELETE`, elf.h.
    const FLAGS_1: usize = 0x6fff_fffb;
    const NODELETE: usize = 8;

    /// False if it has to be tried again.
    #[cold]
    pub(super) fn pin() -> bool {
        type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
        let mut room = Room::new();
        let Some(object) = own(&mut room) else { return true };
        let stays = objects::entry_of(&object, FLAGS_1).is_some_and(|flags| flags & NODELETE != 0);
        let Some(name) = name_of(&object).filter(|_| !stays) else { return true };
        if objects::are_changing() {
            return false;
        }
        // SAFETY: a terminated name.
        let open = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"dlopen".as_ptr()) };
        if open.is_null() {
            return true;
        }
        // SAFETY: dlopen(3), by its address.
        let open = unsafe { std::mem::transmute::<*mut c_void, Open>(open) };
        // SAFETY: a terminated name. NOLOAD: this object, which has this name, or nothing.
        unsafe { open(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
        true
    }

    /// The object that holds this function.
    fn own(room: &mut Room) -> Option<Object<'_>> {
        objects::holding(own as *const () as usize, room)
    }

    /// How the loader names it; the main program has no name.
    fn name_of(object: &Object<'_>) -> Option<&'static CStr> {
        let name = object.name as *const c_char;
        // SAFETY: null, or the loader's own name of the object that we run in, which is never
        // renamed.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }).filter(|name| !name.is_empty())
    }

    /// The file that holds this code, as the loader names it.
    #[cfg(feature = "capi")]
    pub(super) fn own_name() -> Option<&'static CStr> {
        name_of(&own(&mut Room::new())?)
    }
}

/// The path by which the loader found the object that holds this code. None for the main program.
#[cfg(all(
    feature = "capi",
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub(crate) fn own_name() -> Option<&'static std::ffi::CStr> {
    loader::own_name()
}

#[cfg(not(all(
    feature = "capi",
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
#[allow(dead_code, reason = "only libsigward.so asks")]
pub(crate) fn own_name() -> Option<&'static std::ffi::CStr> {
    None
}
