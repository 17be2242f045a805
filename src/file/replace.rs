//! New contents as a new file: at every moment the name has the old file or the new one, whole.
//!
//! | step | why so |
//! |---|---|
//! | a file in the destination's folder, without a name where the system can (`O_TMPFILE`) | a name can only be given within a file system; a crash leaves nothing |
//! | written; mode, owner, extended attributes; fsync(2) | attributes after the writing, which takes set-user-ID away |
//! | a hidden name, rename(2) over the destination | who has the old file open or mapped keeps it, whole |
//! | fsync(2) of the folder | until then a power failure may bring the old one back |
//!
//! What goes with a name and not with contents: other hard links to the old file keep the old contents, and a file on which something
//! is mounted cannot be replaced (`EBUSY`). Inode flags (chattr(1)) are the folder's defaults, and digests of the old contents
//! (`security.ima`, `security.evm`) are not taken over.

mod attributes;
pub(super) mod contents;
mod target;
mod temporary;
#[cfg(target_os = "linux")]
mod xattr;

use super::error::Error;
use super::sys;
use attributes::{Attributes, Care};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use target::{Existing, Target};
use temporary::Temporary;

/// Copies the contents of `source` over `destination` at once: as `cp source destination`, but nobody ever sees half of it, and
/// whoever has the old file open or mapped keeps it. `source` stays. A missing destination is made.
///
/// The new file has mode, owner and extended attributes (access control lists among them) of the one it replaces; where there was
/// none, those of `source`, the owner as far as it may be given. A symbolic link at `destination` stays, and what it names is replaced
/// ([`ReplaceOptions::replace_link`]). Blocks are shared where the file system can, holes stay holes.
///
/// Thread-safe, also against other replacers: one of both is there, whole. Works in a forked child; not for signal handlers.
///
/// # Errors
/// The old file is untouched then and nothing is left behind, except for [`Error::Unsynced`]. [`Error::System`] with `ENOSPC`, `EACCES`,
/// `EROFS` and so on; [`Error::NotAFile`] for a directory or device; [`Error::Owner`], [`Error::SourceChanged`].
pub fn replace_file(source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<(), Error> {
    ReplaceOptions::new().replace_file(source, destination)
}

/// How a file is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaceOptions {
    link: bool,
    any_owner: bool,
    mode: Option<u32>,
}

impl ReplaceOptions {
    /// Follows symbolic links, keeps the owner, `rw-rw-rw-` less umask(2) for a file that was not there.
    #[must_use]
    pub const fn new() -> Self {
        Self { link: false, any_owner: false, mode: None }
    }

    /// A symbolic link at the destination is itself replaced by the new file, and what it names stays.
    #[must_use]
    pub const fn replace_link(mut self, yes: bool) -> Self {
        self.link = yes;
        self
    }

    /// The new file may belong to the caller where the old one's owner cannot be kept; set-user-ID and set-group-ID are dropped then.
    #[must_use]
    pub const fn any_owner(mut self, yes: bool) -> Self {
        self.any_owner = yes;
        self
    }

    /// The permissions of a file that was not there, as they are, without umask(2).
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o7777);
        self
    }

    /// As [`replace_file`].
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn replace_file(self, source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<(), Error> {
        let source = contents::open(source.as_ref())?;
        let mut new = self.create(destination)?;
        if new.attributes.is_none() && self.mode.is_none() {
            new.attributes = Some((Attributes::of_open(source.as_fd())?, Care::BestEffort));
        }
        contents::copy(&source, &new.temporary.file)?;
        new.commit()
    }

    /// As [`Replacement::create`].
    ///
    /// # Errors
    /// As [`Replacement::create`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Replacement, Error> {
        let target = Target::find(path.as_ref(), !self.link)?;
        let attributes = self.existing(&target)?;
        // Nobody may read what the old file's mode would not let them; for a file that was not there the umask decides.
        let mode = if attributes.is_some() { 0o600 } else { self.mode.unwrap_or(0o666) };
        let temporary = Temporary::create(target.folder.as_fd(), mode)?;
        Ok(Replacement { temporary, target, attributes, options: self })
    }

    /// What the new file has to take over from the one that is there now.
    fn existing(self, target: &Target) -> Result<Option<(Attributes, Care)>, Error> {
        let care = if self.any_owner { Care::BestEffort } else { Care::Strict };
        match target.look()? {
            Existing::File => Ok(Attributes::of_named(target)?.map(|attributes| (attributes, care))),
            Existing::Nothing | Existing::Link => Ok(None),
        }
    }
}

/// A file that is being written, to take the place of another at [`Replacement::commit`]. Dropped before that, nothing has happened.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("sigward-replacement-{}", std::process::id()));
/// use std::io::Write;
/// let mut new = sigward::file::Replacement::create(&path)?;
/// writeln!(new, "limit = {}", 42)?;
/// new.commit()?;
/// # assert_eq!(std::fs::read(&path)?, b"limit = 42\n");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replacement {
    temporary: Temporary,
    target: Target,
    attributes: Option<(Attributes, Care)>,
    options: ReplaceOptions,
}

impl Replacement {
    /// Begins a new file for `path`, in the same folder; readers of `path` see nothing of it. A symbolic link is followed.
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        ReplaceOptions::new().create(path)
    }

    /// The new file, for whoever wants to seek, reserve or map. It is open for reading and writing.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.temporary.file
    }

    /// The new file takes the place of the old one, and both it and its folder are on the disk.
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn commit(mut self) -> Result<(), Error> {
        // The old file may have been replaced meanwhile, or its mode changed.
        if let Some(now) = self.options.existing(&self.target)? {
            self.attributes = Some(now);
        }
        let file = self.temporary.file.as_fd();
        match (&self.attributes, self.options.mode) {
            (Some((attributes, care)), _) => attributes.give(file, *care)?,
            (None, Some(mode)) => attributes::set_mode(file, mode as libc::mode_t)?,
            (None, None) => {}
        }
        self.temporary.file.sync_all().map_err(|error| sys::error("fsync", &error))?;
        self.temporary.name_it(&self.target)?;
        self.target.sync(self.temporary.file.as_fd())
    }

    /// Nothing has happened. The same as dropping it.
    pub fn abort(self) {}
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        contents::write(self.temporary.file.as_fd(), bytes).map_err(io::Error::from_raw_os_error)
    }

    /// Everything is handed to the kernel at once; [`Replacement::commit`] takes it to the disk.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Replacement {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.temporary.file.as_fd()
    }
}
