//! Guarded maps on real file systems: cut files, full disks, quotas, read errors, broken memory.
//!
//! Each host runs in a mount namespace of its own, on a small file system that was made for it: nothing stays behind when it
//! ends. A file system that cannot be had is named and skipped; with `SIGWARD_REQUIRE_ALL=1` that fails.

mod support;

use libc::SIGBUS;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Link, Run, Scratch, prepared, run, run_command, skip};

/// How a file system is made and mounted at "$M"; "$S" is a folder for its image.
#[derive(Debug)]
struct FileSystem {
    name: &'static str,
    needs: &'static str,
    mount: &'static str,
    /// A full one fails where bytes that it holds are written over.
    copy_on_write: bool,
    /// A full one fails where a hole is read.
    reads_allocate: bool,
}

const TMPFS: FileSystem = FileSystem {
    name: "tmpfs",
    needs: "mount",
    mount: r#"mount -t tmpfs -o size=16m none "$M""#,
    copy_on_write: false,
    reads_allocate: true,
};
const EXT4: FileSystem = FileSystem {
    name: "ext4",
    needs: "mkfs.ext4",
    mount: r#"truncate -s 32m "$S/img"; mkfs.ext4 -q -F "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
/// No fallocate(2). Large inodes, because the small ones know whole seconds only: too few to tell a change from none.
const EXT2: FileSystem = FileSystem {
    name: "ext2",
    needs: "mkfs.ext2",
    mount: r#"truncate -s 32m "$S/img"; mkfs.ext2 -q -F -I 256 "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
const XFS: FileSystem = FileSystem {
    name: "xfs",
    needs: "mkfs.xfs",
    mount: r#"truncate -s 300m "$S/img"; mkfs.xfs -q -f "$S/img"; mount -o loop "$S/img" "$M""#,
    copy_on_write: false,
    reads_allocate: false,
};
const BTRFS: FileSystem = FileSystem {
    name: "btrfs",
    needs: "mkfs.btrfs",
    mount: r#"truncate -s 128m "$S/img"; mkfs.btrfs -q -f -m single -d single "$S/img" >/dev/null 2>&1
              mount -o loop "$S/img" "$M""#,
    copy_on_write: true,
    reads_allocate: false,
};
const OVERLAY: FileSystem = FileSystem {
    name: "overlay",
    needs: "mount",
    mount: r#"mount -t tmpfs -o size=16m none "$M"; cd "$M"; mkdir lower upper work merged
              mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged; M="$M/merged""#,
    copy_on_write: false,
    reads_allocate: true,
};

impl FileSystem {
    /// Runs `script` where "$M" is this file system, mounted, and "$1" the host.
    fn shell(&self, script: &str, host: &Path) -> Run {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let scratch = Scratch::new(&format!("{}-{}", self.name, NEXT.fetch_add(1, Ordering::Relaxed)));
        let at = scratch.path().join("mounted");
        std::fs::create_dir(&at).expect("our own folder is writable");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        // Without root a user namespace comes first: tmpfs and overlay can be had in there.
        // SAFETY: geteuid(2) cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["sh", "-euc", &format!("{}\n{script}", self.mount), "sh"]).arg(host);
        run_command({
            unshare.env("S", scratch.path()).env("M", &at);
            unshare
        })
    }

    fn host(&self, host: &'static str, scenario: &str, link: Link) -> Run {
        self.shell(&format!(r#"exec "$1" {scenario} "$M""#), &prepared(host, link))
    }

    /// Says why, and skips, where this machine cannot make it.
    fn is_here(&self) -> bool {
        let found =
            Command::new("sh").args(["-c", "command -v \"$1\" >/dev/null", "sh", self.needs]).status();
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

    /// Dies bare, lives with the library; returns what the warded one said.
    #[track_caller]
    fn dies_bare_lives_warded(&self, scenario: &str) -> String {
        let bare = self.host("map_disk", scenario, Link::Bare);
        assert_eq!(bare.signal(), Some(SIGBUS), "{} {scenario}: {bare:#?}", self.name);
        let warded = self.host("map_disk", scenario, Link::Archive);
        assert_eq!(warded.status.code(), Some(0), "{} {scenario}: {warded:#?}", self.name);
        warded.out
    }

    fn cut_files_are_told_to_the_byte(&self) {
        for table in ["lengths", "ways"] {
            let rows = self.host("maps", table, Link::Bare).every_row("signal 7");
            assert_eq!(self.host("maps", table, Link::Archive).every_row("exit 0"), rows, "{}", self.name);
        }
        self.host("map_silent", "silent", Link::Archive).every_row("exit 0");
    }

    fn a_full_disk_is_told_and_nothing_else_is_lost(&self) {
        for scenario in ["store", "write_at", "populate", "size_limit"] {
            self.dies_bare_lives_warded(scenario);
        }
        for (scenario, faults) in [("read_hole", self.reads_allocate), ("overwrite", self.copy_on_write)] {
            if faults {
                assert_eq!(self.dies_bare_lives_warded(scenario), "no space\n", "{} {scenario}", self.name);
            } else {
                for link in [Link::Bare, Link::Archive] {
                    let run = self.host("map_disk", scenario, link);
                    assert_eq!(run.lived().out, "nothing lost\n", "{} {scenario} {link:?}", self.name);
                }
            }
        }
    }

    /// What happens between the kernel's signal and our handler's first look.
    fn what_has_changed_by_then_counts(&self) {
        let loads: &[&str] = if self.reads_allocate { &["healed_load", "healed_written"] } else { &[] };
        for scenario in [&["healed", "regrown"], loads].concat() {
            for (link, end) in [(Link::Bare, "stops 1 signal 7\n"), (Link::Archive, "stops 1 exit 0\n")] {
                let run = self.host("map_disk", scenario, link);
                assert_eq!(run.lived().out, end, "{} {scenario} {link:?}: {}", self.name, run.err);
            }
        }
    }

    fn all(&self) {
        if self.is_here() {
            self.cut_files_are_told_to_the_byte();
            self.a_full_disk_is_told_and_nothing_else_is_lost();
            self.what_has_changed_by_then_counts();
        }
    }
}

#[test]
fn tmpfs() {
    TMPFS.all();
}

#[test]
fn ext4() {
    EXT4.all();
}

#[test]
fn ext2() {
    EXT2.all();
}

#[test]
fn xfs() {
    XFS.all();
}

#[test]
fn btrfs() {
    BTRFS.all();
}

#[test]
fn overlay() {
    OVERLAY.all();
}

#[test]
fn a_quota_is_no_space_with_its_own_errno() {
    if !BTRFS.is_here() {
        return;
    }
    let script = r#"btrfs quota enable "$M"; btrfs qgroup limit 4M "$M"; exec "$1" quota "$M""#;
    BTRFS.shell(script, &prepared("map_disk", Link::Bare)).died_of(SIGBUS);
    BTRFS.shell(script, &prepared("map_disk", Link::Archive)).lived();
}

#[test]
fn a_page_that_cannot_be_read_is_an_io_error() {
    if !BTRFS.is_here() {
        return;
    }
    // A changed byte under a checksum: EIO, as from a bad disk.
    let script = r#""$1" io_make "$M"; umount "$M"; "$1" io_corrupt "$M" "$S/img"
                    mount -o loop "$S/img" "$M"; exec "$1" io "$M""#;
    BTRFS.shell(script, &prepared("map_disk", Link::Bare)).died_of(SIGBUS);
    BTRFS.shell(script, &prepared("map_disk", Link::Archive)).lived();
}

#[test]
fn broken_memory_is_hardware() {
    // The kernel's own signal where the kernel can be asked for one; the same signal by hand everywhere.
    let bare = run(&prepared("map_disk", Link::Bare), &["hardware"]);
    if bare.signal() == Some(SIGBUS) {
        assert_eq!(run(&prepared("map_disk", Link::Archive), &["hardware"]).lived().out, "poisoned\n");
    } else {
        println!("MADV_HWPOISON: {}", bare.lived().out);
    }
    run(&prepared("map_disk", Link::Bare), &["hardware_signal"]).died_of(SIGBUS);
    run(&prepared("map_disk", Link::Archive), &["hardware_signal"]).lived();
}
