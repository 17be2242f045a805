//! Every way in which a file gets new contents, under a reader that must never have half of them;
//! what is mounted over it and what lies under it. Each case is a process of its own. A tick of an
//! hour means: what is seen, an event has told.

#![cfg(target_os = "linux")]

#[path = "ways.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

use common::{HOUR, Served, generation, in_halves, shell, until};
use sigward::reloading::{Contents, Options};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;
use support::{Scratch, if_apart, lives, own};

// ---- the table ----

type Way = (&'static str, fn(live: &Path, new: &Path, bytes: &[u8]));

const WITH_A_MAP: &str = "a map, and its descriptor closed before";

/// `new` has the bytes already, beside `live`.
const WAYS: &[Way] = &[
    ("rename over", |live, new, _| fs::rename(new, live).unwrap()),
    ("cp", |live, new, _| shell(r#"cp "$2" "$1""#, &[live, new])),
    ("cp --remove-destination", |live, new, _| {
        shell(r#"cp --remove-destination "$2" "$1""#, &[live, new]);
    }),
    ("install", |live, new, _| shell(r#"install -m 644 "$2" "$1""#, &[live, new])),
    ("install -C", |live, new, _| shell(r#"install -C -m 644 "$2" "$1""#, &[live, new])),
    ("ln -f", |live, new, _| shell(r#"ln -f "$2" "$1""#, &[live, new])),
    ("cat >", |live, new, _| shell(r#"cat "$2" > "$1""#, &[live, new])),
    ("tee", |live, new, _| shell(r#"tee "$1" < "$2" > /dev/null"#, &[live, new])),
    ("dd conv=notrunc, truncate", |live, new, bytes| {
        let script = r#"exec 3<>"$1"; dd if="$2" bs=7777 conv=notrunc >&3 2>/dev/null; truncate -s "$3" "$1""#;
        shell(script, &[live, new, Path::new(&bytes.len().to_string())]);
    }),
    ("as rsync does it", |live, new, bytes| {
        // A hidden name beside it, written in pieces, times and rights put back, renamed.
        let hidden =
            live.with_file_name(format!(".{}.Xq3ZfT", live.file_name().unwrap().to_str().unwrap()));
        let mut file = File::create(&hidden).unwrap();
        for piece in bytes.chunks(32 << 10) {
            file.write_all(piece).unwrap();
        }
        drop(file);
        shell(r#"touch -r "$2" "$1"; chmod --reference="$2" "$1""#, &[&hidden, new]);
        fs::rename(hidden, live).unwrap();
    }),
    ("as rsync --inplace does it", |live, _, bytes| {
        let mut file = File::options().write(true).open(live).unwrap();
        for piece in bytes.chunks(32 << 10) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        file.set_len(bytes.len() as u64).unwrap();
    }),
    ("as editors do it", |live, _, bytes| {
        // The old one moved away first: for a moment the name is not there.
        let kept = live.with_extension("kept");
        fs::rename(live, &kept).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(live, bytes).unwrap();
        fs::remove_file(kept).unwrap();
    }),
    ("cut, then written slowly", |live, _, bytes| {
        let mut file = File::options().write(true).truncate(true).open(live).unwrap();
        for piece in bytes.chunks(bytes.len() / 6) {
            std::thread::sleep(Duration::from_millis(30));
            file.write_all(piece).unwrap();
        }
    }),
    ("renamed over while it is being written", |live, _, bytes| {
        let early = live.with_extension("early");
        let mut file = File::create(&early).unwrap();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        file.write_all(first).unwrap();
        fs::rename(early, live).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        file.write_all(second).unwrap();
    }),
    ("two writers by turns", |live, _, bytes| {
        let open = || File::options().write(true).open(live).unwrap();
        let (mut one, mut other) = (open(), open());
        let (first, second) = bytes.split_at(bytes.len() / 2);
        one.write_all(first).unwrap();
        drop(one); // closed, and the file is not done
        std::thread::sleep(Duration::from_millis(40));
        other.seek(std::io::SeekFrom::Start(first.len() as u64)).unwrap();
        other.write_all(second).unwrap();
        other.set_len(bytes.len() as u64).unwrap();
    }),
    (WITH_A_MAP, |live, _, bytes| {
        let file = File::options().read(true).write(true).open(live).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED;
        // SAFETY: a new mapping of a file of this length.
        let map = unsafe {
            libc::mmap(std::ptr::null_mut(), bytes.len(), both, kind, file.as_raw_fd(), 0)
        };
        assert_ne!(map, libc::MAP_FAILED);
        drop(file);
        for (at, piece) in bytes.chunks(bytes.len() / 4 + 1).enumerate() {
            let to = map.cast::<u8>().wrapping_add(at * (bytes.len() / 4 + 1));
            // SAFETY: within the mapping.
            unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len()) };
            std::thread::sleep(Duration::from_millis(20));
        }
        // SAFETY: the mapping.
        unsafe { libc::munmap(map, bytes.len()) };
    }),
    ("through another name of the file", |live, _, bytes| {
        let elsewhere = live.parent().unwrap().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::hard_link(live, elsewhere.join("other")).unwrap();
        let mut file =
            File::options().write(true).truncate(true).open(elsewhere.join("other")).unwrap();
        for piece in bytes.chunks(32 << 10) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(file);
        fs::remove_dir_all(elsewhere).unwrap();
    }),
    ("the link exchanged", |live, new, bytes| {
        let target = new.with_extension(bytes.len().to_string());
        fs::rename(new, &target).unwrap();
        shell(r#"ln -sfn "$2" "$1""#, &[live, &target]);
    }),
    ("the link's target renamed over", |live, new, _| {
        fs::rename(new, fs::canonicalize(live).unwrap()).unwrap();
    }),
    ("removed, and made anew", |live, _, bytes| {
        fs::remove_file(live).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(live, bytes).unwrap();
    }),
    ("exchanged", |live, new, _| {
        let path = |path: &Path| std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let (live, new) = (path(live), path(new));
        let here = libc::AT_FDCWD;
        // SAFETY: two paths.
        let done = unsafe {
            libc::renameat2(here, live.as_ptr(), here, new.as_ptr(), libc::RENAME_EXCHANGE)
        };
        assert_eq!(done, 0);
    }),
    ("sed -i", |live, new, _| {
        fs::copy(new, live).unwrap();
        shell(r#"sed -i -e '' "$1""#, &[live]);
    }),
    ("the folder renamed, another in its place", |live, _, bytes| {
        let folder = live.parent().unwrap();
        let next = folder.with_extension("next");
        fs::create_dir(&next).unwrap();
        fs::write(next.join(live.file_name().unwrap()), bytes).unwrap();
        fs::rename(folder, folder.with_extension("old")).unwrap();
        fs::rename(next, folder).unwrap();
        fs::remove_dir_all(folder.with_extension("old")).unwrap();
    }),
    ("the folder removed and made anew", |live, _, bytes| {
        let folder = live.parent().unwrap();
        fs::remove_dir_all(folder).unwrap();
        fs::create_dir(folder).unwrap();
        fs::write(live, bytes).unwrap();
    }),
    ("the folder's folder renamed away and back, with another file", |live, _, bytes| {
        let above = live.parent().unwrap().parent().unwrap();
        let away = above.with_extension("away");
        fs::rename(above, &away).unwrap();
        let below = live.strip_prefix(above).unwrap();
        fs::write(away.join(below), bytes).unwrap();
        fs::rename(away, above).unwrap();
    }),
];

fn every_way(folder: &Path, but: &str) {
    let above = folder.join("above");
    fs::create_dir_all(above.join("folder")).unwrap();
    let live = above.join("folder/live");
    fs::write(&live, generation(1)).unwrap();
    // Two have the same watches: neither takes the events of the other, nor the watches with it.
    let open = || Served::open(Options::new().tick(HOUR), &live);
    let (served, mut twin) = (open(), open());
    let mut number = 1;
    for (how, way) in WAYS.iter().filter(|(how, _)| *how != but) {
        for _ in 0..2 {
            number += 1;
            let bytes = generation(number);
            let new = live.with_extension("new");
            fs::write(&new, &bytes).unwrap();
            way(&live, &new, &bytes);
            let _ = fs::remove_file(new);
            served.becomes(number, how);
            twin.becomes(number, how);
            assert!(served.file.get().settled, "{how}");
        }
        twin = open();
    }
    until("all is well", || served.file.last_error().is_none());
    until("watched", || served.file.status().watching && served.file.status().settled);
}

#[test]
fn every_way_of_updating_is_seen_whole() {
    lives("every_way_of_updating_is_seen_whole", |folder| every_way(folder, ""));
}

/// The folder comes in the midst of a look that ends before its file comes; and a new file has the
/// number, the size and the times of the old one.
#[test]
fn a_folder_that_is_made_anew_all_the_time_is_followed() {
    lives("a_folder_that_is_made_anew_all_the_time_is_followed", |folder| {
        let folder = folder.join("folder");
        let live = folder.join("live");
        let anew = |number| {
            let _ = fs::remove_dir_all(&folder);
            let odd = (number % 2) as u32;
            // A look comes 10 ms after what it is told of.
            std::thread::sleep(odd * Duration::from_micros(9_500 + number * 37 % 2000));
            fs::create_dir(&folder).unwrap();
            std::thread::sleep(odd * Duration::from_millis(2));
            fs::write(&live, generation(number)).unwrap();
        };
        anew(1);
        let open = || Served::open(Options::new().tick(HOUR), &live);
        let (served, mut twin) = (open(), open());
        for number in 2..200 {
            anew(number);
            twin.becomes(number, "the twin");
            served.becomes(number, "served");
            twin = open();
        }
    });
}

#[test]
fn on_an_overlay_every_way_of_updating_is_seen_whole() {
    const NAME: &str = "on_an_overlay_every_way_of_updating_is_seen_whole";
    if_apart(NAME, |folder| {
        if mounts(folder) {
            // A map of a file of an overlay is one of the file below: nobody knows of it up here.
            every_way(&overlay(folder, |_| ()), WITH_A_MAP);
        }
    });
    privileged(NAME);
}

// ---- mounts ----

/// A mount namespace of this thread's own, and of those that it starts: nothing is left over.
fn mounts(folder: &Path) -> bool {
    // SAFETY: a number.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        support::skip("mounts: needs root");
        return false;
    }
    shell(r#"mount --make-rprivate /; mount -t tmpfs none "$1""#, &[folder]);
    true
}

/// `before` fills the lower side.
fn overlay(folder: &Path, before: impl Fn(&Path)) -> std::path::PathBuf {
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    before(&folder.join("lower"));
    let script =
        r#"cd "$1"; mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged"#;
    shell(script, &[folder]);
    folder.join("merged")
}

fn privileged(name: &str) {
    let scratch = Scratch::new(name);
    let status = own(name, scratch.path()).status().unwrap();
    assert_eq!(status.code(), Some(0), "{name}: {status}");
}

fn ticking() -> Options<Contents> {
    Options::new().tick(Duration::from_millis(50)).settle(Duration::from_millis(1500))
}

#[test]
fn what_is_mounted_over_the_path_is_seen() {
    const NAME: &str = "what_is_mounted_over_the_path_is_seen";
    if_apart(NAME, |folder| {
        if !mounts(folder) {
            return;
        }
        let at = |name: &str| folder.join(name);
        for (name, number) in [("one", 1), ("two", 2), ("three", 3)] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), generation(number)).unwrap();
        }
        let live = at("one/file");
        let served = Served::open(ticking(), &live);
        shell(r#"mount --bind "$1" "$2""#, &[&at("two/file"), &live]);
        served.becomes(2, "a file mounted over the file");
        // As in a container: what the mount shows is written from outside, by its own name.
        in_halves(&at("two/file"), &generation(4));
        served.becomes(4, "written by another name of the mount");
        shell(r#"umount "$1""#, &[&live]);
        served.becomes(1, "taken away again");
        shell(r#"mount --bind "$1" "$2""#, &[&at("three"), &at("one")]);
        served.becomes(3, "a folder mounted over the folder");
        fs::write(at("three/next"), generation(5)).unwrap();
        fs::rename(at("three/next"), at("three/file")).unwrap();
        served.becomes(5, "renamed in the mounted folder");
        shell(r#"umount -l "$1""#, &[&at("one")]);
        served.becomes(1, "and away");
        until("watched", || served.file.status().watching);
    });
    privileged(NAME);
}

#[test]
fn an_overlay_and_what_lies_under_it() {
    const NAME: &str = "an_overlay_and_what_lies_under_it";
    if_apart(NAME, |folder| {
        if !mounts(folder) {
            return;
        }
        let merged = overlay(folder, |lower| fs::write(lower.join("file"), generation(1)).unwrap());
        let served = Served::open(ticking(), &merged.join("file"));
        // Behind the back of the mount, where neither events nor leases reach.
        in_halves(&folder.join("lower/file"), &generation(2));
        served.becomes(2, "the lower side");
        // The first write through the mount copies it up.
        in_halves(&merged.join("file"), &generation(3));
        served.becomes(3, "copied up");
        in_halves(&folder.join("upper/file"), &generation(4));
        served.becomes(4, "the upper side");
        fs::write(merged.join("next"), generation(5)).unwrap();
        fs::rename(merged.join("next"), merged.join("file")).unwrap();
        served.becomes(5, "renamed");
    });
    privileged(NAME);
}

#[test]
fn news_of_one_write_are_not_taken_for_those_of_the_next() {
    const NAME: &str = "news_of_one_write_are_not_taken_for_those_of_the_next";
    if_apart(NAME, |folder| {
        if !mounts(folder) {
            return;
        }
        let merged = overlay(folder, |_| ());
        let rounds = |name: &str| {
            let (above, below) = (merged.join(name), folder.join("upper").join(name));
            fs::write(&above, generation(1)).unwrap();
            // What nobody tells of has to rest for an hour.
            let served = Served::open(ticking().settle(HOUR), &above);
            for number in 2..80 {
                let mut file = File::create(&above).unwrap();
                file.write_all(&generation(number)).unwrap();
                // Its end comes in the midst of a look, in some of the rounds.
                std::thread::sleep(Duration::from_millis(number % 50));
                drop(file);
                served.becomes(number, "through the mount");
                fs::write(&below, &generation(number)[..80_000]).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
            served.becomes(79, "the last");
        };
        std::thread::scope(|scope| {
            for name in ["1", "2", "3", "4", "5", "6", "7", "8"] {
                scope.spawn(|| rounds(name));
            }
        });
    });
    privileged(NAME);
}
