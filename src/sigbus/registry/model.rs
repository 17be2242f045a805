//! The protocol of pins, poison and patch lock in every order that two or three threads can have.
//!
//! `make test-model` runs it. Memory that is mapped is an `UnsafeCell` here: loom fails
//! on any access that is not ordered against a change. The naive variants show that it would.

use super::pin::{is_unpinned, pin};
use super::poison::Poison;
use super::wiped::Wiped;
use crate::sigbus::sync::fence;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;

mod slots;

/// One entry of the table, one slot, one page. `slots` has two of each.
struct Model {
    registered: AtomicBool,
    wiped: Wiped,
    page: UnsafeCell<u32>,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            registered: AtomicBool::new(true),
            wiped: Wiped::new(),
            page: UnsafeCell::new(1),
        })
    }

    fn find(&self) -> Option<&Self> {
        self.registered.load(Ordering::Acquire).then_some(self)
    }

    /// What a handler does: pin, then change the page.
    fn fault(&self) {
        if let Some(pinned) = pin(|| self.find(), |model| &model.wiped) {
            // SAFETY: loom checks that nobody else is at the page.
            pinned.slot.page.with_mut(|page| unsafe { *page = 0 });
        }
    }
}

fn closing(wait: bool) {
    loom::model(move || {
        let model = Model::new();
        let handler = {
            let model = model.clone();
            thread::spawn(move || model.fault())
        };
        model.registered.store(false, Ordering::Release);
        while wait && !is_unpinned(&model.wiped) {
            thread::yield_now();
        }
        // The address is somebody else's now.
        // SAFETY: loom checks that nobody else is at the page.
        model.page.with_mut(|page| unsafe { *page = 77 });
        handler.join().unwrap();
        // SAFETY: as above.
        assert_eq!(
            model.page.with(|page| unsafe { *page }),
            77,
            "a patch in somebody else's memory"
        );
    });
}

#[test]
fn nothing_is_patched_after_closing() {
    closing(true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn closing_without_waiting_is_found_out() {
    closing(false);
}

/// Two handlers at once, and closing.
#[test]
fn closing_waits_for_all() {
    let mut bounded = loom::model::Builder::new();
    // Three threads that wait for each other have too many orders; those with few changes of thread
    // are the telling ones.
    bounded.preemption_bound = Some(2);
    bounded.check(|| {
        let model = Model::new();
        let lock_and_fault = |model: &Model| {
            if let Some(pinned) = pin(|| model.find(), |model| &model.wiped) {
                if let Some(_lock) = pinned.slot.wiped.try_lock(1) {
                    // SAFETY: loom checks that nobody else is at the page.
                    pinned.slot.page.with_mut(|page| unsafe { *page = 0 });
                }
            }
        };
        let handlers = [model.clone(), model.clone()]
            .map(|model| thread::spawn(move || lock_and_fault(&model)));
        model.registered.store(false, Ordering::Release);
        while !is_unpinned(&model.wiped) {
            thread::yield_now();
        }
        // SAFETY: as above.
        model.page.with_mut(|page| unsafe { *page = 77 });
        handlers.into_iter().for_each(|handler| handler.join().unwrap());
    });
}

/// A reader beside a handler: a zero is never seen without the word.
fn reading(poison_first: bool) {
    loom::model(move || {
        // Bytes are read without any order of their own; replacing a page is a system call.
        let model = Arc::new((Poison::intact(), AtomicU32::new(1)));
        let handler = {
            let model = model.clone();
            thread::spawn(move || {
                if poison_first {
                    model.0.publish(0);
                }
                model.1.store(0, Ordering::Release);
                if !poison_first {
                    model.0.publish(0);
                }
            })
        };
        let byte = model.1.load(Ordering::Relaxed);
        let poison = model.0.after_reading();
        assert!(byte != 0 || poison == 0, "a zero that nobody tells of");
        handler.join().unwrap();
    });
}

#[test]
fn a_zero_is_told_of() {
    reading(true);
}

#[test]
#[should_panic(expected = "a zero that nobody tells of")]
fn poison_after_the_page_is_found_out() {
    reading(false);
}

/// A writer beside a handler: a store that went into the patch is never acknowledged.
///
/// The store may reach memory after the load of the word that follows it in the program. Replacing
/// a page is a system call: a store that has reached the file's page by then is kept there, a later
/// one lands in the patch.
fn writing(after: fn(&Poison) -> u64) {
    loom::model(move || {
        let model = Arc::new((Poison::intact(), AtomicU32::new(0)));
        let handler = {
            let model = model.clone();
            thread::spawn(move || {
                model.0.publish(0);
                fence(Ordering::SeqCst);
                model.1.load(Ordering::Relaxed) == 1
            })
        };
        model.1.store(1, Ordering::Relaxed);
        let poison = after(&model.0);
        let kept = handler.join().unwrap();
        assert!(kept || poison == 0, "a store into the patch that nobody tells of");
    });
}

#[test]
fn a_store_into_the_patch_is_told_of() {
    writing(Poison::after_writing);
}

#[test]
#[should_panic(expected = "a store into the patch that nobody tells of")]
fn a_writer_that_looks_as_a_reader_does_is_found_out() {
    writing(Poison::after_reading);
}

/// Two handlers for one page, and a writer that has already written to the patch: it is not
/// replaced again.
fn patching(look: bool) {
    loom::model(move || {
        let model = Arc::new((Wiped::new(), UnsafeCell::new((false, 1_u32))));
        let settle = move |model: &(Wiped, UnsafeCell<(bool, u32)>), write: u32| {
            loop {
                let Some(lock) = model.0.try_lock(1) else {
                    thread::yield_now();
                    continue;
                };
                model.1.with_mut(|page| {
                    // SAFETY: under the lock.
                    let (patched, content) = unsafe { &mut *page };
                    if !*patched || !look {
                        *patched = true;
                        *content = 0;
                    }
                    // The instruction runs again and writes to the patch.
                    *content += write;
                });
                drop(lock);
                return;
            }
        };
        let other = {
            let model = model.clone();
            thread::spawn(move || settle(&model, 1))
        };
        settle(&model, 10);
        other.join().unwrap();
        // SAFETY: both have ended.
        assert_eq!(model.1.with(|page| unsafe { (*page).1 }), 11, "a write is lost");
    });
}

#[test]
fn a_page_is_patched_once() {
    patching(true);
}

#[test]
#[should_panic(expected = "a write is lost")]
fn patching_twice_is_found_out() {
    patching(false);
}
