//! New contents as a new file: at every moment the name has the old file or the new one, whole.
//!
//! | step | why so |
//! |---|---|
//! | a file in the destination's folder, without a name where fsync(2) keeps such (`O_TMPFILE`; ext4, XFS, tmpfs) | a name can only be given within a file system; a crash leaves nothing |
//! | written; mode, owner, extended attributes; fsync(2) | attributes after the writing, which takes set-user-ID away |
//! | a hidden name of this destination (`.sigward-*`), rename(2) over the destination | who has the old file open or mapped keeps it, whole |
//! | fsync(2) of the folder | until then a power failure may bring the old one back |
//!
//! | who | is told half of it | old file, hard links, who has it mapped | permissions, owner | attributes, lists | set-user-ID, capabilities | on the disk |
//! |---|---|---|---|---|---|---|
//! | `cp new live` | yes | written over, for all names; maps die | the old file's | the old file's | gone, by the kernel | some time |
//! | `cp new fresh` | yes | - | the source's less umask; the caller | the folder's | not copied | some time |
//! | `cp -p new live` | yes | written over, for all names; maps die | the source's | the source's | copied with the mode, if the owner is | some time |
//! | `install new live` | yes: unlinked, then written | kept by who has it; other names keep it | 0755; the caller | the folder's | only with `-m` | some time |
//! | rename(2) of a file that is written elsewhere | no | kept by who has it; other names keep it | the new file's | the new file's | the new file's | the name perhaps before the bytes |
//! | [`replace_file`], file there | no | kept by who has it; other names keep it | the old file's | the old file's | gone, unless asked for | before it returns |
//! | [`replace_file`], no file there | no | - | the source's less umask; the source's owner, if it may be given | the folder's, and the source's `user.*` | not copied | before it returns |
//!
//! What a killed replacement leaves behind at worst, the hidden name, belongs to its destination
//! and is locked (flock(2)) as long as somebody works on it. The next replacement of the same file
//! removes it, if it is unlocked, a regular file, and the caller's or the destination's owner's. A
//! folder from which no name can be removed (`chattr +a`) is refused before one is made.
//!
//! "At every moment" is rename(2)'s promise. Where a file system is a program (FUSE), it may not be
//! at once: who opens the name meanwhile may find nothing, but never half of a file.
//!
//! What goes with a name and not with contents: other hard links to the old file keep the old
//! contents, and a file on which something is mounted cannot be replaced (`EBUSY`). Inode flags
//! (chattr(1)) are the folder's defaults, and digests of the old contents (`security.ima`,
//! `security.evm`) are not taken over.

mod attributes;
pub(super) mod contents;
mod fidelity;
mod temporary;
#[cfg(target_os = "linux")]
mod xattr;

use super::error::Error;
use super::target::{Existing, Target};
use crate::sys::call::{Failed, status};
use attributes::Attributes;
use fidelity::Fidelity;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use temporary::Temporary;

/// Copies the contents of `source` over `destination` at once: as `cp source destination`, but
/// nobody ever sees half of it, and whoever has the old file open or mapped keeps it. `source`
/// stays. A missing destination is made.
///
/// The new file has mode, owner and extended attributes (access control lists among them) of the
/// one it replaces, but no privilege: set-user-ID, set-group-ID and file capabilities were given to
/// the old contents ([`ReplaceOptions::keep_privileges`]). Where there was none, permissions are
/// those of `source` less umask(2), and its owner and the user's own attributes come along as far
/// as they may be given. A symbolic link at `destination` stays, and what it names is replaced
/// ([`ReplaceOptions::replace_link`]); one of /proc to a file that has no name here is refused
/// (`ENOENT`). Blocks are shared where the file system can, holes stay
/// holes.
///
/// Thread-safe, also against other replacers: one of both is there, whole. Works in a forked child;
/// not for signal handlers.
///
/// # Errors
/// The old file is untouched then and nothing is left behind, except for [`Error::Unsynced`].
/// [`Error::System`] with `ENOSPC`, `EACCES`, `EROFS` and so on; [`Error::NotAFile`] for a
/// directory or device; [`Error::Owner`], [`Error::SourceChanged`].
#[doc(alias = "cp")]
#[doc(alias = "rename")]
#[doc(alias = "sigward_replace_file")]
pub fn replace_file(source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<(), Error> {
    ReplaceOptions::new().replace_file(source, destination)
}

/// How a file is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaceOptions {
    link: bool,
    any_owner: bool,
    mode: Option<u32>,
    privileges: bool,
}

impl ReplaceOptions {
    /// Follows symbolic links, keeps the owner, `rw-rw-rw-` less umask(2) for a file that was not
    /// there.
    #[must_use]
    pub const fn new() -> Self {
        Self { link: false, any_owner: false, mode: None, privileges: false }
    }

