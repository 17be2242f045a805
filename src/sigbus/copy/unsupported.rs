//! Processors and systems without a checked copy.

use super::in_handler::{Going, Range, State};
use crate::chain::General;

/// Is not called: there is no `way`.
pub(super) unsafe fn copy(_dst: *mut u8, _src: *const u8, _len: usize, _way: usize) -> usize {
    0
}

pub(super) fn ranges() -> &'static [Range] {
    &[]
}

pub(super) fn interrupted(_state: State, _general: &General) -> Option<Going> {
    None
}

pub(super) fn go_on(general: &General, _going: &Going, _stop: usize) -> General {
    *general
}

/// None.
pub(super) fn way() -> usize {
    0
}
