//! Whether a word may be a return address: it follows an instruction that calls.
//!
//! In an executable whose code and data share a segment a literal lies where code does, and the address of one on the
//! stack must not pass for a caller.

/// No call of either processor is longer, without prefixes that do not matter.
pub(super) const LONGEST: usize = 7;

/// Whether these bytes, which end where a word points to, end in a call. `None` of the bytes before them is looked at.
pub(super) fn ends_in_call(code: &[u8]) -> bool {
    if cfg!(target_arch = "x86_64") {
        x86_64(code)
    } else if cfg!(target_arch = "aarch64") {
        aarch64(code)
    } else {
        true
    }
}

/// `call` with a displacement of 32 bits; `call` of a register or of memory: opcode `ff`, 2 as the register field, and as
/// many bytes of address as the rest of that byte says.
fn x86_64(code: &[u8]) -> bool {
    let of = |length: usize| code.len().checked_sub(length).and_then(|start| code.get(start..));
    let relative = of(5).is_some_and(|call| call[0] == 0xe8);
    let indirect = |length: usize| {
        let Some([0xff, how, rest @ ..]) = of(length) else { return false };
        if how >> 3 & 7 != 2 {
            return false;
        }
        let kind = how >> 6;
        // With 4 in the lower bits, and no register meant, another byte says more.
        let (index, base) = match (how & 7, rest) {
            _ if kind == 3 => (0, 0),
            (4, [index, ..]) => (1, index & 7),
            (4, []) => return false,
            (base, _) => (0, base),
        };
        let displacement = match kind {
            0 if base == 5 => 4,
            0 | 3 => 0,
            1 => 1,
            _ => 4,
        };
        length == 2 + index + displacement
    };
    relative || [2, 3, 4, 6, 7].into_iter().any(indirect)
}

/// `bl`, `blr`, and `blraa` and its like, which check a signature first.
fn aarch64(code: &[u8]) -> bool {
    let Some(Ok(last)) =
        code.len().checked_sub(4).and_then(|start| code.get(start..)).map(<[u8; 4]>::try_from)
    else {
        return false;
    };
    let call = u32::from_le_bytes(last);
    call & 0xfc00_0000 == 0x9400_0000
        || call & 0xffff_fc1f == 0xd63f_0000
        || call & 0xfeff_f800 == 0xd63f_0800
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_x86_64_have_many_forms() {
        for call in [
            &[0xe8, 1, 2, 3, 4][..],         // call f
            &[0xff, 0xd0],                   // call *%rax
            &[0x41, 0xff, 0xd4],             // call *%r12
            &[0xff, 0x10],                   // call *(%rax)
            &[0xff, 0x50, 8],                // call *8(%rax)
            &[0xff, 0x14, 0xc8],             // call *(%rax,%rcx,8)
            &[0xff, 0x54, 0x24, 8],          // call *8(%rsp)
            &[0xff, 0x15, 1, 2, 3, 4],       // call *f(%rip)
            &[0xff, 0x90, 1, 2, 3, 4],       // call *0x04030201(%rax)
            &[0xff, 0x94, 0x24, 1, 2, 3, 4], // call *0x04030201(%rsp)
            &[0xff, 0x14, 0xc5, 1, 2, 3, 4], // call *0x04030201(,%rax,8)
        ] {
            assert!(x86_64(call), "{call:x?}");
            let behind_others = [&[0x90, 0x90, 0x90][..], call].concat();
            assert!(x86_64(&behind_others), "{call:x?}");
        }
        for other in
            [&b"iteral"[..], &[0xff, 0x20], &[0xff, 0xe0], &[0x0f, 0x05], &[0xe9, 1, 2, 3, 4], &[0xc3], &[]]
        {
            assert!(!x86_64(other), "{other:x?}");
        }
    }

    #[test]
    fn calls_of_aarch64_are_three() {
        for call in [0x9400_0010_u32, 0x97ff_fff0, 0xd63f_0060, 0xd63f_087f, 0xd73f_0861] {
            assert!(aarch64(&call.to_le_bytes()), "{call:x}");
        }
        // b, br, ret, svc, nop
        for other in [0x1400_0010_u32, 0xd61f_0060, 0xd65f_03c0, 0xd400_0001, 0xd503_201f] {
            assert!(!aarch64(&other.to_le_bytes()), "{other:x}");
        }
        assert!(!aarch64(&[0x94]));
    }
}
