//! Keeps the object that holds this code mapped: dlclose(3) of a plug-in that `libsigward.a` or this crate was linked
//! into would unmap the handlers whose addresses the kernel has.
//!
//! The main program is never unmapped, and `libsigward.so` says so itself (`-z nodelete`): for both nothing is called
//! that takes the loader's lock. Neither is anything in a static executable, which has no dlopen(3): the names are
//! looked up as weak ones, so that the linker brings nothing in for them. musl unmaps nothing.

/// Pins the object. Idempotent; not for handlers of ours, and not under the lock of the seats: a constructor that
/// another thread's dlopen(3) runs may be waiting for that.
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn object() {
    use std::sync::atomic::{AtomicBool, Ordering};
    static DONE: AtomicBool = AtomicBool::new(false);
    // Relaxed: nothing is read because of it, and twice does no harm.
    if !DONE.swap(true, Ordering::Relaxed) {
        loader::pin();
    }
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub(crate) fn object() {}

#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod loader {
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::mem::MaybeUninit;

    /// `struct link_map`, link.h: the part that programs may read.
    #[repr(C)]
    struct LinkMap {
        address: usize,
        name: *const c_char,
        dynamic: *const Dynamic,
    }

    /// `Elf64_Dyn`, elf.h.
    #[repr(C)]
    struct Dynamic {
        tag: i64,
        value: u64,
    }

    /// `struct dl_find_object`, dlfcn.h: 4 words and a pointer, and room for 7 words more.
    #[repr(C)]
    struct Found {
        flags: u64,
        start: *mut c_void,
        end: *mut c_void,
        map: *const LinkMap,
        rest: [u64; 10],
    }

    /// `DT_FLAGS_1` and its `DF_1_NODELETE`, elf.h.
    const FLAGS_1: i64 = 0x6fff_fffb;
    const NODELETE: u64 = 8;
    /// `RTLD_DL_LINKMAP` of dladdr1(3), dlfcn.h.
    const WITH_MAP: c_int = 2;

    /// The address of a function of the C library, 0 where the linker found none.
    macro_rules! weak {
        ($name:literal) => {{
            let address: usize;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: loads one word of the global offset table.
            unsafe {
                std::arch::asm!(
                    concat!(".weak ", $name),
                    concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                    out(reg) address,
                    options(nostack, preserves_flags, readonly)
                );
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            unsafe {
                std::arch::asm!(
                    concat!(".weak ", $name),
                    concat!("adrp {0}, :got:", $name),
                    concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                    out(reg) address,
                    options(nostack, preserves_flags, readonly)
                );
            }
            address
        }};
    }

    pub(super) fn pin() {
        type Open = unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void;
        let open = weak!("dlopen");
        let Some(map) = own_map().filter(|_| open != 0) else { return };
        if map.name.is_null() || never_deleted(map) {
            return;
        }
        // SAFETY: the loader's own name of a loaded object.
        let name = unsafe { CStr::from_ptr(map.name) };
        // The main program's is empty.
        if name.is_empty() {
            return;
        }
        // SAFETY: dlopen(3), by its address.
        let open = unsafe { std::mem::transmute::<usize, Open>(open) };
        // SAFETY: a terminated name. NOLOAD: this object, which has this name, or nothing.
        unsafe { open(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
    }

    /// The loader's description of the object that holds this function.
    fn own_map() -> Option<&'static LinkMap> {
        type Find = unsafe extern "C" fn(*const c_void, *mut Found) -> c_int;
        type Info =
            unsafe extern "C" fn(*const c_void, *mut libc::Dl_info, *mut *const LinkMap, c_int) -> c_int;
        let here = (own_map as *const ()).cast::<c_void>();
        // Without a lock, glibc 2.35.
        let find = weak!("_dl_find_object");
        if find != 0 {
            let mut found = MaybeUninit::<Found>::zeroed();
            // SAFETY: _dl_find_object(3), by its address.
            let find = unsafe { std::mem::transmute::<usize, Find>(find) };
            // SAFETY: room for what it writes.
            let status = unsafe { find(here, found.as_mut_ptr()) };
            // SAFETY: zeroed, and filled if it was found.
            let map = unsafe { found.assume_init() }.map;
            // SAFETY: null, or of an object that is loaded, as we run in it.
            return unsafe { map.as_ref() }.filter(|_| status == 0);
        }
        let info = weak!("dladdr1");
        if info == 0 {
            return None;
        }
        let mut name = MaybeUninit::<libc::Dl_info>::zeroed();
        let mut map = std::ptr::null();
        // SAFETY: dladdr1(3), by its address.
        let info = unsafe { std::mem::transmute::<usize, Info>(info) };
        // SAFETY: room for both answers.
        let status = unsafe { info(here, name.as_mut_ptr(), &raw mut map, WITH_MAP) };
        // SAFETY: as above.
        unsafe { map.as_ref() }.filter(|_| status != 0)
    }

    fn never_deleted(map: &LinkMap) -> bool {
        let mut entry = map.dynamic;
        // SAFETY: null, or the object's dynamic section, which ends with a tag of 0.
        while let Some(dynamic) = unsafe { entry.as_ref() } {
            match dynamic.tag {
                0 => return false,
                FLAGS_1 => return dynamic.value & NODELETE != 0,
                _ => entry = entry.wrapping_add(1),
            }
        }
        false
    }

    /// The file that holds this code, as the loader names it.
    #[cfg(feature = "capi")]
    pub(super) fn own_name() -> Option<&'static CStr> {
        let map = own_map().filter(|map| !map.name.is_null())?;
        // SAFETY: the loader's own name of the object that we run in, which is never renamed.
        Some(unsafe { CStr::from_ptr(map.name) })
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
    loader::own_name().filter(|name| !name.is_empty())
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
