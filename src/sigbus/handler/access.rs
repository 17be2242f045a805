//! How an instruction has accessed which byte of which mapping; and what is said of a SIGSEGV that
//! goes on to what may end the process.

use crate::chain::Fault;
use crate::observe::last_words::in_handler::{Told, by};
use crate::observe::library;
use crate::observe::text::Text;
use crate::sigbus::adopted::handler::area::{Area, Scratch, area_at, path_at};

/// Below this the address is a null pointer, with the offset of a member.
const NULL: usize = 64 << 10;
/// So near to the stack pointer an access is one to the stack.
const BELOW: usize = 64 << 10;
const ABOVE: usize = 4096;

/// `read at OBJECT+0xN by LIBRARY: nothing is mapped there`
pub(super) fn tell(line: &mut Text<'_>, fault: &Fault, to_handler: bool) -> Told {
    let jump = fault.pc == fault.address && fault.code != NON_CANONICAL;
    let known = library::place_of(fault.pc);
    if to_handler && known.is_none() && !jump {
        // Code that a runtime has made: null checks and safepoints of a JVM or of WebAssembly.
        return Told::Custom;
    }
    line.push(if jump { b"jump" } else { access_of(fault) });
    let mut scratch = Scratch::new();
    let area = area_at(fault.address, &mut scratch);
    if let Some(area) = area.filter(|area| area.file != (0, 0) && !jump) {
        place(line, fault, &area, &mut scratch);
    }
    if let Some((name, offset)) = known {
        line.push(b" at ");
        line.push_name(name.bytes());
        line.push(b"+0x");
        line.number(offset as u64, 16);
    }
    if !jump {
        by(line, fault.pc, fault.stack, fault.link);
    }
    line.push(b": ");
    line.push(why(fault, jump));
    Told::Cause
}

/// `SI_KERNEL`: a general protection fault, which has no address.
const NON_CANONICAL: i32 = 0x80;

fn why(fault: &Fault, jump: bool) -> &'static [u8] {
    let near = fault.stack.saturating_sub(BELOW)..fault.stack.saturating_add(ABOVE);
    match fault.code {
        NON_CANONICAL => b"an address that no pointer can have: damaged memory, as it seems",
        1 | 2 if !jump && near.contains(&fault.address) => {
            b"the thread's stack is full, as it seems"
        }
        1 if fault.address < NULL => b"a null pointer",
        1 => b"nothing is mapped there",
        2 => b"what is mapped there may not be accessed so",
        4 => b"a protection key forbids it",
        8 | 9 => b"a memory tag does not match",
        10 => b"a return address was changed",
        _ => b"the kernel does not say why",
    }
}

/// How the instruction has accessed memory.
pub(super) fn access_of(fault: &Fault) -> &'static [u8] {
    match fault.write {
        Some(true) => b"write",
        Some(false) => b"read",
        None => b"access",
    }
}

/// ` at offset N of PATH (N bytes mapped)`
#[inline(never)]
pub(super) fn place(line: &mut Text<'_>, fault: &Fault, area: &Area, scratch: &mut Scratch) {
    /// What else the line says, at most.
    const REST: usize = 320;
    line.push(b" at offset ");
    line.grouped(area.offset_at(fault.address));
    line.push(b" of ");
    let path = path_at(fault.address, scratch).unwrap_or(b"a file");
    // Its end tells most.
    let start = path.len().saturating_sub(line.left().saturating_sub(REST));
    line.push_name(path.get(start..).unwrap_or_default());
    line.push(b" (");
    line.grouped((area.end - area.start) as u64);
    line.push(b" bytes mapped)");
}
