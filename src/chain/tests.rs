//! Frames of faults as the kernel makes them.

use super::*;
use crate::chain::Disposition;
use std::ffi::c_void;

fn delivery(
    signal: c_int,
    predecessor: &Disposition,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) -> Delivery<'_> {
    Delivery {
        signal,
        predecessor,
        active: true,
        address: 0,
        info,
        context,
        filled: true,
        called_with: None,
        stack: 0,
    }
}

/// A siginfo as the kernel fills one for a fault.
fn siginfo(signal: c_int, code: c_int, address: usize, least: i16) -> libc::siginfo_t {
    // SAFETY: numbers only.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = signal;
    info.si_code = code;
    let info_start = &raw mut info;
    // SAFETY: inside the siginfo: see `least_bit`.
    unsafe { info_start.cast::<usize>().wrapping_add(2).write(address) };
    // SAFETY: as above.
    unsafe { info_start.cast::<i16>().wrapping_add(12).write(least) };
    info
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn only_what_the_kernel_made_for_the_instruction_is_a_fault() {
    let last = Disposition::default_action();
    let look = |signal, code| {
        let mut info = siginfo(signal, code, 0x1234_5678, 12);
        delivery(signal, &last, &raw mut info, std::ptr::null_mut()).fault()
    };
    let plain = |code| {
        Some(Fault { address: 0x1234_5678, code, pc: 0, write: None, stack: 0, link: 0, shift: 0 })
    };
    assert_eq!(look(libc::SIGBUS, libc::BUS_ADRERR), plain(libc::BUS_ADRERR));
    // SEGV_MAPERR, SI_KERNEL.
    assert_eq!(look(libc::SIGSEGV, 1), plain(1));
    assert_eq!(look(libc::SIGSEGV, 128), plain(128));
    assert_eq!(look(libc::SIGBUS, BUS_MCEERR_AR).map(|fault| fault.shift), Some(12));
    assert_eq!(look(libc::SIGBUS, BUS_MCEERR_AO), None);
    assert_eq!(look(libc::SIGSEGV, SEGV_MTEAERR), None);
    for code in [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL] {
        assert_eq!(look(libc::SIGBUS, code), None, "{code}");
    }
    assert_eq!(look(libc::SIGPIPE, 1), None);
    let bare = delivery(libc::SIGBUS, &last, std::ptr::null_mut(), std::ptr::null_mut());
    assert_eq!(bare.fault(), None);
    assert_eq!(bare.general(), None);
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn without_a_siginfo_the_registers_tell_of_a_page_fault() {
    let last = Disposition::default_action();
    // SAFETY: numbers only.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: numbers and pointers: zero is a value of each.
    let mut context: libc::ucontext_t = unsafe { std::mem::zeroed() };
    context.uc_mcontext.gregs[libc::REG_CR2 as usize] = 0x1234_5678;
    let look = |context: &mut libc::ucontext_t, info: &mut libc::siginfo_t| {
        let context = std::ptr::from_mut(context).cast();
        Delivery { filled: false, ..delivery(libc::SIGBUS, &last, info, context) }.fault()
    };
    assert_eq!(look(&mut context, &mut info), None);
    context.uc_mcontext.gregs[libc::REG_TRAPNO as usize] = 14;
    let fault = look(&mut context, &mut info).map(|fault| (fault.address, fault.code));
    assert_eq!(fault, Some((0x1234_5678, libc::BUS_ADRERR)));
    let unsigned = delivery(libc::SIGBUS, &last, &raw mut info, (&raw mut context).cast());
    Delivery { filled: false, ..unsigned }.tell_of_fault();
    assert_eq!(info.si_code, libc::BUS_ADRERR);
    // SAFETY: a field of what has just been written.
    assert_eq!(unsafe { info.si_addr() } as usize, 0x1234_5678);
}

#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn what_is_written_into_the_context_is_what_is_read_from_it() {
    let last = Disposition::default_action();
    let mut info = siginfo(libc::SIGBUS, libc::BUS_ADRERR, 1, 0);
    // SAFETY: numbers and pointers: zero is a value of each.
    let mut context: libc::ucontext_t = unsafe { std::mem::zeroed() };
    let delivery = delivery(libc::SIGBUS, &last, &raw mut info, (&raw mut context).cast());
    let mut general = delivery.general().expect("there is a context");
    for (number, register) in general.iter_mut().enumerate() {
        *register = number + 100;
    }
    // SAFETY: nothing goes on with this context.
    assert!(unsafe { delivery.resume_at(0x4000, &general) });
    assert_eq!(delivery.general(), Some(general));
    assert_eq!(delivery.fault().map(|fault| (fault.pc, fault.write)), Some((0x4000, None)));
}

/// What is said of the access when the kernel has written `context`.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn write(context: &mut libc::ucontext_t) -> Option<bool> {
    let last = Disposition::default_action();
    let mut info = siginfo(libc::SIGBUS, libc::BUS_ADRERR, 1, 0);
    delivery(libc::SIGBUS, &last, &raw mut info, std::ptr::from_mut(context).cast()).fault()?.write
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_page_fault_says_whether_it_wrote() {
    // SAFETY: numbers and pointers: zero is a value of each.
    let mut context: libc::ucontext_t = unsafe { std::mem::zeroed() };
    for (exception, error, wrote) in [(14, 6, Some(true)), (14, 4, Some(false)), (13, 2, None)] {
        context.uc_mcontext.gregs[libc::REG_TRAPNO as usize] = exception;
        context.uc_mcontext.gregs[libc::REG_ERR as usize] = error;
        assert_eq!(write(&mut context), wrote, "{exception} {error}");
    }
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn the_syndrome_says_whether_it_wrote() {
    const RECORDS: usize = 464;
    // SAFETY: numbers and pointers: zero is a value of each.
    let mut context: libc::ucontext_t = unsafe { std::mem::zeroed() };
    let put = |context: &mut libc::ucontext_t, at: usize, magic: u32, size: u32, syndrome: u64| {
        let record = std::ptr::from_mut(context).cast::<u64>().wrapping_add((RECORDS + at) / 8);
        // SAFETY: in the context's extension.
        unsafe { record.cast::<[u32; 2]>().write([magic, size]) };
        // SAFETY: as above.
        unsafe { record.wrapping_add(1).write(syndrome) };
    };
    assert_eq!(write(&mut context), None);
    // Vector registers come first.
    put(&mut context, 0, 0x4650_8001, 528, 0);
    let abort = 0x24 << 26;
    for (syndrome, wrote) in [
        (abort | 1 << 6, Some(true)),
        (abort, Some(false)),
        (abort | 1 << 6 | 1 << 8, Some(false)),
        (0x20 << 26, None),
    ] {
        put(&mut context, 528, 0x4553_5201, 16, syndrome);
        assert_eq!(write(&mut context), wrote, "{syndrome:#x}");
    }
    // A record without an end.
    put(&mut context, 0, 0x4650_8001, 0, 0);
    assert_eq!(write(&mut context), None);
}
