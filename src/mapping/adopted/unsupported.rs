//! Systems that cannot be asked what is mapped at an address: nothing can be adopted.

use super::error::Error;
use crate::sigbus::fault::Fault;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Mappings that somebody else made, guarded. Only Linux can; so there is none.
#[derive(Debug)]
pub struct Adopted(std::convert::Infallible);

const UNSUPPORTED: Error = Error::System { call: "adopt", errno: libc::ENOTSUP };

/// Guards every mapping of a file.
///
/// # Errors
/// [`Error::System`] with `ENOTSUP`.
pub fn adopt_file(_path: impl AsRef<Path>) -> Result<Adopted, Error> {
    Err(UNSUPPORTED)
}

#[allow(dead_code, reason = "for C")]
pub(crate) fn adopt_path(_path: &CStr) -> Result<Adopted, Error> {
    Err(UNSUPPORTED)
}

/// Guards one mapping.
///
/// # Errors
/// [`Error::System`] with `ENOTSUP`.
pub fn adopt_range(
    _address: *const u8,
    _length: usize,
    _file: Option<BorrowedFd<'_>>,
    _offset: u64,
) -> Result<Adopted, Error> {
    Err(UNSUPPORTED)
}

impl Adopted {
    /// The loss at the lowest offset in the file.
    #[must_use]
    pub fn status(&self) -> Option<Fault> {
        match self.0 {}
    }

    #[cfg(feature = "capi")]
    pub(crate) fn poison_word(&self) -> *const u64 {
        match self.0 {}
    }

    /// As [`Adopted::status`], and forgets the loss.
    #[must_use]
    pub fn take(&self) -> Option<Fault> {
        match self.0 {}
    }

    /// Looks at the file.
    ///
    /// # Errors
    /// None: there is nothing adopted.
    pub fn verify(&self) -> Result<(), Error> {
        match self.0 {}
    }

    /// How many mappings there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self.0 {}
    }

    /// Lets lost pages of shared writable mappings be private memory.
    pub fn sink(&self, _bytes: u64) {
        match self.0 {}
    }

    /// Maps the file's pages again.
    ///
    /// # Errors
    /// None: there is nothing adopted.
    ///
    /// # Safety
    /// Nobody reads the lost pages meanwhile.
    pub unsafe fn heal(&self) -> Result<(), Error> {
        match self.0 {}
    }
}
