//! `sigward log`, `replace` and `reserve`, as programs.

mod support;

use sigward::log::Log;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use support::{Scratch, sigward};

#[test]
fn check_tells_sound_from_damaged_and_salvage_copies_the_rest() {
    let scratch = Scratch::new("log");
    let path = scratch.join("a.log");
    let log = Log::open(&path).unwrap();
    let positions: Vec<u64> =
        (0..100).map(|n| log.append(format!("record {n}").as_bytes()).unwrap()).collect();
    log.close().unwrap();

    let sound = sigward(&["log", "check", &path]);
    assert_eq!(
        (sound.code, sound.out.lines().next()),
        (0, Some(format!("{path}: sound").as_str()))
    );
    assert!(sound.out.contains("whole records   100"), "{sound:?}");

    // One record in the middle.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.write_at(b"?", positions[50] + 12).unwrap();
    let damaged = sigward(&["--json", "log", "check", &path]);
    let found = damaged.json();
    assert_eq!((damaged.code, &found["sound"], &found["records"]), (1, &false.into(), &99.into()));
    assert_eq!((&found["damaged"], &found["first_damage"]), (&1.into(), &positions[50].into()));
    let text = sigward(&["log", "check", &path]);
    assert!(text.out.contains(&format!("sigward log salvage {path} NEW")), "{text:?}");

    let copy = scratch.join("b.log");
    assert_eq!(sigward(&["log", "salvage", &path, &copy]).code, 1);
    let again = sigward(&["log", "check", &copy, "--json"]);
    assert_eq!((again.code, &again.json()["records"]), (0, &99.into()));

    // What is there is not written over.
    let refused = sigward(&["log", "salvage", &path, &copy]);
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("name another one"), "{refused:?}");
}

#[test]
fn what_is_no_log_is_said() {
    let scratch = Scratch::new("no-log");
    let path = scratch.join("file");
    std::fs::write(&path, vec![7; 9000]).unwrap();
    let (wrong, missing, empty) = (
        sigward(&["log", "check", &path]),
        sigward(&["log", "check", &scratch.join("none"), "--json"]),
        sigward(&["log", "check", &scratch.file("empty", b"")]),
    );
    assert_eq!((wrong.code, missing.code, empty.code), (3, 3, 3));
    assert!(wrong.err.contains("no log"), "{wrong:?}");
    let error: serde_json::Value = serde_json::from_str(&missing.err).unwrap();
    assert_eq!(error["error"]["errno"], libc::ENOENT);
    assert!(empty.err.contains("nobody has begun a log"), "{empty:?}");
}

#[test]
fn replace_leaves_the_old_file_whole_where_it_is_open() {
    let scratch = Scratch::new("replace");
    let (new, live) = (scratch.file("new", b"new"), scratch.file("live", b"the old contents"));
    std::fs::set_permissions(&live, std::fs::Permissions::from_mode(0o640)).unwrap();
    let old = std::fs::File::open(&live).unwrap();
    assert_eq!(sigward(&["replace", &new, &live]).out, "");
    assert_eq!(std::fs::read(&live).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&live).unwrap().mode() & 0o777, 0o640);
    // `cp` would have cut it to 3 bytes.
    assert_eq!(old.metadata().unwrap().len(), 16);

    let (missing, folder) = (
        sigward(&["replace", &scratch.join("none"), &live]),
        sigward(&["replace", &new, &scratch.join("")]),
    );
    let from = sigward(&["replace", &scratch.join(""), &live]);
    let said = format!("sigward: {}: Is a directory", scratch.join(""));
    assert!(from.code == 3 && from.err.starts_with(&said), "{from:?}");
    assert_eq!((missing.code, folder.code), (3, 3));
    assert!(
        missing.err.contains("none: ") && missing.err.contains("look at the name"),
        "{missing:?}"
    );
    assert!(folder.err.contains("name a file"), "{folder:?}");
    assert_eq!(std::fs::read(&live).unwrap(), b"new");
}

#[test]
fn reserve_gives_blocks_or_leaves_the_file_as_it_was() {
    let scratch = Scratch::new("reserve");
    let path = scratch.join("data");
    let done = sigward(&["reserve", &path, "1M", "--json"]);
    let found = done.json();
    assert_eq!((done.code, &found["file_length"]), (0, &(1 << 20).into()), "{done:?}");
    assert!(["full", "first-write-only"].contains(&found["promise"].as_str().unwrap()), "{done:?}");
    let file = std::fs::metadata(&path).unwrap();
    assert!(file.blocks() * 512 >= 1 << 20, "truncate would have left {} blocks", file.blocks());

    // More than any disk has.
    let refused = sigward(&["reserve", &path, "1024P"]);
    assert_eq!(
        (refused.code, std::fs::metadata(&path).unwrap().len()),
        (3, 1 << 20),
        "{refused:?}"
    );
    assert!(!refused.err.contains("the new file stays"), "{refused:?}");
    // A new file is not removed: somebody may have begun to write to it.
    let new = scratch.join("new");
    let refused = sigward(&["reserve", &new, "1024P"]);
    assert_eq!((refused.code, std::fs::metadata(&new).unwrap().len()), (3, 0), "{refused:?}");
    assert!(refused.err.contains("the new file stays"), "{refused:?}");
    let fresh = scratch.join("fresh");
    assert_eq!(sigward(&["reserve", &fresh, "1M", "--no-create"]).code, 3);
    assert!(!std::path::Path::new(&fresh).exists());
    assert_eq!(sigward(&["reserve", &fresh, "much"]).code, 2);
}

#[test]
fn manual_pages_and_completions_name_every_command() {
    let scratch = Scratch::new("generate");
    assert_eq!(sigward(&["generate", &scratch.join("")]).code, 0);
    let overview = std::fs::read_to_string(scratch.join("man1/sigward.1")).unwrap();
    let shells: Vec<String> = ["bash/sigward", "zsh/_sigward", "fish/sigward.fish"]
        .map(|name| std::fs::read_to_string(scratch.join(name)).unwrap())
        .into();
    assert!(!shells.iter().any(|text| text.contains("generate")), "what is not for people");
    let help = sigward(&["--help"]).out;
    assert!(help.contains("Exit status:"), "{help}");
    // As it is there: not filled to lines of another length.
    assert!(overview.contains("\n.SH EXIT STATUS\n.nf\n  0    done"), "{overview}");
    let watch = std::fs::read_to_string(scratch.join("man1/sigward-watch.1")).unwrap();
    assert!(watch.contains("\n.SH EXAMPLES\n.nf\n  sigward watch"), "{watch}");
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 3, "{help}");
    for name in commands {
        let page = scratch.join(&format!("man1/sigward-{name}.1"));
        assert!(std::path::Path::new(&page).exists(), "{page}");
        assert!(overview.contains(&format!("sigward\\-{name}(1)")), "{name}");
        assert!(!std::fs::read_to_string(page).unwrap().contains(".SH EXTRA"), "{name}");
        assert!(shells.iter().all(|text| text.contains(name)), "{name}");
    }
}
