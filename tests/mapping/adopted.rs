//! Mappings that somebody else made, in C hosts: guarded wherever and whenever their file is
//! mapped, and nothing else is. Each loss kills the bare twin of the same lines.

#[path = "../support/mod.rs"]
mod support;

use libc::SIGBUS;
use support::file_systems::{BTRFS, OVERLAY};
use support::{Link, PAGE, Run, Scratch, Settings, in_folder, prepared, run};

const HOST: &str = "map_adopt";

fn scenario(scenario: &str, link: Link) -> Run {
    in_folder(HOST, scenario, link)
}

/// Every row of the table dies bare and lives with the library of either profile.
#[track_caller]
fn dies_bare_lives_warded(table: &str) {
    let rows = scenario(table, Link::Bare).every_row(&format!("signal {SIGBUS}"));
    assert_eq!(scenario(table, Link::Archive).every_row("exit 0"), rows);
    assert_eq!(scenario(table, Link::DebugArchive).every_row("exit 0"), rows);
}

#[test]
fn mappings_of_a_library_that_maps_by_itself_are_guarded() {
    dies_bare_lives_warded("adopted");
}

#[test]
fn they_are_where_the_kernel_cannot_be_asked_by_address() {
    dies_bare_lives_warded("adopted_on_an_old_kernel");
}

#[test]
fn they_are_where_no_descriptor_is_left() {
    dies_bare_lives_warded("limits");
}

#[test]
fn what_must_die_dies_as_bare() {
    let bare = scenario("deadly", Link::Bare);
    for link in [Link::Archive, Link::DebugArchive] {
        let warded = scenario("deadly", link);
        assert_eq!(bare.lived().out, warded.lived().out, "{link:?}: {}", warded.err);
    }
    let ends = |signal| bare.out.matches(&format!(": signal {signal}\n")).count();
    assert_eq!((ends(7), ends(11)), (13, 3), "{}", bare.out);
}

/// What is in the file of this name in the folder of a scenario that dies.
fn dies(name: &str, link: Link, file: &str) -> (Run, String) {
    let scratch = Scratch::new(name);
    let run = run(&prepared(HOST, link), &[name, scratch.as_str()]);
    run.died_of(SIGBUS);
    let found = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut found = found.filter(|path| path.to_string_lossy().ends_with(&format!("-{file}")));
    let words = found.next().map(|path| std::fs::read_to_string(path).unwrap());
    (run, words.unwrap_or_default())
}

#[test]
fn a_process_that_dies_of_it_says_of_what_in_one_line() {
    dies("last_words", Link::Bare, "words");
    for link in [Link::Archive, Link::DebugArchive] {
        let (run, words) = dies("last_words", link, "words");
        assert_eq!(words.lines().count(), 1, "{words}");
        assert!(words.starts_with("sigward: last words: write on thread "), "{words}");
        assert!(
            words.contains("-store (inode ") && words.ends_with(&format!("cut to {PAGE} bytes\n")),
            "{words}"
        );
        assert_eq!(run.err, words);
        let (_, words) = dies("sunk_words", link, "words");
        assert!(words.starts_with("sigward: last words: "), "{words}");
        let (run, _) = dies("no_last_words", link, "words");
        assert_eq!(run.err, "");
        // Its number is another file's by then.
        let (run, words) = dies("words_to_another", link, "letters");
        assert_eq!((words.as_str(), run.err.lines().count()), ("", 1));
    }
}

#[test]
fn memory_of_others_is_not_touched() {
    scenario("stale_memory", Link::Bare).died_of(SIGBUS);
    // The one that nobody has closed.
    assert_eq!(scenario("stale_memory", Link::Archive).lived().out, "maps 1\n");
}

#[test]
fn descriptors_that_others_have_opened_in_the_place_of_ours_are_not_used() {
    assert_eq!(scenario("closed_by_others", Link::Archive).lived().out, "");
}

#[test]
fn a_thread_that_moves_its_descriptors_keeps_each_of_them() {
    for link in [Link::Archive, Link::DebugArchive] {
        assert_eq!(scenario("descriptors_on_the_move", link).lived().out, "");
    }
}

/// Where the kernel's name of a file is not that of stat(2), and where a page can be lost that a
/// file system in memory never loses.
#[test]
fn they_are_on_file_systems_with_names_of_their_own() {
    for file_system in [&BTRFS, &OVERLAY] {
        if file_system.is_here() {
            let rows = file_system.host(HOST, "adopted", Link::Bare).every_row("signal 7");
            let warded = file_system.host(HOST, "adopted", Link::Archive);
            assert_eq!(warded.every_row("exit 0"), rows, "{}", file_system.name);
        }
    }
}

#[test]
fn what_is_kept_is_no_obstacle() {
    let _as_they_are = Settings::as_they_are();
    scenario("unobtrusive", Link::Archive).lived();
}

/// Bare the loss kills, with /proc and without.
#[test]
fn without_proc_nothing_is_adopted_and_the_error_says_why() {
    let folder = Scratch::new("no_proc");
    for link in [Link::Archive, Link::DebugArchive] {
        run(&prepared("map_no_proc", link), &["adopting", folder.as_str()]).lived();
    }
}

#[test]
fn a_large_loss_is_one_event() {
    scenario("one_event", Link::Archive).lived();
}