    /// A symbolic link at the destination is itself replaced by the new file, and what it names
    /// stays.
    #[must_use]
    pub const fn replace_link(mut self, yes: bool) -> Self {
        self.link = yes;
        self
    }

    /// The new file may belong to the caller where the old one's owner cannot be kept; set-user-ID
    /// and set-group-ID are dropped then.
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

    /// The new file keeps set-user-ID, set-group-ID and file capabilities (`security.capability`)
    /// of the one that it replaces, if the owner can be kept: whoever says this answers for the new
    /// contents.
    #[must_use]
    pub const fn keep_privileges(mut self, yes: bool) -> Self {
        self.privileges = yes;
        self
    }

    /// As [`replace_file`].
    ///
    /// # Errors
    /// As [`replace_file`].
    pub fn replace_file(
        self,
        source: impl AsRef<Path>,
        destination: impl AsRef<Path>,
    ) -> Result<(), Error> {
        let source = contents::open(source.as_ref())?;
        let mode = status(source.as_fd())?.st_mode & 0o777;
        let mut new = self.create_with(destination.as_ref(), mode)?;
        if new.attributes.is_none() && self.mode.is_none() {
            new.source = Some(Attributes::of_open(source.as_fd())?);
        }
        contents::copy(&source, &new.temporary.file)?;
        new.commit()
    }

    /// As [`Replacement::create`].
    ///
    /// # Errors
    /// As [`Replacement::create`].
    pub fn create(self, path: impl AsRef<Path>) -> Result<Replacement, Error> {
        self.create_with(path.as_ref(), 0o666)
    }

    /// `mode`, less the umask, is for a file that is not there.
    fn create_with(self, path: &Path, mode: libc::mode_t) -> Result<Replacement, Error> {
        let target = Target::find(path, !self.link)?;
        let attributes = self.existing(&target)?;
        // Nobody may read what the old file's mode would not let them.
        #[allow(clippy::useless_conversion, reason = "the types differ between systems")]
        let mode = if attributes.is_some() { 0o600 } else { self.mode.unwrap_or(mode.into()) };
        let temporary = Temporary::create(&target, mode)?;
        Ok(Replacement { temporary, target, attributes, source: None, options: self })
    }

    /// What the new file has to take over from the one that is there now.
    fn existing(self, target: &Target) -> Result<Option<(Attributes, Fidelity)>, Error> {
        let fidelity = if self.any_owner { Fidelity::BestEffort } else { Fidelity::Strict };
        match target.existing()? {
            Existing::File => {
                Ok(Attributes::of_named(target)?.map(|attributes| (attributes, fidelity)))
            }
            Existing::Nothing | Existing::Link => Ok(None),
        }
    }
}

/// A file that is being written, to take the place of another at [`Replacement::commit`]. Dropped
/// before that, nothing has happened.
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
#[doc(alias = "O_TMPFILE")]
#[doc(alias = "sigward_replacement_open")]
pub struct Replacement {
    temporary: Temporary,
    target: Target,
    attributes: Option<(Attributes, Fidelity)>,
    /// Of the file that is copied, where there is none to replace.
    source: Option<Attributes>,
    options: ReplaceOptions,
}

impl Replacement {
    /// Begins a new file for `path`, in the same folder; readers of `path` see nothing of it. A
    /// symbolic link is followed.
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
        self.temporary.file.number.status()?;
        self.target.folder.number.status()?;
        // The old file may have been replaced meanwhile, or its mode changed.
        if let Some(now) = self.options.existing(&self.target)? {
            self.attributes = Some(now);
        }
        let file = self.temporary.file.as_fd();
        match (&self.attributes, self.options.mode, &self.source) {
            (Some((attributes, fidelity)), ..) => {
                attributes.give(file, *fidelity, self.options.privileges)?;
            }
            (None, Some(mode), _) => attributes::set_mode(file, mode as libc::mode_t)?,
            (None, None, Some(source)) => source.give_to_new(file)?,
            (None, None, None) => {}
        }
        self.temporary.file.sync_all().map_err(|error| Failed::of("fsync", &error))?;
        self.temporary.name_it(&self.target)?;
        let done = self.target.sync(self.temporary.file.as_fd());
        done.map_err(|errno| Error::Unsynced { errno })
    }

    /// Nothing has happened. The same as dropping it.
    pub fn abort(self) {}
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = &self.temporary.file;
        let ours = file.number.status().map_err(|failed| failed.errno);
        ours.and_then(|_| contents::write(file.as_fd(), bytes))
            .map_err(io::Error::from_raw_os_error)
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
