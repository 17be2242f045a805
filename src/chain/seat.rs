//! Taking a seat on top, finding out whether it still is on top, leaving it.
//!
//! The kernel offers an exchange, not a compare-and-exchange: between reading what stands there and
//! writing ours, somebody may have installed another handler. What the write returns tells, and
//! then the predecessor is corrected to what really stood there. In the instant between, one
//! delivery could go to the older predecessor; nothing is lost for longer.

use super::disposition::{Disposition, Kind, same_set};
use super::entry::{Entry, claim, entries_for, entry};
use super::handler::trampolines::index_of;
use super::lock::Lock;
use super::owner::Owner;
use super::row::disposition_of;
use crate::error::Error;
use crate::observe::counters;
use std::ffi::c_int;

/// Where our seat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seat {
    /// Nowhere.
    None,
    /// First in line.
    OnTop,
    /// Beneath a runtime that forwards what is not its own.
    Beneath,
    /// Beneath a handler that may or may not pass signals on: see [`crate::ensure_on_top`].
    Covered,
}

/// Counts it if the kernel's table shows somebody else on top of our seats, or our row altered.
/// Signal-safe.
pub(crate) fn notice(owner: &'static Owner, top: &Disposition) {
    match standing_below(owner, top) {
        Standing::Covered { .. } => owner.count(top),
        Standing::OnTop { .. } | Standing::Absent => owner.is_ours_again(),
    }
}

/// Where an owner's seats stand.
#[derive(Debug, Clone, Copy)]
pub enum Standing {
    /// It has none, or has left.
    Absent,
    /// The kernel calls us first; this comes after us.
    OnTop {
        /// What stood there before.
        predecessor: Disposition,
    },
    /// Another handler, or SIG_DFL or SIG_IGN, stands above ours; or ours, with other flags or
    /// another mask than we gave it, as signal(3) leaves it that puts back what signal(3) has
    /// returned.
    Covered {
        /// What the kernel calls.
        top: Disposition,
    },
}

/// How often a race with other writers is run again before giving up.
pub(super) const ATTEMPTS: usize = 8;

/// The active seat whose row somebody copied to write SIG_IGN in its place: libcurl does around its
/// calls (lib/sigpipe.h), and two threads of it can leave that behind for ever.
pub(crate) fn flipped(owner: &'static Owner, top: &Disposition) -> Option<Disposition> {
    if top.kind() != Kind::Ignore {
        return None;
    }
    seats_of(owner).find(|predecessor| {
        let ours = disposition_of(owner.signal, 0, predecessor);
        top.flags == ours.flags
            && same_set(&top.mask, &ours.mask)
            && ours.flags & libc::SA_NODEFER == 0
    })
}

/// Where the seats of `owner` stand now.
pub(crate) fn standing(owner: &'static Owner) -> Result<Standing, Error> {
    Ok(standing_below(owner, &Disposition::read(owner.signal)?))
}

/// Where the seats of `owner` stand when the kernel's table shows `top`.
#[cold]
pub(crate) fn standing_below(owner: &'static Owner, top: &Disposition) -> Standing {
    let found = index_of(top.handler).and_then(|index| Some((index, entry(index)?)));
    if let Some((index, found)) = found.filter(|(_, found)| found.is_active()) {
        let predecessor = found.predecessor().copied().unwrap_or(*top);
        let ours = disposition_of(owner.signal, index, &predecessor);
        if ours.same(top) {
            return Standing::OnTop { predecessor };
        }
    }
    let seated = seats_of(owner).next().is_some();
    if seated { Standing::Covered { top: *top } } else { Standing::Absent }
}

/// The predecessors of all active seats of `owner`, oldest first.
pub(crate) fn seats_of(owner: &'static Owner) -> impl Iterator<Item = Disposition> {
    entries_for(owner.signal)
        .filter(|(_, entry)| entry.is_active())
        .filter_map(|(_, entry)| entry.predecessor().copied())
}

