//! The table with two slots: a slot that is used again, an address that another slot guards by now,
//! a forked child.

use super::super::pin::{is_unpinned, pin};
use super::super::poison::Poison;
use super::super::wiped::Wiped;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use loom::thread;

/// No slot guards the address.
const NOBODY: usize = usize::MAX;
/// What the pages hold that a map of ours has at the beginning, and what somebody else writes to
/// them later.
const OURS: u32 = 1;
const THEIRS: u32 = 77;

/// A slot: its facts are which page its map has.
struct Slot {
    wiped: Wiped,
    page: UnsafeCell<usize>,
}

/// Two addresses with a page each, and two slots. At the beginning the first slot guards the first
/// address.
struct Table {
    guarded_by: [AtomicUsize; 2],
    slots: [Slot; 2],
    pages: [UnsafeCell<u32>; 2],
}

impl Table {
    fn new() -> Arc<Self> {
        let slot = |page| Slot { wiped: Wiped::new(), page: UnsafeCell::new(page) };
        Arc::new(Self {
            guarded_by: [AtomicUsize::new(0), AtomicUsize::new(NOBODY)],
            slots: [slot(0), slot(1)],
            pages: [UnsafeCell::new(OURS), UnsafeCell::new(OURS)],
        })
    }

    fn find(&self, address: usize) -> Option<&Slot> {
        self.slots.get(self.guarded_by[address].load(Ordering::Acquire))
    }

    /// A handler: pins what guards the address, reads the facts, patches the page that they name.
    fn fault(&self, address: usize) {
        if let Some(pinned) = pin(|| self.find(address), |slot| &slot.wiped) {
            self.patch(pinned.slot);
        }
    }

    /// A handler that does not look a second time after it has pinned the slot.
    fn careless_fault(&self, address: usize) {
        let found = std::cell::Cell::new(self.find(address));
        if let Some(pinned) = pin(|| found.get(), |slot| &slot.wiped) {
            self.patch(pinned.slot);
        }
    }

    fn patch(&self, slot: &Slot) {
        // SAFETY: loom checks that nobody writes the facts meanwhile.
        let page = slot.page.with(|page| unsafe { *page });
        // SAFETY: loom checks that nobody else is at the page.
        self.pages[page].with_mut(|page| unsafe { *page = 0 });
    }

    /// Takes the first slot's map away. Afterwards the page is somebody else's.
    fn close_first(&self) {
        self.guarded_by[0].store(NOBODY, Ordering::Release);
        while !is_unpinned(&self.slots[0].wiped) {
            thread::yield_now();
        }
        // SAFETY: loom checks that nobody else is at the page.
        self.pages[0].with_mut(|page| unsafe { *page = THEIRS });
    }

    fn first_page(&self) -> u32 {
        // SAFETY: loom checks that nobody writes meanwhile.
        self.pages[0].with(|page| unsafe { *page })
    }
}

/// Two waiting threads have too many orders; those with few changes of thread are the telling ones.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(model);
}

/// The slot is closed and at once used for a map at the other address, while a handler looks at the
/// first.
fn reuse(careful: bool) {
    check(move || {
        let table = Table::new();
        let handler = {
            let table = table.clone();
            thread::spawn(move || if careful { table.fault(0) } else { table.careless_fault(0) })
        };
        table.close_first();
        // SAFETY: loom checks that no handler reads the facts.
        table.slots[0].page.with_mut(|page| unsafe { *page = 1 });
        table.guarded_by[1].store(0, Ordering::Release);
        handler.join().unwrap();
        assert_eq!(table.first_page(), THEIRS, "a patch in somebody else's memory");
    });
}

#[test]
fn a_slot_that_is_used_again_is_not_taken_for_its_old_map() {
    reuse(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_pin_without_a_second_look_is_found_out() {
    reuse(false);
}

/// The first map is closed, and the second slot gets a map at the same address and page.
#[test]
fn an_address_that_another_slot_guards_is_patched_for_that_one() {
    check(|| {
        let table = Table::new();
        let handler = {
            let table = table.clone();
            thread::spawn(move || table.fault(0))
        };
        table.close_first();
        // SAFETY: nobody has seen the second slot.
        table.slots[1].page.with_mut(|page| unsafe { *page = 0 });
        // SAFETY: loom checks that nobody else is at the page.
        table.pages[0].with_mut(|page| unsafe { *page = OURS });
        table.guarded_by[0].store(1, Ordering::Release);
        handler.join().unwrap();
        assert!(matches!(table.first_page(), 0 | OURS));
    });
}

/// A child forked while a handler of the parent is at work: it has the parent's memory of one
/// instant, and not its handler.
fn fork(wiped: bool) {
    loom::model(move || {
        let parent = Arc::new((Wiped::new(), Poison::intact(), AtomicU32::new(OURS)));
        let handler = {
            let parent = parent.clone();
            thread::spawn(move || {
                let (words, poison, page) = &*parent;
                let pinned = pin(|| Some(words), |words| words);
                let lock = pinned.as_ref().and_then(|pinned| pinned.slot.try_lock(1));
                poison.publish(0);
                page.store(0, Ordering::Release);
                drop(lock);
            })
        };
        // Fork copies memory of one instant: what the page shows is looked at first, what came
        // before it is there.
        let (words, poison, page) = &*parent;
        let (page, poison) = (page.load(Ordering::Acquire), poison.lowest());
        let fresh = Wiped::new();
        let child = if wiped { &fresh } else { words };
        assert!(page == OURS || poison == 0, "the child has a zero that nobody tells of");
        assert!(is_unpinned(child), "the child waits for a handler that it does not have");
        assert!(child.try_lock(1).is_some(), "the child finds the patch lock taken for ever");
        handler.join().unwrap();
    });
}

#[test]
fn a_forked_child_waits_for_nobody() {
    fork(true);
}

#[test]
#[should_panic(expected = "the child")]
fn words_that_fork_does_not_wipe_are_found_out() {
    fork(false);
}
