//! New contents as a new file: wholly old or wholly new, whatever happens and whenever the process
//! is stopped.

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use sigward::file::{Error, ReplaceOptions, Replacement, replace_file};
use std::io::Write;
use support::file_systems::{ALL, BTRFS, EXT4, FileSystem, IN_USER_SPACE, OVERLAY, TMPFS, XFS};
use support::{Link, Scratch, prepared};

/// Without it nothing can be named that has no name, and attributes are read another way.
const NO_PROC: &str = "mount -t tmpfs none /proc";

fn warded(file_system: &FileSystem, scenario: &str) -> String {
    let run = file_system.host("file_replace", scenario, Link::Archive);
    assert_eq!(run.status.code(), Some(0), "{} {scenario}: {run:#?}", file_system.name);
    run.out
}

fn each(test: impl Fn(&FileSystem)) {
    ALL.iter()
        .filter(|file_system| file_system.is_here())
        .for_each(|file_system| test(file_system));
}

#[test]
fn who_has_the_old_file_mapped_keeps_it() {
    each(|file_system| {
        file_system.host("file_replace", "mapped", Link::Bare).died_of(SIGBUS);
        warded(file_system, "mapped");
    });
}

/// Not on bindfs and fuse2fs: there rename(2) is not at once, and an open(2) meanwhile finds
/// nothing (bindfs: 14,409 of 60,000, with two processes that only rename).
#[test]
fn replacers_that_are_killed_beside_replacers() {
    each(|file_system| {
        let bare = file_system.host("file_replace", "killed_together", Link::Bare);
        assert_eq!(bare.lived().out, "torn\n", "{}", file_system.name);
        assert_eq!(warded(file_system, "killed_together"), "whole\n", "{}", file_system.name);
    });
}

#[test]
fn what_is_replaced_and_not_yet_on_the_disk_is_an_error_of_its_own() {
    warded(&TMPFS, "unsynced");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    each(|file_system| {
        let bare = file_system.host("file_replace", "no_space", Link::Bare);
        assert_eq!(
            bare.status.code(),
            Some(99),
            "cp leaves half of it on {}: {bare:#?}",
            file_system.name
        );
        let said = warded(file_system, "no_space");
        let shares = [XFS.name, BTRFS.name].contains(&file_system.name);
        assert!(shares || said == "no space\n", "{}: {said}", file_system.name);
    });
}

/// What is there after a kill at each system call: whether the file was told apart at all, and what
/// was found.
struct Kills {
    torn: usize,
    old: usize,
    new: usize,
    most_leftovers: usize,
}

/// Kills the replacement at its first system call, its second, and so on, until it has come to its
/// end.
fn kill_everywhere(file_system: &FileSystem, link: Link, before: &str, absent: &str) -> Kills {
    let script = format!(
        r#"{before}
           stop={stop}
           n=0
           ended=0
           while [ $ended = 0 ]; do
               n=$((n + 1))
               rm -f "$M"/live "$M"/.sigward-*
               "$1" crash_make "$M" {absent}
               ended=0
               "$stop" $n "$1" crash "$M" || ended=$?
               "$1" crash_check "$M" {absent} 2>/dev/null || echo torn 0
               # What is left of the killed one is in nobody's way, and goes.
               "$1" crash "$M"
               [ "$("$1" crash_check "$M" {absent})" = "new 0" ]
           done
           [ $ended = 1 ]"#,
        stop = prepared("stop_at", Link::Bare).display()
    );
    let run = file_system.shell(&script, &prepared("file_replace", link));
    let mut kills = Kills { torn: 0, old: 0, new: 0, most_leftovers: 0 };
    for line in run.lived().out.lines() {
        let (state, leftovers) = line.split_once(' ').expect("a state and a number");
        match state {
            "old" => kills.old += 1,
            "new" => kills.new += 1,
            _ => kills.torn += 1,
        }
        kills.most_leftovers = kills.most_leftovers.max(leftovers.parse().expect("a number"));
    }
    println!(
        "{} {link:?} [{before}] [{absent}]: {} old, {} new, {} torn, leftovers {}",
        file_system.name, kills.old, kills.new, kills.torn, kills.most_leftovers
    );
    kills
}

fn is_old_or_new(file_system: &FileSystem, before: &str, absent: &str, leftovers: usize) {
    let kills = kill_everywhere(file_system, Link::Archive, before, absent);
    assert!(kills.torn == 0 && kills.old > 10 && kills.new > 1, "{}", file_system.name);
    assert_eq!(kills.most_leftovers, leftovers, "{} [{before}] [{absent}]", file_system.name);
}

#[test]
fn killed_at_any_system_call_there_is_the_old_file_or_the_new_one() {
    each(|file_system| is_old_or_new(file_system, "", "", 1));
    for file_system in IN_USER_SPACE {
        if file_system.is_here() {
            is_old_or_new(file_system, "", "", 1);
        }
    }
}

#[test]
fn killed_at_any_system_call_a_file_that_was_not_there_is_whole_or_not_there() {
    // On btrfs a file has to have a name before fsync(2) keeps it, and an overlay may lie on it.
    for (file_system, leftovers) in [(&TMPFS, 0), (&EXT4, 0), (&BTRFS, 1), (&OVERLAY, 1)] {
        if file_system.is_here() {
            is_old_or_new(file_system, "", "absent", leftovers);
            is_old_or_new(file_system, NO_PROC, "absent", 1);
        }
    }
}

