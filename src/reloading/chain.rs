//! What lies between a path and its file: every folder in which a name decides, every symbolic
//! link.
//!
//! A mounted ConfigMap is the case to think of: `config` is a link to `..data/config`, `..data` a
//! link to a folder with a date, and an update renames a new link over `..data`. Nothing happens
//! then in the folder of the file, nor to the file.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// A place whose changes matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Names in this folder that decide: another entry there, and the path leads elsewhere.
    pub(super) names: BTreeSet<OsString>,
    /// Device and inode, so that a folder in the place of another is noticed.
    pub(super) identity: (u64, u64),
    /// The file itself.
    pub(super) is_file: bool,
}

pub(super) type Chain = BTreeMap<PathBuf, Place>;

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Follows an absolute path as the kernel would; as far as it leads.
pub(super) fn of(path: &Path) -> Chain {
    let mut chain = Chain::new();
    let mut here = PathBuf::from("/");
    let mut ahead: Vec<OsString> = parts(path);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let at = here.join(&name);
        let Ok(status) = at.symlink_metadata() else {
            note(&mut chain, &here).names.insert(name);
            return chain;
        };
        if status.is_dir() && !ahead.is_empty() {
            chain.entry(at.clone()).or_default().identity = (status.dev(), status.ino());
            here = at;
            continue;
        }
        note(&mut chain, &here).names.insert(name);
        if !status.is_symlink() {
            let place =
                Place { identity: (status.dev(), status.ino()), is_file: true, ..Place::default() };
            chain.insert(at, place);
            return chain;
        }
        links += 1;
        let Ok(target) = at.read_link() else { return chain };
        if links > LINKS {
            return chain;
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        ahead.extend(parts(&target));
    }
    chain
}

fn note<'chain>(chain: &'chain mut Chain, folder: &Path) -> &'chain mut Place {
    chain.entry(folder.to_path_buf()).or_default()
}

/// The names of a path, the first one last.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.map(|part| part.as_os_str().to_os_string()).rev().collect()
}