/// Tells who is called for a signal, one after another: what the kernel's table shows, and behind
/// each entry point of ours its predecessor. Seats that others stand above come with what stands
/// behind them after all of these: only who stands above knows whether they are asked.
pub(crate) fn line(signal: c_int, top: &Disposition, tell: &mut dyn FnMut(&Disposition)) {
    let mut told = 0_u32;
    follow(*top, &mut told, tell);
    for (index, seat) in entries_for(signal) {
        if let Some(predecessor) = seat.predecessor().filter(|_| seat.is_active()) {
            follow(disposition_of(signal, index, predecessor), &mut told, tell);
        }
    }
}

/// Tells a row and what comes after it; stops at an entry point that was told before.
fn follow(mut row: Disposition, told: &mut u32, tell: &mut dyn FnMut(&Disposition)) {
    loop {
        let index = index_of(row.handler);
        let bit = index.map_or(0, |index| 1 << index);
        if *told & bit != 0 {
            return;
        }
        *told |= bit;
        tell(&row);
        let Some(next) = index.and_then(entry).and_then(Entry::predecessor) else { return };
        row = *next;
    }
}

/// Takes the seat on top, above whatever stands there; does nothing if it is ours already.
#[cold]
pub(crate) fn take(held: &Lock, owner: &'static Owner) -> Result<Disposition, Error> {
    take_above(held, owner, Disposition::read(owner.signal)?)
}

/// As [`take`], above `top`, which stood there when it was decided to.
#[cold]
pub(crate) fn take_above(
    held: &Lock,
    owner: &'static Owner,
    top: Disposition,
) -> Result<Disposition, Error> {
    if let Some((index, ours)) =
        index_of(top.handler).and_then(|index| Some((index, entry(index)?)))
    {
        ours.set_active(true);
        let predecessor = ours.predecessor().copied().unwrap_or(top);
        mend(owner.signal, index, &predecessor, &top)?;
        return Ok(predecessor);
    }
    take_in_place_of(held, owner, top, top)
}

/// Writes `row`, by which the kernel calls entry `index`, anew if it is no more what we had
/// written; says whether it did. Signal-safe.
pub(super) fn mend(
    signal: c_int,
    index: usize,
    predecessor: &Disposition,
    row: &Disposition,
) -> Result<bool, Error> {
    let ours = disposition_of(signal, index, predecessor);
    if ours.same(row) {
        return Ok(false);
    }
    let owner = entry(index).and_then(Entry::owner);
    if let Some(owner) = owner {
        owner.count(row);
    }
    let mended = put(signal, row, &ours)?;
    if let Some(owner) = owner.filter(|_| mended) {
        owner.is_ours_again();
    }
    Ok(mended)
}

/// Whether this handler is an entry point of ours.
pub(crate) fn is_ours(handler: usize) -> bool {
    index_of(handler).is_some()
}

/// Takes the seat on top, with `predecessor` as what comes after instead of `top`, which stands
/// there.
#[cold]
pub(crate) fn take_in_place_of(
    _held: &Lock,
    owner: &'static Owner,
    top: Disposition,
    predecessor: Disposition,
) -> Result<Disposition, Error> {
    let (index, seat) = entry_above(owner, &predecessor)?;
    if top.same(&predecessor) {
        // With SA_RESETHAND a handler that was installed again has another call to come.
        seat.rearm();
    }
    // An entry that is used again goes on with what it has recorded: the kernel does the same with
    // both.
    let predecessor = seat.predecessor().copied().unwrap_or(predecessor);
    let ours = disposition_of(owner.signal, index, &predecessor);
    let was_active = seat.is_active();
    seat.set_active(true);
    let before = match ours.write(owner.signal) {
        Ok(before) => before,
        Err(error) => {
            seat.set_active(was_active);
            return Err(error);
        }
    };
    if before.same(&top) || before.handler == ours.handler {
        owner.is_ours_again();
        return Ok(predecessor);
    }
    counters::RACES_REPAIRED.add();
    if let Some((index, put_back)) =
        index_of(before.handler).and_then(|index| Some((index, entry(index)?)))
    {
        // A flip of the signal is over, and has put back what stood there before it: an entry of
        // ours, which stays what it was. It is never what comes after another one of ours.
        let predecessor = put_back.predecessor().copied().unwrap_or(predecessor);
        put_back.set_active(true);
        if put(owner.signal, &ours, &disposition_of(owner.signal, index, &predecessor))? {
            seat.set_active(was_active);
        }
        owner.is_ours_again();
        return Ok(predecessor);
    }
    // Somebody installed `before` since we looked: it is the one that comes after us.
    if let Ok((right, seat)) = entry_above(owner, &before) {
        seat.set_active(true);
        if put(owner.signal, &ours, &disposition_of(owner.signal, right, &before))? {
            return Ok(before);
        }
    }
    // And somebody stands above us already and will pass on to the entry that we had put there.
    seat.publish(&before);
    Ok(before)
}

