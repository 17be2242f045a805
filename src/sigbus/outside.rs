//! Why a page of a mapped file was not there, judged by what the file and its disk are now: for
//! mappings that nobody guards, of this process and of others. For the command `sigward` as well;
//! no part of the library's contract.

use super::fault::Cause;

/// What is said where the kernel has found damaged memory.
pub const DAMAGED: &str = "the memory itself is damaged: see the kernel's log";
/// What is said where the file has no name any more.
pub const GONE: &str = "the file is not there any more: deleted, or replaced under another name";
/// What is said where the byte is there now.
pub const THERE: &str = "the file has that byte now and its disk has room: it was cut and written again, the \
                         disk was full then, or a read failed (see the kernel's log)";

/// A file system with no more left than this is full: some keep a little back that files cannot
/// have (xfs: 256 blocks).
pub(crate) const NEXT_TO_NOTHING: u64 = 4 << 20;

/// A file and its disk at the moment of the question, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// How long the file is.
    pub length: Option<u64>,
    /// How many bytes anybody can still have on its disk.
    pub free: Option<u64>,
    /// Whether it has holes: blocks for fewer bytes than it has.
    pub sparse: bool,
}

/// The cause of a SIGBUS with this `si_code`, at this offset of a file, with pages of that length.
#[must_use]
pub fn cause(code: i32, offset: u64, page: u64, now: &Now) -> Cause {
    /// `BUS_ADRERR`.
    const ADDRESS: i32 = 2;
    match (code, now.length, now.free) {
        (4 | 5, _, _) => Cause::Hardware,
        // The last page of a file is there as a whole.
        (ADDRESS, Some(length), _) if offset / page >= length.div_ceil(page) => {
            Cause::Truncated { len_now: length }
        }
        (ADDRESS, _, Some(free)) if free < page || now.sparse && free <= NEXT_TO_NOTHING => {
            Cause::NoSpace
        }
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Now, cause};

    #[test]
    fn the_file_and_its_disk_tell_the_cause() {
        let cut = |len_now| Cause::Truncated { len_now };
        for (code, offset, length, free, found) in [
            (2, 81_925, Some(0), Some(1 << 30), cut(0)),
            (2, 8192, Some(8192), Some(1 << 30), cut(8192)),
            (2, 8191, Some(4097), Some(1 << 30), Cause::Unknown),
            (2, 8192, Some(8193), Some(0), Cause::NoSpace),
            (2, 8192, Some(4096), Some(0), cut(4096)),
            (2, 8192, None, Some(1 << 30), Cause::Unknown),
            (4, 0, Some(0), Some(0), Cause::Hardware),
            (1, 8192, Some(0), Some(0), Cause::Unknown),
            (2, u64::MAX, Some(u64::MAX), Some(1), Cause::NoSpace),
        ] {
            let now = Now { length, free, sparse: false };
            assert_eq!(cause(code, offset, 4096, &now), found, "{code} {offset} {now:?}");
        }
        let mut now = Now { length: Some(1 << 20), free: Some(1 << 20), sparse: true };
        assert_eq!(cause(2, 8192, 4096, &now), Cause::NoSpace);
        now.sparse = false;
        assert_eq!(cause(2, 8192, 4096, &now), Cause::Unknown);
    }
}
