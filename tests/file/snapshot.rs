//! The bytes of one moment, on real file systems: whatever is done to the file, they stay, and a
//! plain map of it dies.

#[path = "../support/mod.rs"]
mod support;

use libc::{SIGBUS, SIGXFSZ};
use sigward::file;
use sigward::mapping::{Error, Snapshot, SnapshotKind, SnapshotOptions, snapshot};
use std::ops::ControlFlow;
use support::file_systems::{ALL, BTRFS, FileSystem, TMPFS, XFS, kernel};
use support::{Link, PAGE, Scratch, prepared};

fn warded(file_system: &FileSystem, scenario: &str) -> String {
    let run = file_system.host("snapshot", scenario, Link::Archive);
    assert_eq!(run.status.code(), Some(0), "{} {scenario}: {run:#?}", file_system.name);
    run.out
}

/// Bare dies of this signal, warded lives.
fn dies_bare(file_system: &FileSystem, scenario: &str, signal: i32) {
    let bare = file_system.host("snapshot", scenario, Link::Bare);
    assert_eq!(bare.signal(), Some(signal), "{} {scenario}: {bare:#?}", file_system.name);
    warded(file_system, scenario);
}

fn each(test: impl Fn(&FileSystem)) {
    ALL.iter()
        .filter(|file_system| file_system.is_here())
        .for_each(|file_system| test(file_system));
}

fn kind_on(file_system: &FileSystem) -> &'static str {
    if [XFS.name, BTRFS.name].contains(&file_system.name) { "clone\n" } else { "memory\n" }
}

#[test]
fn whatever_is_done_to_the_file_the_bytes_stay() {
    each(|file_system| dies_bare(file_system, "kept", SIGBUS));
}

/// One after the other, in one mount: making a file system takes longer than all of them.
const ALL_SCENARIOS: &str = "kind memory sealed limits changes leaks threads bad full";

#[test]
fn what_it_is_and_costs_and_refuses() {
    each(|file_system| {
        let script = format!(
            r#"mkdir -m 755 "$M/f"; for s in {ALL_SCENARIOS}; do "$1" $s "$M/f" >"$S/$s" || exit 1; chmod 755 "$M/f"; rm -rf "$M/f/"*; done
               cat "$S/kind" "$S/sealed""#
        );
        let run = file_system.shell(&script, &prepared("snapshot", Link::Archive));
        assert_eq!(run.lived().out, kind_on(file_system).repeat(2), "{}", file_system.name);
    });
}

/// Since Linux 6.10, where an overlay has files without names; before, the copy is in memory.
#[test]
fn an_overlay_clones_where_the_one_beneath_does() {
    let kind = if kernel() >= (6, 10) { "clone\n" } else { "memory\n" };
    let script = r#"cd "$M"; mkdir lower upper work merged
                    mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged
                    exec "$1" kind "$M/merged""#;
    for beneath in [&XFS, &BTRFS].into_iter().filter(|file_system| file_system.is_here()) {
        let run = beneath.shell(script, &prepared("snapshot", Link::Archive));
        assert_eq!(run.lived().out, kind, "{}", beneath.name);
    }
}

#[test]
fn the_limit_for_sizes_is_an_error_and_no_signal() {
    for file_system in [&TMPFS, &XFS].into_iter().filter(|file_system| file_system.is_here()) {
        dies_bare(file_system, "size_limit", SIGXFSZ);
    }
}