#[test]
fn killed_where_files_without_a_name_cannot_be_had() {
    for file_system in [&TMPFS, &EXT4, &XFS] {
        if file_system.is_here() {
            is_old_or_new(file_system, NO_PROC, "", 1);
        }
    }
}

#[test]
fn the_killing_finds_torn_files_where_there_are_any() {
    if TMPFS.is_here() {
        assert!(kill_everywhere(&TMPFS, Link::Bare, "", "").torn > 1);
    }
}

#[test]
fn many_at_once() {
    each(|file_system| {
        let bare = file_system.host("file_replace", "concurrent", Link::Bare);
        assert_eq!(bare.status.code(), Some(99), "{}: {bare:#?}", file_system.name);
        warded(file_system, "concurrent");
    });
}

#[test]
fn attributes_stay() {
    each(|file_system| {
        let said = warded(file_system, "attributes");
        println!("{}: {said}", file_system.name);
        let all = [EXT4.name, XFS.name, BTRFS.name].contains(&file_system.name);
        assert!(!all || said.ends_with("attributes 1 lists 1\n"), "{}: {said}", file_system.name);
        let script = format!(r#"{NO_PROC}; exec "$1" attributes "$M""#);
        file_system.shell(&script, &prepared("file_replace", Link::Archive)).lived();
    });
}

#[test]
fn what_was_left_behind_goes_with_the_next_replacement_of_the_same_file() {
    each(|file_system| drop(warded(file_system, "swept")));
}

#[test]
fn a_folder_from_which_nothing_can_be_removed_has_nothing_left_in_it() {
    each(|file_system| {
        let said = warded(file_system, "fixed");
        let both = [EXT4.name, XFS.name, BTRFS.name].contains(&file_system.name);
        assert!(!both || said == "told 2\n", "{}: {said}", file_system.name);
        println!("{}: {said}", file_system.name);
    });
}

#[test]
fn a_hole_at_the_end_beyond_the_limit_for_sizes_is_an_error_and_no_signal() {
    each(|file_system| drop(warded(file_system, "long_hole")));
}

#[test]
fn links_are_followed_or_replaced() {
    each(|file_system| drop(warded(file_system, "links")));
}

#[test]
fn a_link_of_proc_is_followed_only_where_its_text_names_what_it_leads_to() {
    each(|file_system| drop(warded(file_system, "magic")));
}

#[test]
fn holes_other_file_systems_and_proc_as_sources() {
    each(|file_system| drop(warded(file_system, "sources")));
}

#[test]
fn written_piece_by_piece() {
    each(|file_system| drop(warded(file_system, "writer")));
}

#[test]
fn what_cannot_be_replaced_is_refused() {
    each(|file_system| drop(warded(file_system, "bad")));
}

#[test]
fn a_source_that_changes_meanwhile_is_told() {
    if EXT4.is_here() {
        assert_eq!(warded(&EXT4, "changing"), "told\n");
    }
}

#[test]
fn never_half_of_a_write_that_is_at_work() {
    each(|file_system| {
        println!("{}: {}", file_system.name, warded(file_system, "generations").trim());
    });
}

#[test]
fn without_permission_nothing_happens() {
    // SAFETY: geteuid(2) cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        support::skip("other users' files: not root");
        return;
    }
    for file_system in [&TMPFS, &EXT4] {
        if file_system.is_here() {
            let script = r#"chmod 755 "$S" "$M"; exec "$1" not_permitted "$M""#;
            file_system.shell(script, &prepared("file_replace", Link::Archive)).lived();
        }
    }
}

#[test]
fn mounted_files_and_read_only_folders_are_told() {
    if TMPFS.is_here() {
        let script = r#"echo a > "$M/a"; echo b > "$M/b"; mount --bind "$M/a" "$M/b"
                        mkdir "$S/read-only"; mount -t tmpfs -o ro none "$S/read-only"
                        exec "$1" mounts "$M" "$M/b" "$S/read-only/live""#;
        TMPFS.shell(script, &prepared("file_replace", Link::Archive)).lived();
    }
}

#[test]
fn from_rust() {
    let folder = Scratch::new("replace");
    let at = |name: &str| folder.path().join(name);
    let holds = |name, content: &str| {
        assert_eq!(std::fs::read_to_string(at(name)).expect("there"), content);
    };
    std::fs::write(at("live"), "old").expect("writable");
    std::os::unix::fs::symlink("live", at("link")).expect("writable");
    let mut new = Replacement::create(at("link")).expect("a file");
    new.write_all(b"new").expect("room");
    drop(new); // nothing has happened
    holds("live", "old");
    let mut new = Replacement::create(at("link")).expect("a file");
    new.write_all(b"new").expect("room");
    holds("live", "old");
    new.commit().expect("replaced");
    holds("live", "new");
    ReplaceOptions::new()
        .replace_link(true)
        .replace_file(at("live"), at("link"))
        .expect("replaced");
    std::fs::write(at("live"), "other").expect("writable");
    holds("link", "new");
    let error = replace_file(at("live"), folder.path()).expect_err("a folder");
    assert_eq!((error, error.errno()), (Error::NotAFile { errno: libc::EISDIR }, libc::EISDIR));
    assert!(error.to_string().contains("name a file"), "{error}");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("there").count(),
        2,
        "nothing is left behind"
    );
}
