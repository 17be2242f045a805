//! Small file systems for tests, each made on a loop device or in memory and mounted in a mount
//! namespace of its own: nothing stays behind when the host in there ends. One that cannot be had
//! is named and skipped; with `SIGWARD_REQUIRE_ALL=1` that fails.
//!
//! A FUSE file system's daemon is a child of the process that becomes the host, and the kernel
//! kills it with that process (`PR_SET_PDEATHSIG`): after the host's maps and files are gone, as
//! those still need it. The host goes the same way with the test, whatever ends that. A daemon in
//! the background would keep its mount namespace, and itself, for ever.

use super::{Link, Run, Scratch, prepared, run_command, skip};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a file system is made and mounted at "$M"; "$S" is a folder for its image.
#[derive(Debug)]
pub struct FileSystem {
    pub name: &'static str,
    pub needs: &'static str,
    pub mount: &'static str,
    /// A full one fails where bytes that it holds are written over.
    pub copy_on_write: bool,
    /// A full one fails where a hole is read.
    pub reads_allocate: bool,
}

pub const TMPFS: FileSystem = FileSystem {
    name: "tmpfs",
    needs: "mount",
    mount: r#"mount -t tmpfs -o size=16m none "$M""#,
    copy_on_write: false,
    reads_allocate: true,
};
pub const EXT4: FileSystem = FileSystem {
    name: "ext4",
    needs: "mkfs.ext4",
    mount: r#"truncate -s 32m "$S/img"; mkfs.ext4 -q -F "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
/// No fallocate(2). Large inodes, because the small ones know whole seconds only: too few to tell a
/// change from none.
pub const EXT2: FileSystem = FileSystem {
    name: "ext2",
    needs: "mkfs.ext2",
    mount: r#"truncate -s 32m "$S/img"; mkfs.ext2 -q -F -I 256 "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
pub const XFS: FileSystem = FileSystem {
    name: "xfs",
    needs: "mkfs.xfs",
    mount: r#"truncate -s 300m "$S/img"; mkfs.xfs -q -f "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
pub const BTRFS: FileSystem = FileSystem {
    name: "btrfs",
    needs: "mkfs.btrfs",
    mount: r#"truncate -s 128m "$S/img"; mkfs.btrfs -q -f -m single -d single "$S/img" >/dev/null 2>&1
              mount -o loop "$S/img" "$M""#,
    copy_on_write: true,
    reads_allocate: false,
};
pub const OVERLAY: FileSystem = FileSystem {
    name: "overlay",
    needs: "mount",
    mount: r#"mount -t tmpfs -o size=16m none "$M"; cd "$M"; mkdir lower upper work merged
              mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged; M="$M/merged""#,
    copy_on_write: false,
    reads_allocate: true,
};

/// Where a store into a map asks for its block, and dies without one.
pub const ALL: [&FileSystem; 6] = [&TMPFS, &EXT4, &EXT2, &XFS, &BTRFS, &OVERLAY];

/// Begins a daemon in the foreground, as a child that dies with the host, and waits for its mount.
/// Whatever it says goes to a file: the host's pipes end with the host.
macro_rules! daemon {
    ($before:literal, $daemon:literal) => {
        concat!(
            $before,
            "\nsetpriv --pdeathsig KILL ",
            $daemon,
            r#" >"$S/daemon" 2>&1 </dev/null &
               DAEMON=$!
               until mountpoint -q "$M"; do kill -0 $DAEMON || { cat "$S/daemon" >&2; exit 1; }; sleep 0.02; done"#
        )
    };
}

/// ext4 in an image, by a daemon that has fallocate(2), times of whole seconds, and no extent
/// lists. It wants free blocks for every write, also where blocks are reserved or written.
pub const FUSE2FS: FileSystem = FileSystem {
    name: "fuse2fs",
    needs: "fuse2fs",
    mount: daemon!(
        r#"truncate -s 32m "$S/img"; mke2fs -q -F -t ext4 -b 4096 -O ^has_journal "$S/img""#,
        r#"fuse2fs -f "$S/img" "$M" -o fakeroot"#
    ),
    copy_on_write: false,
    reads_allocate: false,
};
/// A small tmpfs, by a daemon that has no fallocate(2).
pub const BINDFS: FileSystem = FileSystem {
    name: "bindfs",
    needs: "bindfs",
    mount: daemon!(
        r#"mkdir "$S/below"; mount -t tmpfs -o size=16m none "$S/below""#,
        r#"bindfs -f "$S/below" "$M""#
    ),
    copy_on_write: false,
    reads_allocate: false,
};

/// Where a store into a map asks nobody for room: the daemon is asked when the page is written to
/// it, by msync(2) or later, and says then that there is none. "$DAEMON" is its process.
pub const IN_USER_SPACE: [&FileSystem; 2] = [&FUSE2FS, &BINDFS];

/// Images that nobody has mounted yet: for a disk of our own (`support/device.c`), "$S/img".
pub const DEVICE_EXT4: FileSystem =
    FileSystem { mount: r#"truncate -s 32m "$S/img"; mkfs.ext4 -q -F "$S/img""#, ..EXT4 };
pub const DEVICE_XFS: FileSystem =
    FileSystem { mount: r#"truncate -s 300m "$S/img"; mkfs.xfs -q -f "$S/img""#, ..XFS };
pub const DEVICE_BTRFS: FileSystem = FileSystem {
    mount: r#"truncate -s 128m "$S/img"
              mkfs.btrfs -q -f -m single -d single "$S/img" >/dev/null 2>&1"#,
    ..BTRFS
};
pub const ON_DEVICE: [&FileSystem; 3] = [&DEVICE_EXT4, &DEVICE_XFS, &DEVICE_BTRFS];

/// Which Linux this is: of 6.18.1 it is (6, 18).
pub fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux has it");
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl FileSystem {
    /// Runs `script` where "$M" is this file system, mounted, and "$1" the host.
    pub fn shell(&self, script: &str, host: &Path) -> Run {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let scratch =
            Scratch::new(&format!("{}-{}", self.name, NEXT.fetch_add(1, Ordering::Relaxed)));
        let at = scratch.path().join("mounted");
        std::fs::create_dir(&at).expect("our own folder is writable");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        // Without root a user namespace comes first: tmpfs and overlay can be had in there.
        // SAFETY: geteuid(2) cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        // In there, as a user namespace takes back what was asked for before it.
        unshare.args(["setpriv", "--pdeathsig", "KILL"]);
        unshare.args(["sh", "-euc", &format!("{}\n{script}", self.mount), "sh"]).arg(host);
        run_command({
            unshare.env("S", scratch.path()).env("M", &at);
            unshare
        })
    }

    pub fn host(&self, host: &'static str, scenario: &str, link: Link) -> Run {
        self.shell(&format!(r#"exec "$1" {scenario} "$M""#), &prepared(host, link))
    }

    /// Whether who stores into a reserved range through a mapping finds its block on a full disk:
    /// on btrfs since Linux 6.17 (docs/design.md, "Older kernels").
    pub fn keeps_blocks(&self) -> bool {
        if self.name != BTRFS.name || kernel() >= (6, 17) {
            return true;
        }
        skip("a full btrfs before Linux 6.17 keeps no blocks for stores");
        false
    }

    /// Says why, and skips, where this machine cannot make it.
    pub fn is_here(&self) -> bool {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$1\" >/dev/null", "sh", self.needs])
            .status();
        let reason = if found.is_ok_and(|status| status.success()) {
            let run = self.shell("true", Path::new("true"));
            if run.status.success() {
                return true;
            }
            run.err
        } else {
            format!("no {}", self.needs)
        };
        skip(&format!("{}: {reason}", self.name));
        false
    }
}