/// A host in a control group that has 64 MiB, of either version; 77 if none can be made.
const IN_A_GROUP: &str = r#"
    own() { sed -n "s/^[0-9]*:$1://p" /proc/self/cgroup; }
    for group in "memory.limit_in_bytes /sys/fs/cgroup/memory$(own memory)" "memory.max /sys/fs/cgroup$(own)"; do
        limit=${group%% *}; group=${group#* }/sigward-$$
        mkdir "$group" 2>/dev/null || continue
        trap 'until rmdir "$group"; do sleep 0.1; done' EXIT
        { echo 67108864 >"$group/$limit"; } 2>/dev/null || continue
        [ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
        sh -c 'echo $$ >"$1/cgroup.procs"; exec "$2" grouped "$3"' sh "$group" "$1" "$M" && exit 0 || exit $?
    done
    exit 77"#;

#[test]
fn what_a_control_group_has_not_left_is_refused_and_nobody_is_killed() {
    let [bare, warded] = [Link::Bare, Link::Archive]
        .map(|link| TMPFS.shell(IN_A_GROUP, &prepared("snapshot", link)));
    if warded.status.code() == Some(77) {
        // Within a container nobody may make one, whatever is installed.
        return println!("SKIPPED: a control group with a limit of memory");
    }
    assert_eq!(warded.lived().out, "lives\n");
    let has_swap =
        std::fs::read_to_string("/proc/swaps").is_ok_and(|list| list.lines().count() > 1);
    assert!(has_swap || bare.status.code() == Some(128 + libc::SIGKILL), "{bare:#?}");
}

#[test]
fn never_a_mixture_of_two_generations() {
    for file_system in ALL.into_iter().filter(|file_system| file_system.is_here()) {
        let bare = file_system.host("snapshot", "generations", Link::Bare);
        assert_eq!(bare.lived().out, "torn\n", "{}", file_system.name);
        let ours = warded(file_system, "generations");
        assert!(ours.ends_with(" 0 unproven\n"), "{}: {ours}", file_system.name);
        println!("{}: {}", file_system.name, ours.trim());
    }
}

#[test]
fn a_change_in_the_tick_of_another_is_seen() {
    each(|file_system| drop(warded(file_system, "same_tick")));
}

#[test]
fn a_disk_that_goes_away_is_told() {
    if XFS.is_here() {
        dies_bare(&XFS, "disk_lost", SIGBUS);
    }
}

#[test]
fn in_rust() -> Result<(), Box<dyn std::error::Error>> {
    fn crosses_threads<T: Send + Sync>(_: &T) {}
    let folder = Scratch::new("snapshot-rust");
    let path = folder.path().join("file");
    let whole: Vec<u8> = (0..=255).cycle().take(700_001).collect();
    std::fs::write(&path, &whole)?;

    let taken = snapshot(&path)?;
    crosses_threads(&taken);
    std::fs::write(&path, "other")?;
    assert!(taken[..] == whole[..] && taken.as_ref() == whole);
    taken.check()?;
    assert!(format!("{taken:?}").contains("700001"), "{taken:?}");

    std::fs::write(&path, &whole)?;
    let mut told = Vec::new();
    let mut tell = |done, total| {
        told.push((done, total));
        if done > 300_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let stopped = SnapshotOptions::new().memory_only(true).progress(&mut tell).take(&path);
    assert_eq!(stopped.err(), Some(Error::File(file::Error::Cancelled)));
    assert_eq!(told, [(0, 700_001), (1 << 18, 700_001), (1 << 19, 700_001)]);

    let refused = SnapshotOptions::new().limit(700_000).take(&path).err();
    let error = refused.ok_or("it was taken")?;
    assert_eq!(error, Error::File(file::Error::TooLarge { size: 700_001, limit: 700_000 }));
    assert_eq!(
        error.to_string(),
        "the file has 700001 bytes, and 700000 are allowed: raise the limit, or read it by parts"
    );
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::FileTooLarge);

    let copy: Snapshot = SnapshotOptions::new().memory_only(true).limit(700_001).take(&path)?;
    assert_eq!((copy.kind(), copy.len()), (SnapshotKind::Memory, 700_001));
    assert_eq!(copy.memory(), 700_001_u64.next_multiple_of(PAGE as u64));
    let missing = snapshot(folder.path().join("missing")).err().map(std::io::Error::from);
    assert_eq!(missing.map(|error| error.kind()), Some(std::io::ErrorKind::NotFound));
    // Of /proc the length says nothing, so the limit counts what is read.
    let version = SnapshotOptions::new().limit(5).take("/proc/version").err();
    assert!(
        matches!(version, Some(Error::File(file::Error::TooLarge { limit: 5, .. }))),
        "{version:?}"
    );
    Ok(())
}
