//! Zeros over exactly the lost pages, once, after the poison word has said so.
//!
//! A patch of a shared map is private memory: what is written there is seen by this process alone
//! and reported by `flush`. A page is never replaced twice, or what somebody wrote into the first
//! patch would be gone as well.

use super::cause::{Finding, find, page_of};
use super::present::are_there;
use super::{Fault, Met, cause, describe, is_stuck, zeros};
use crate::observe::counters;
use crate::sigbus::kept;
use crate::sigbus::registry::wiped::PatchLock;
use crate::sigbus::registry::{self, Slot};
use std::ops::Range;

/// Sees to one fault in `slot`; false if that changed nothing, so that the predecessor must have
/// it.
pub(super) fn settle(slot: &Slot, met: &Met<'_>, held: &PatchLock<'_>) -> bool {
    let delivered = met.fault;
    let reach = slot.pages_around(delivered.address);
    if slot.is_patched(delivered.address) {
        return is_over(slot, met, held);
    }
    let offset = delivered.address.saturating_sub(slot.facts().data) as u64;
    if slot.is_scattered() && slot.poison().lowest() <= offset && is_there(slot, met) {
        // A patch that nobody remembers.
        return true;
    }
    let finding = match find(slot, delivered) {
        Finding::Healed if is_stuck(met) => cause::unknown(slot.facts(), delivered.address),
        finding => finding,
    };
    match finding {
        Finding::Healed => counters::HEALED.add(),
        Finding::NoRoom => return false,
        Finding::Lost { mut fault, from, pages } => {
            fault.offset = from.saturating_sub(slot.facts().data) as u64;
            describe::moment(&mut fault);
            describe::place(&mut fault, delivered);
            slot.publish(&fault);
            let stuck = pages.is_empty() && is_stuck(met);
            let pages = if stuck { page_of(slot.facts(), delivered.address) } else { pages };
            let pages = pages.start.max(reach.start)..pages.end.min(reach.end);
            if !replace(slot, delivered, &pages, held) {
                return false;
            }
            if !slot.is_news(&fault) {
                return true;
            }
            let facts = slot.facts();
            let descriptor = if kept::current(facts).is_some() { facts.descriptor } else { -1 };
            describe::tell(&fault, delivered, descriptor, facts.identity.inode, facts.path);
        }
    }
    true
}

/// A fault in a page that has been replaced. It is from before the patch, met by two threads at
/// once; or the page is lost anew (the patch's memory is damaged), and then it is replaced once
/// more.
fn is_over(slot: &Slot, met: &Met<'_>, held: &PatchLock<'_>) -> bool {
    let page = page_of(slot.facts(), met.fault.address);
    let write = met.fault.write.unwrap_or(false);
    is_there(slot, met) || slot.force(page.start) && map_zeros(slot, &page, write, held)
}

/// Whether the kernel says that the page can be had, and is believed.
fn is_there(slot: &Slot, met: &Met<'_>) -> bool {
    let page = page_of(slot.facts(), met.fault.address);
    are_there(&page, met.fault.write.unwrap_or(false)) && !is_stuck(met)
}

/// Replaces the pages that are not patches yet; at least the one that faulted.
fn replace(slot: &Slot, fault: &Fault, pages: &Range<usize>, held: &PatchLock<'_>) -> bool {
    let write = fault.write.unwrap_or(false);
    let mut at = pages.start;
    while at < pages.end {
        if let Some(patched) = slot.patches().find(|patch| patch.contains(&at)) {
            at = patched.end;
            continue;
        }
        let border = slot.patches().map(|patch| patch.start).filter(|start| *start > at).min();
        let piece = at..border.unwrap_or(pages.end).min(pages.end);
        let done = slot.can_note(&piece) && map_zeros(slot, &piece, write, held);
        if done {
            slot.note_patch(&piece);
        } else {
            // No room to remember another place, or the kernel has none for so much: this page
            // alone.
            return replace_one(slot, fault.address, write, held);
        }
        at = piece.end;
    }
    true
}

fn replace_one(slot: &Slot, address: usize, write: bool, held: &PatchLock<'_>) -> bool {
    let page = page_of(slot.facts(), address);
    if slot.is_patched(address) {
        return true;
    }
    let done = map_zeros(slot, &page, write, held);
    if done {
        slot.note_patch(&page);
    }
    done
}

/// Whether the map's addresses still lead to it. They do while it is pinned, but for one that was
/// closed by somebody who had waited for this handler longer than the bound allows: its pages stay
/// unused for ever then.
fn is_registered(slot: &Slot, pages: &Range<usize>) -> bool {
    registry::find(pages.start).is_some_and(|found| std::ptr::eq(found, slot))
}

fn map_zeros(slot: &Slot, pages: &Range<usize>, write: bool, _held: &PatchLock<'_>) -> bool {
    // A store that ends here was permitted: the map's rights have been changed since.
    let protection = slot.facts().protection | if write { libc::PROT_WRITE } else { 0 };
    // Closing may have waited for us for too long, and have gone on: then there is nothing to do.
    let still = || is_registered(slot, pages);
    // SAFETY: pages of a map that is pinned, so still ours, and that the kernel has just refused to
    // give to the program.
    unsafe { zeros::put(pages, protection, None, still) }
}
