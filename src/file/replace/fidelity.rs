//! How much of the old file the new one has to keep.

/// How faithful the new file has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fidelity {
    /// It is the same file to everybody: what cannot be kept is an error.
    Strict,
    /// As `cp -p`: what may be given.
    BestEffort,
}
