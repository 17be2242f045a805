//! A Rust half that listens to signals, as Rust programs do, inside a Go process.

pub use sigward::ffi::*;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

static HEARD: AtomicU32 = AtomicU32::new(0);

/// Listens to `signal` with signal-hook: by itself (0), or through sigward (1).
#[unsafe(no_mangle)]
pub extern "C" fn listener_hook(signal: c_int, warded: c_int) -> c_int {
    let count = || {
        HEARD.fetch_add(1, Ordering::SeqCst);
    };
    // SAFETY: an atomic addition may run in a handler.
    let registered = unsafe {
        match warded {
            0 => signal_hook::low_level::register(signal, count),
            _ => sigward::signals::register(signal, count),
        }
    };
    c_int::from(registered.is_err())
}

/// Listens to `signal` with tokio::signal on a thread of its own, repaired afterwards if `warded`.
#[unsafe(no_mangle)]
pub extern "C" fn listener_tokio(signal: c_int, warded: c_int) -> c_int {
    let (ready, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async move {
            let kind = tokio::signal::unix::SignalKind::from_raw(signal);
            let Ok(mut stream) = tokio::signal::unix::signal(kind) else { return };
            // SAFETY: tokio's handler needs little stack, and stays on it.
            if warded != 0 && unsafe { sigward::chain::repair(signal) }.is_err() {
                return;
            }
            let _ = ready.send(());
            while stream.recv().await.is_some() {
                HEARD.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    c_int::from(wait.recv().is_err())
}

/// Installs a handler that swallows and uses some stack, without SA_ONSTACK, as ctrlc does.
#[unsafe(no_mangle)]
pub extern "C" fn listener_swallow(signal: c_int, warded: c_int) -> c_int {
    extern "C" fn swallow(_: c_int) {
        let mut room = [0_u8; 4096];
        std::hint::black_box(&mut room);
        HEARD.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: a zeroed struct and a function of the right kind.
    let installed = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = swallow as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut())
    };
    // SAFETY: the handler needs 4 KiB of the 32 KiB that Go's signal stacks have.
    let repair = || unsafe { sigward::chain::repair(signal) };
    c_int::from(installed != 0 || warded != 0 && repair() != Ok(sigward::chain::Repair::Repaired))
}

/// How many signals were heard.
#[unsafe(no_mangle)]
pub extern "C" fn listener_heard() -> u32 {
    HEARD.load(Ordering::SeqCst)
}
