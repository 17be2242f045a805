//! Guarded maps on real file systems: cut files, full disks, quotas, read errors, broken memory.
//!
//! Each host runs on a small file system that was made for it (`support/file_systems.rs`).

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use support::file_systems::{
    BINDFS, BTRFS, EXT2, EXT4, FUSE2FS, FileSystem, ON_DEVICE, OVERLAY, TMPFS, XFS,
};
use support::{Link, prepared, run};

impl FileSystem {
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
            assert_eq!(
                self.host("maps", table, Link::Archive).every_row("exit 0"),
                rows,
                "{}",
                self.name
            );
        }
        self.host("map_silent", "silent", Link::Archive).every_row("exit 0");
    }

    fn a_full_disk_is_told_and_nothing_else_is_lost(&self) {
        for scenario in ["store", "write_at", "populate", "size_limit"] {
            self.dies_bare_lives_warded(scenario);
        }
        for (scenario, faults) in
            [("read_hole", self.reads_allocate), ("overwrite", self.copy_on_write)]
        {
            if faults {
                assert_eq!(
                    self.dies_bare_lives_warded(scenario),
                    "no space\n",
                    "{} {scenario}",
                    self.name
                );
            } else {
                for link in [Link::Bare, Link::Archive] {
                    let run = self.host("map_disk", scenario, link);
                    assert_eq!(
                        run.lived().out,
                        "nothing lost\n",
                        "{} {scenario} {link:?}",
                        self.name
                    );
                }
            }
        }
    }

    /// What happens between the kernel's signal and our handler's first look.
    fn what_has_changed_by_then_counts(&self) {
        let loads: &[&str] =
            if self.reads_allocate { &["healed_load", "healed_written"] } else { &[] };
        for scenario in [&["healed", "regrown"], loads].concat() {
            for (link, end) in
                [(Link::Bare, "stops 1 signal 7\n"), (Link::Archive, "stops 1 exit 0\n")]
            {
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

/// A full one kills nobody there: see `fuse.rs`.
#[test]
fn fuse() {
    for file_system in [&FUSE2FS, &BINDFS] {
        if file_system.is_here() {
            file_system.cut_files_are_told_to_the_byte();
            assert_eq!(
                file_system.host("map_disk", "read_hole", Link::Archive).lived().out,
                "nothing lost\n"
            );
        }
    }
}

#[test]
fn a_quota_is_no_space_with_its_own_errno() {
    if !BTRFS.is_here() {
        return;
    }
    let script = r#"btrfs quota enable "$M"; btrfs qgroup limit 4M "$M"; exec "$1" quota "$M""#;
    BTRFS.shell(script, &prepared("map_disk", Link::Bare)).died_of(SIGBUS);
    BTRFS.shell(script, &prepared("map_disk", Link::Archive)).lived();
    let script = script.replace("exec \"$1\" quota", "exec \"$1\" quota_adopted");
    BTRFS.shell(&script, &prepared("map_disk", Link::Bare)).died_of(SIGBUS);
    let run = BTRFS.shell(&script, &prepared("map_disk", Link::Archive));
    run.died_of(SIGBUS);
    assert!(
        run.err.contains("last words: ") && run.err.ends_with("the quota is used up\n"),
        "{}",
        run.err
    );
}

#[test]
fn a_file_that_was_made_immutable_is_no_cut_one() {
    if EXT4.is_here() {
        EXT4.dies_bare_lives_warded("immutable");
    }
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
fn a_log_whose_sector_cannot_be_read_says_so_and_the_rest_is_salvaged() {
    for file_system in ON_DEVICE.iter().filter(|file_system| file_system.is_here()) {
        let run = |link, way| {
            let device = prepared("device", Link::Bare);
            // What the kernel knows of the disk has to go: its loop device reads through a cache.
            let script = format!(
                r#"export {way}; exec '{}' "$S/img" "$S/record" "$S/control" "$S/disk" sh -euc '
                   mount -o loop "$S/disk" "$M"; "$1" make "$M"; umount -d "$M"
                   dd of="$S/disk" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null
                   "$1" spoil "$M" "$S/control"
                   mount -o loop "$S/disk" "$M"; exec "$1" read "$M" "$S/control"' sh "$1""#,
                device.display(),
            );
            file_system.shell(&script, &prepared("log_sector", link))
        };
        let bare = run(Link::Bare, "BARE=1");
        assert_eq!(bare.signal(), Some(SIGBUS), "{}: {bare:?}", file_system.name);
        for way in ["PLAIN=1", "SIGWARD_TEST_LOG_MAPPED=1"] {
            let run = run(Link::Archive, way);
            assert!(run.lived().out.ends_with(" of 2000\n"), "{} {way}: {run:?}", file_system.name);
        }
    }
}

#[test]
fn broken_memory_is_hardware() {
    // The kernel's own signal where the kernel can be asked for one; the same signal by hand
    // everywhere.
    let bare = run(&prepared("map_disk", Link::Bare), &["hardware"]);
    if bare.signal() == Some(SIGBUS) {
        assert_eq!(
            run(&prepared("map_disk", Link::Archive), &["hardware"]).lived().out,
            "poisoned\n"
        );
    } else {
        println!("MADV_HWPOISON: {}", bare.lived().out);
    }
    run(&prepared("map_disk", Link::Bare), &["hardware_signal"]).died_of(SIGBUS);
    run(&prepared("map_disk", Link::Archive), &["hardware_signal"]).lived();
}