/// An entry point of this owner with this predecessor: one that has it already, or a new one.
#[cold]
fn entry_above(
    owner: &'static Owner,
    predecessor: &Disposition,
) -> Result<(usize, &'static Entry), Error> {
    let index = reusable(owner, predecessor).or_else(|| {
        let fresh = claim(owner)?;
        entry(fresh)?.publish(predecessor);
        Some(fresh)
    });
    index.and_then(|index| Some((index, entry(index)?))).ok_or(Error::NoEntryPoint)
}

/// An entry of this owner that already stands above `predecessor`: nothing in it has to change.
fn reusable(owner: &'static Owner, predecessor: &Disposition) -> Option<usize> {
    entries_for(owner.signal)
        .find(|(_, entry)| {
            entry.has_room()
                && !entry.has_given_up_predecessor()
                && entry.predecessor().is_some_and(|known| known.same(predecessor))
        })
        .map(|(index, _)| index)
}

/// Vacates every seat of `owner`: deliveries pass through, and where one of ours is on top the
/// kernel's table gets back what stood there.
pub(crate) fn vacate(_held: &Lock, owner: &'static Owner) -> Result<(), Error> {
    for (_, entry) in entries_for(owner.signal) {
        entry.set_active(false);
    }
    // Ours may stand above ours (on top, and beneath): each round takes one away.
    for _ in 0..super::ENTRY_POINTS + ATTEMPTS {
        let top = Disposition::read(owner.signal)?;
        let Some(index) = index_of(top.handler) else {
            return Ok(());
        };
        let Some(predecessor) = entry(index).and_then(remaining) else {
            return Ok(());
        };
        put(owner.signal, &top, &predecessor)?;
    }
    Err(Error::Contended)
}

/// What stands behind an entry for whoever comes next.
fn remaining(entry: &Entry) -> Option<Disposition> {
    let predecessor = *entry.predecessor()?;
    let reset = predecessor.flags & libc::SA_RESETHAND != 0 && entry.is_spent();
    Some(if reset || entry.has_given_up_predecessor() {
        Disposition::default_action()
    } else {
        predecessor
    })
}

/// Writes `new` where `expected` stands. If somebody else came first, what they wrote is put back
/// and the answer is `false`.
pub(crate) fn put(signal: c_int, expected: &Disposition, new: &Disposition) -> Result<bool, Error> {
    let mut written = *new;
    let mut before = written.write(signal)?;
    if before.same(expected) {
        return Ok(true);
    }
    for _ in 0..ATTEMPTS {
        counters::RACES_REPAIRED.add();
        let theirs = before;
        if is_soon_over(signal, &written)? {
            return Ok(false);
        }
        before = theirs.write(signal)?;
        if before.same(&written) {
            return Ok(false);
        }
        // And another one came between: theirs is the newest, so theirs it is.
        written = theirs;
    }
    Err(Error::Contended)
}

/// Whether somebody soon writes over `written`, which has taken the place of a row of theirs.
///
/// Who flips a signal (`old = signal(S, h); …; signal(S, old)`) writes over it by themselves. If
/// theirs were put back at once, they might find it there when they flip again, take it for what
/// stood before, and leave it for ever.
fn is_soon_over(signal: c_int, written: &Disposition) -> Result<bool, Error> {
    /// About a millisecond, of which a signal handler may spend some.
    const LOOKS: usize = 4096;
    for _ in 0..LOOKS {
        if !Disposition::read(signal)?.same(written) {
            return Ok(true);
        }
        std::hint::spin_loop();
    }
    Ok(false)
}
