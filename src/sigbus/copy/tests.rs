//! The decision from registers alone, and every way to copy (this processor has one best way, and
//! uses no other).

use super::in_handler::{Going, Range, State, go_on};
use super::processor;
use crate::chain::General;
use std::io::Write;

const FROM: usize = 0x7000_0000;
const TO: usize = 0x6000_0000;

fn start() -> usize {
    processor::copy as *const () as usize
}

fn range(state: State) -> &'static Range {
    processor::ranges().iter().find(|range| range.state == state).expect("every state has a range")
}

/// Registers that the copy has when it is `done` bytes far: where it keeps them is its own affair.
fn registers(going: &Going) -> General {
    processor::go_on(&General::default(), going, 0)
}

/// What comes of a fault in a range of `state`: where to go on as an offset, and how far the copy
/// is and is to go.
fn after(state: State, going: &Going, address: usize) -> (u32, Going, usize) {
    let range = range(state);
    let (pc, general) = go_on(start() + range.from as usize, address, &registers(going))
        .expect("a fault of the copy");
    let place = u32::try_from(pc - start()).expect("in the copy");
    let going = processor::interrupted(State::BYTES, &general).expect("known");
    (place, going, processor::stop(&general))
}

#[test]
fn a_fault_elsewhere_is_not_the_copys() {
    let going = Going { dst: TO, src: FROM, len: 100, done: 0 };
    let last = processor::ranges().iter().map(|range| range.before).max().expect("ranges");
    let elsewhere = [0, 1, start() - 1, start() + last as usize, usize::MAX, FROM];
    for pc in elsewhere {
        assert_eq!(go_on(pc, FROM, &registers(&going)), None, "{pc:#x}");
    }
    for range in processor::ranges() {
        let holds =
            |offset: u32| go_on(start() + offset as usize, FROM, &registers(&going)).is_some();
        assert!(holds(range.from) && holds(range.before - 1));
    }
}

#[test]
fn two_signals_are_the_most() {
    let bytes = range(State::BYTES);
    let within = |range: &Range, place| place >= range.from && place < range.before;
    for range in processor::ranges() {
        assert!(range.from < range.before);
        // The byte loop comes next, and nothing after that.
        let faults = processor::ranges().iter().any(|other| within(other, range.go_on));
        assert!(
            !faults && (range.state == State::BYTES) == (range.go_on >= bytes.before),
            "{range:?}"
        );
    }
}

#[test]
fn good_bytes_before_the_fault_are_still_to_be_copied() {
    for (state, done) in [(State::UNTOUCHED, 0), (State::ROUNDS, 160)] {
        let going = Going { dst: TO, src: FROM, len: 1000, done };
        for bad in [done, done + 1, 500, 999] {
            for side in [FROM, TO] {
                let (place, then, stop) = after(state, &going, side + bad);
                assert_eq!((place, then, stop), (range(state).go_on, going, bad));
            }
        }
    }
}

#[test]
fn an_address_of_neither_side_stops_nothing() {
    let going = Going { dst: TO, src: FROM, len: 1000, done: 160 };
    for address in [0, FROM - 1, FROM + 1000, TO - 1, TO + 1000, FROM + 159, usize::MAX, 1 << 63] {
        assert_eq!(after(State::ROUNDS, &going, address).2, 1000, "{address:#x}");
    }
}

#[test]
fn addresses_at_the_end_of_all_memory_are_numbers_like_others() {
    let going =
        Going { dst: usize::MAX - 10, src: usize::MAX - 200, len: isize::MAX as usize, done: 3 };
    assert_eq!(after(State::ROUNDS, &going, usize::MAX).2, 10);
    assert_eq!(after(State::ROUNDS, &going, 5).2, 16);
}

