//! Extended attributes (xattr(7)): the user's own, access control lists, and labels as far as they
//! may be set.

use super::super::error::Error;
use super::fidelity::Fidelity;
use crate::sys::call::{again, magic_path};
use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Names and values.
#[derive(Debug)]
pub(super) struct Extended(Vec<(CString, Vec<u8>)>);

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
/// What lets a program do more than its user may: not for contents that nobody has looked at.
const CAPABILITY: &[u8] = b"security.capability";
/// Digests of the old contents.
const OF_CONTENTS: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// What people set, and miss.
fn is_essential(name: &CStr) -> bool {
    name.to_bytes().starts_with(b"user.") || name.to_bytes() == ACCESS_LIST
}

impl Extended {
    /// The file need only be open with O_PATH where /proc is there; where not, that is `EBADF`.
    pub(super) fn of(file: BorrowedFd<'_>) -> Result<Self, Error> {
        let extended = match Self::read(&Place::Path(magic_path(file))) {
            Err(libc::ENOENT | libc::ENOTDIR) => Self::read(&Place::Open(file)),
            other => other,
        };
        extended.map_err(failed)
    }

    fn read(place: &Place<'_>) -> Result<Self, c_int> {
        let mut extended = Vec::new();
        for name in place.list()? {
            if OF_CONTENTS.contains(&name.to_bytes()) {
                continue;
            }
            match place.get(&name) {
                Ok(value) => extended.push((name, value)),
                Err(libc::ENODATA) => {} // removed since
                Err(errno) if is_essential(&name) => return Err(errno),
                Err(_) => {}
            }
        }
        Ok(Self(extended))
    }

    /// The new file has these, and of the essential ones no others: a folder's default access list
    /// gave it some.
    pub(super) fn give(
        &self,
        file: BorrowedFd<'_>,
        fidelity: Fidelity,
        privileged: bool,
    ) -> Result<(), Error> {
        let place = Place::Open(file);
        let number = file.as_raw_fd();
        for name in place.list().map_err(failed)? {
            if is_essential(&name) && !self.0.iter().any(|(wanted, _)| *wanted == name) {
                // SAFETY: a NUL-terminated name.
                again(|| unsafe { libc::fremovexattr(number, name.as_ptr()) }.into())
                    .map_err(failed)?;
            }
        }
        for (name, value) in &self.0 {
            if name.to_bytes() == CAPABILITY && !privileged {
                continue;
            }
            if place.get(name).is_ok_and(|now| now == *value) {
                continue; // a label that the folder's policy gives anyway, and that may not be set
            }
            let (bytes, len) = (value.as_ptr().cast::<c_void>(), value.len());
            // SAFETY: a NUL-terminated name and as many bytes.
            let set =
                again(|| unsafe { libc::fsetxattr(number, name.as_ptr(), bytes, len, 0) }.into());
            match set {
                Err(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::EINVAL)
                    if !is_essential(name) || fidelity == Fidelity::BestEffort => {}
                other => drop(other.map_err(failed)?),
            }
        }
        Ok(())
    }
}

impl Extended {
    /// The user's own, as far as they may be given. Access lists and labels are what the folder
    /// gives.
    pub(super) fn give_to_new(&self, file: BorrowedFd<'_>) {
        for (name, value) in self.0.iter().filter(|(name, _)| name.to_bytes().starts_with(b"user."))
        {
            let (bytes, len) = (value.as_ptr().cast::<c_void>(), value.len());
            let _ = again(|| {
                // SAFETY: a NUL-terminated name and as many bytes.
                unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), bytes, len, 0) }.into()
            });
        }
    }
}

fn failed(errno: c_int) -> Error {
    Error::system("xattr", errno)
}

/// Where attributes are read.
enum Place<'a> {
    Path(CString),
    Open(BorrowedFd<'a>),
}

impl Place<'_> {
    fn list(&self) -> Result<Vec<CString>, c_int> {
        let names = sized(|buffer, room| match self {
            // SAFETY: a NUL-terminated path, and that much room.
            Self::Path(path) => unsafe { libc::listxattr(path.as_ptr(), buffer.cast(), room) },
            // SAFETY: that much room.
            Self::Open(file) => unsafe { libc::flistxattr(file.as_raw_fd(), buffer.cast(), room) },
        });
        let names = match names {
            Err(libc::EOPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        Ok(names.filter_map(|name| CString::new(name).ok()).collect())
    }

    fn get(&self, name: &CStr) -> Result<Vec<u8>, c_int> {
        sized(|buffer, room| match self {
            // SAFETY: two NUL-terminated strings, and that much room.
            Self::Path(path) => unsafe {
                libc::getxattr(path.as_ptr(), name.as_ptr(), buffer, room)
            },
            // SAFETY: a NUL-terminated name, and that much room.
            Self::Open(file) => unsafe {
                libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), buffer, room)
            },
        })
    }
}

/// Asks how much there is, then for it, until nobody has changed it in between.
fn sized(mut call: impl FnMut(*mut c_void, usize) -> isize) -> Result<Vec<u8>, c_int> {
    loop {
        let len = again(|| call(std::ptr::null_mut(), 0) as i64)? as usize;
        let mut buffer = vec![0_u8; len];
        if len == 0 {
            return Ok(buffer);
        }
        let (to, room) = (buffer.as_mut_ptr().cast(), buffer.len());
        match again(|| call(to, room) as i64) {
            Ok(len) => {
                buffer.truncate(len as usize);
                return Ok(buffer);
            }
            Err(libc::ERANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
}
