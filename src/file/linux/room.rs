//! Whether there is room, asked before anything is taken.
//!
//! ext4 keeps the blocks that it had found before it met the end of the disk. Nobody can give them
//! back without the risk of taking somebody's bytes with them: between looking whether a block is
//! unused and punching it, or cutting the file, another thread or process may have written there.
//! So a request that cannot be met is refused before a block is taken, and what a refusal leaves
//! after that (others were quicker) stays with the file.

use crate::sys::call::{kind_of, retried};
use nix::sys::statfs::fstatfs;
use nix::unistd::geteuid;
use std::os::fd::BorrowedFd;

/// What statfs(2) says.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileSystem {
    /// The number of its kind.
    pub(super) kind: u64,
    block: u64,
    /// Bytes that this process may take; none if that is not known.
    free: Option<u64>,
}

impl FileSystem {
    pub(super) fn of(file: BorrowedFd<'_>) -> Option<Self> {
        let status = retried(|| fstatfs(file)).ok()?;
        let block = (status.block_size() as u64).max(1);
        // The last blocks are root's. (Those to whom ext4's `resuid=` gives them, too, are refused
        // them here.)
        let blocks =
            if geteuid().is_root() { status.blocks_free() } else { status.blocks_available() };
        let free = (status.blocks() != 0).then(|| blocks.saturating_mul(block));
        Some(Self { kind: kind_of(&status), block, free })
    }

    /// Whether there may be so many free bytes.
    pub(super) fn has(&self, bytes: u64) -> bool {
        self.free.is_none_or(|free| bytes <= free)
    }

    /// Whether there may be room for so many bytes of zeros, and for the blocks that say where they
    /// are: one number of 4 bytes each.
    pub(super) fn has_for_zeros(&self, bytes: u64) -> bool {
        let lists = bytes / (self.block / 4).max(1);
        bytes == 0 || self.has(bytes.saturating_add(lists))
    }
}