#[test]
fn a_fault_in_the_byte_loop_ends_the_copy_with_its_count() {
    let going = Going { dst: TO, src: FROM, len: 1000, done: 77 };
    let (place, then, _) = after(State::BYTES, &going, FROM + 77);
    assert_eq!((place, then), (range(State::BYTES).go_on, going));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_rep_movsb_has_counted_is_done() {
    // 300 of 1000 bytes done: the pointers are ahead, RCX counts what is left.
    let ahead = Going { dst: TO + 300, src: FROM + 300, len: 1000, done: 0 };
    let general = processor::go_on(&General::default(), &ahead, 700);
    let range = range(State::STRING);
    let (_, general) =
        go_on(start() + range.from as usize, FROM + 320, &general).expect("the copy's");
    let going = processor::interrupted(State::BYTES, &general);
    assert_eq!(going, Some(Going { dst: TO, src: FROM, len: 1000, done: 300 }));
    assert_eq!(processor::stop(&general), 320);
}

// ---- every way, in a process of its own ----

/// All that a processor of this architecture might be told to do.
fn ways() -> Vec<usize> {
    #[cfg(target_arch = "x86_64")]
    let ways = {
        let avx = usize::from(std::arch::is_x86_feature_detected!("avx"));
        [usize::MAX & !63, usize::MAX & !63 | avx, 128 | avx].to_vec()
    };
    #[cfg(target_arch = "aarch64")]
    let ways = [processor::way()].to_vec();
    ways
}

/// Two pages of a file, of which the second is cut off; where it would begin.
fn cut_page() -> *mut u8 {
    let page = crate::sys::pages::page_size();
    let length = 16 * page;
    // SAFETY: a name.
    let fd = unsafe { libc::memfd_create(c"copy".as_ptr(), 0) };
    // SAFETY: a descriptor of ours.
    assert_eq!(unsafe { libc::ftruncate(fd, length as i64) }, 0);
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), length, rights, libc::MAP_SHARED, fd, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: a descriptor of ours.
    assert_eq!(unsafe { libc::ftruncate(fd, (length - page) as i64) }, 0);
    start.cast::<u8>().wrapping_add(length - page)
}

/// Copies with the source cut after `left` bytes, or the destination, and says what is wrong. Above
/// `len` nothing is cut.
fn one(
    way: usize,
    from: *mut u8,
    to: *mut u8,
    len: usize,
    left: usize,
    cut_source: bool,
) -> Option<String> {
    let there = left.min(len);
    let cut = if left > len { len + 64 } else { left };
    let whole = len + 64 + left % 64;
    let (src, dst) = if cut_source {
        (from.wrapping_sub(cut), to.wrapping_sub(whole))
    } else {
        (from.wrapping_sub(whole), to.wrapping_sub(cut))
    };
    for at in 0..if cut_source { there } else { len } {
        // SAFETY: inside what there is of the source.
        unsafe { src.wrapping_add(at).write((at * 7 + at / 256 + 1) as u8) };
    }
    let seen = if cut_source { len + 64 } else { cut };
    // SAFETY: inside what there is of the destination.
    unsafe { dst.write_bytes(0xEE, seen) };
    // SAFETY: the seat is taken, and the two are in different mappings.
    let count = unsafe { processor::copy(dst, src, len, way) };
    // SAFETY: written above, and by the copy.
    let bytes = unsafe { std::slice::from_raw_parts(dst, seen) };
    let right = bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| *byte == if at < there { (at * 7 + at / 256 + 1) as u8 } else { 0xEE });
    (count != there || !right)
        .then(|| format!("way {way:#x}, {len} bytes, {left} left: {count}, right: {right}"))
}

fn look_at_every_way() -> Result<(), String> {
    crate::sigbus::seat::guard().map_err(|error| error.to_string())?;
    let (from, to) = (cut_page(), cut_page());
    let long = [301, 511, 512, 513, 1023, 2049, 4097, 20_000];
    for way in ways() {
        for len in (1..=300).chain(long) {
            let step = if len > 300 { len / 67 } else { 1 };
            for left in (0..=len + 1).step_by(step) {
                for cut_source in [true, false] {
                    one(way, from, to, len, left, cut_source).map_or(Ok(()), Err)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_way_is_exact() {
    // SAFETY: the child uses nothing that another thread may have locked, and ends without running
    // anything of ours.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let found = look_at_every_way();
        if let Err(wrong) = &found {
            // Not by `eprintln`: another thread may have held its lock at the fork.
            let _ = std::fs::File::options()
                .write(true)
                .open("/dev/stderr")
                .map(|mut to| to.write_all(wrong.as_bytes()));
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(found.is_err())) }
    }
    let mut status = 0;
    // SAFETY: a child of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "see above, or it died");
}
