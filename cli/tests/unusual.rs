//! Processes and machines out of the ordinary: ten thousand threads, a hundred thousand mappings,
//! other users, namespaces, no /proc, ends in the middle. Each has a clear answer.

mod support;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Run, Scratch, attach, command, finish, is_traced_by, left_out_unless, ready, send};
use support::{ready_as, sigward, status, victim, wait_for};

/// Lives as long as the test.
struct Alive(Child);

impl Alive {
    fn start(arguments: &[&str]) -> Self {
        Self(ready(&victim("victim.c"), arguments))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn of(command: &str, pid: u32) -> Run {
    sigward(&[command, &pid.to_string()])
}

#[test]
fn ten_thousand_threads_are_looked_at_followed_and_left() {
    const MANY: usize = 10_001;
    let alive = Alive::start(&["threads", "10000"]);
    let pid = alive.pid();
    let made = status(pid, "Threads");
    if !left_out_unless(made == MANY.to_string(), "leave for ten thousand threads") {
        return;
    }
    let account = sigward(&["audit", "--json", &pid.to_string()]);
    assert_eq!((account.code, &account.json()["threads"]), (0, &MANY.into()));
    let explained = of("explain", pid);
    assert_eq!(explained.code, 0, "{explained:?}");
    let traced_by = |tracer: u32| {
        let task = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let tids = task.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        tids.filter(|tid| is_traced_by(*tid, tracer)).count()
    };
    let mut watcher = attach(pid);
    wait_for(|| (traced_by(watcher.id()) == MANY).then_some(()));
    send(watcher.id(), libc::SIGINT);
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
    let said = std::io::read_to_string(watcher.stderr.take().unwrap()).unwrap();
    assert!(said.contains("10001 threads"), "{said}");
    assert_eq!((traced_by(0), status(pid, "State").as_str()), (MANY, "S (sleeping)"));
}

/// The kernel's limit of mappings, higher until dropped if that may be; no other test changes the
/// machine's settings meanwhile.
struct Limit {
    before: Option<String>,
    _alone: Flock<File>,
}

impl Limit {
    const FILE: &str = "/proc/sys/vm/max_map_count";

    fn raise() -> Self {
        let everybodys = File::open(std::env::temp_dir()).unwrap();
        let alone = Flock::lock(everybodys, FlockArg::LockExclusive).unwrap();
        let before = std::fs::read_to_string(Self::FILE).unwrap();
        let is_low = before.trim().parse::<u32>().unwrap() < 300_000;
        let is_higher = is_low && std::fs::write(Self::FILE, "300000").is_ok();
        Self { before: is_higher.then_some(before), _alone: alone }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            std::fs::write(Self::FILE, before).unwrap();
        }
    }
}

#[test]
fn among_a_hundred_thousand_mappings_the_one_that_was_cut_is_found() {
    let scratch = Scratch::new("unusual-maps");
    let data = scratch.join("data");
    let limit = Limit::raise();
    let mut alive = Alive::start(&["maps", &data, "100000"]);
    drop(limit);
    let pid = alive.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines().count();
    println!("{maps} mappings");
    // As many as the kernel has by default, at least.
    assert!(maps > 65_000, "{maps}");
    let account = sigward(&["audit", "--json", &pid.to_string()]);
    assert_eq!(
        (account.code, &account.json()["findings"][0]["id"]),
        (1, &"map-beyond-file".into())
    );
    let prospect = of("explain", pid);
    assert!(prospect.code == 1 && prospect.out.contains(&data), "{prospect:?}");
    let mut start = command();
    start.args(["watch", "--json", &pid.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let watcher = start.spawn().unwrap();
    wait_for(|| is_traced_by(pid, watcher.id()).then_some(()));
    alive.0.stdin.take().unwrap().write_all(b"x").unwrap();
    alive.0.wait().unwrap();
    let told = String::from_utf8(watcher.wait_with_output().unwrap().stdout).unwrap();
    let place =
        serde_json::from_str::<Value>(told.lines().next().unwrap()).unwrap()["place"].clone();
    assert_eq!((&place["path"], &place["offset"]), (&data.into(), &81_925.into()), "{told}");
}

/// The command as another user, who may execute it from a folder that anybody may enter.
fn as_nobody(scratch: &Scratch, arguments: &[&str]) -> Run {
    let own = scratch.join("sigward");
    if !Path::new(&own).exists() {
        // By another program: a child of another test's may have it open for writing else.
        finish(Command::new("cp").args([env!("CARGO_BIN_EXE_sigward"), &own]));
        finish(Command::new("chmod").arg("755").arg(scratch.path()));
    }
    let user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    finish(Command::new("setpriv").args(user).arg(own).args(arguments))
}

#[test]
fn of_another_users_process_it_is_said_whose_it_is_and_what_is_missing() {
    let (alive, scratch) = (Alive::start(&["sleep"]), Scratch::new("unusual-user"));
    let pid = alive.pid().to_string();
    let account = as_nobody(&scratch, &["audit", &pid]);
    if !left_out_unless(account.code == 0, "leave to become another user") {
        return;
    }
    let whose = "it belongs to user 0: needs CAP_SYS_PTRACE, try sudo";
    assert!(
        account.out.contains("SIGPIPE    default") && account.out.contains(whose),
        "{account:?}"
    );
    let all = as_nobody(&scratch, &["audit", "--all"]);
    let row = all.out.lines().find(|line| line.starts_with(&format!("{pid} "))).unwrap();
    assert!(row.ends_with("(needs privilege)"), "{row}");
    let prospect = as_nobody(&scratch, &["explain", &pid]);
    assert!(prospect.code == 0 && prospect.out.contains(whose), "{prospect:?}");
    let watch = as_nobody(&scratch, &["watch", &pid]);
    assert!(
        watch.code == 3 && watch.err.contains(&format!("may not be traced: {whose}")),
        "{watch:?}"
    );
}

#[test]
fn of_a_program_with_privileges_it_is_said_that_they_are_left_out() {
    let scratch = Scratch::new("unusual-privileges");
    if !left_out_unless(
        as_nobody(&scratch, &["--version"]).code == 0,
        "leave to become another user",
    ) {
        return;
    }
    let capability = [0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (name, mode, privileges) in [
        ("user", "4755", "set-user-ID"),
        ("group", "2755", "set-group-ID"),
        ("file", "755", "given capabilities"),
        ("none", "755", ""),
    ] {
        let path = scratch.join(name);
        finish(Command::new("cp").arg(victim("victim.c")).arg(&path));
        finish(Command::new("chmod").args([mode, &path]));
        if name == "file" {
            let path = std::ffi::CString::new(path.as_str()).unwrap();
            let (name, value) = (c"security.capability", capability.as_ptr().cast());
            // SAFETY: terminated strings, and as many bytes as are said.
            let set =
                unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value, capability.len(), 0) };
            if !left_out_unless(set == 0, "file capabilities here") {
                continue;
            }
        }
        for (command, says) in
            [("watch", "and the kernel leaves"), ("run", "so nothing can be preloaded")]
        {
            let run = as_nobody(&scratch, &[command, "--", &path, "exit", "0"]);
            let said =
                run.err.contains(&format!("{path} is {privileges}")) && run.err.contains(says);
            assert_eq!(said, !privileges.is_empty(), "{run:?}");
        }
    }
}

/// A shell's script, as the first process of a new namespace of process numbers, or of mounts.
fn in_namespace(options: &[&str], script: &str, argument: &str) -> Command {
    let mut start = Command::new("unshare");
    start.args(options).args(["sh", "-c", script, env!("CARGO_BIN_EXE_sigward"), argument]);
    start
}

fn may_unshare() -> bool {
    let done = finish(&mut in_namespace(&["-pfm"], "exit 7", ""));
    left_out_unless(done.code == 7, "leave for namespaces")
}

#[test]
fn a_namespace_of_process_numbers_is_watched_from_outside_and_inside() {
    if !may_unshare() {
        return;
    }
    let victim = victim("victim.c");
    let victim = victim.to_str().unwrap();
    // The shell is number 1 there, and sends.
    let script = "\"$1\" sleep & read line; kill -TERM $!; wait; read line";
    let mut outer = ready_as(&mut in_namespace(&["-pf"], script, victim));
    let child = |pid: u32| -> Option<u32> {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.trim().parse().ok()
    };
    let first = child(outer.id()).unwrap();
    let inner = child(first).unwrap();
    assert_eq!(status(first, "NSpid").split_whitespace().nth(1), Some("1"));
    let account = of("audit", first);
    assert!(account.code == 0 && account.out.contains("SIGPIPE    init"), "{account:?}");
    let mut start = command();
    start
        .args(["watch", "--json", &inner.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let watcher = start.spawn().unwrap();
    wait_for(|| is_traced_by(inner, watcher.id()).then_some(()));
    outer.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let told = String::from_utf8(watcher.wait_with_output().unwrap().stdout).unwrap();
    let end: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((&end["pid"], &end["signal"]), (&inner.into(), &"SIGTERM".into()), "{end}");
    // Its number there is another process's here, whose name would be wrong.
    assert_eq!(end["of"]["sender"], serde_json::json!([1, null]), "{end}");
    outer.stdin.take();
    outer.wait().unwrap();

    let script = "\"$0\" watch -- \"$1\" pipe; echo $?; \"$0\" audit $$";
    let inside = finish(&mut in_namespace(&["-pf", "--mount-proc"], script, victim));
    assert!(inside.out.starts_with("141\nsh (pid 1)"), "{inside:?}");
    assert!(inside.err.contains("write to fd 17 (pipe:["), "{inside:?}");
}

#[test]
fn without_a_proc_of_its_own_namespace_nothing_is_claimed_and_nothing_started() {
    const ALL: &str = "for what in 'audit 1' 'audit --all' 'explain 1' 'watch 1' \
        'watch -- echo started'; do \"$0\" $what; echo $?; done";
    if !may_unshare() {
        return;
    }
    let without = format!("umount -l /proc && {ALL}");
    let empty = format!("mount -t tmpfs none /proc && {ALL}");
    let bare =
        finish(&mut in_namespace(&["-pfm", "--mount-proc"], "\"$0\" watch -- echo started", ""));
    assert_eq!((bare.code, bare.out.as_str()), (0, "started\n"), "{bare:?}");
    // The last is that of the namespace outside.
    for (options, script) in [("-m", without.as_str()), ("-m", &empty), ("-pf", ALL)] {
        let run = finish(&mut in_namespace(&[options], script, ""));
        assert_eq!(run.out, "3\n".repeat(5), "{run:?}");
        let said = "sigward: /proc: is not mounted here, or is that of another pid namespace";
        assert_eq!(run.err.matches(said).count(), 5, "{run:?}");
    }
}

#[test]
fn what_proc_hides_is_not_said_to_be_missing() {
    if !may_unshare() {
        return;
    }
    let scratch = Scratch::new("unusual-hidden");
    // Makes the copy of the command.
    let own = as_nobody(&scratch, &["--version"]);
    let script = "mount -t proc -o remount,hidepid=2 proc /proc || exit 9
        \"$1\" sleep &
        for what in audit explain watch; do
            setpriv --reuid=65534 --regid=65534 --clear-groups \"$OWN\" $what $!; echo $?
        done";
    let mut start =
        in_namespace(&["-pfm", "--mount-proc"], script, victim("victim.c").to_str().unwrap());
    let run = finish(start.env("OWN", scratch.join("sigward")));
    if !left_out_unless(run.code != 9, "leave to hide processes") {
        return;
    }
    assert_eq!((own.code, run.out.replace("ready\n", "").as_str()), (0, "3\n3\n3\n"), "{run:?}");
    assert_eq!(run.err.matches(": /proc does not show it to this user").count(), 3, "{run:?}");
}

/// Says so also where a test fails.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn processes_that_end_meanwhile_are_no_error_of_all_and_clear_alone() {
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = AtTheEnd(&ends);
        for _ in 0..2 {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    finish(&mut Command::new("true"));
                }
            });
        }
        for _ in 0..20 {
            let all = sigward(&["audit", "--all"]);
            assert!(matches!(all.code, 0 | 1) && all.err.is_empty(), "{all:?}");
            // It ends before, while or after it is looked for.
            let mut short = Command::new("true").spawn().unwrap();
            let pid = short.id().to_string();
            let watch = sigward(&["watch", &pid]);
            let fine = watch.code == 0 && watch.out.contains("ended with status 0");
            assert!(fine || watch.code == 3 && watch.err.contains("it has ended"), "{watch:?}");
            short.wait().unwrap();
            for command in ["watch", "audit", "explain"] {
                let gone = sigward(&[command, &pid]);
                assert!(gone.code == 3 && gone.err.contains("there is none"), "{gone:?}");
            }
        }
    });
    let mut zombie = Command::new("true").spawn().unwrap();
    wait_for(|| status(zombie.id(), "State").starts_with('Z').then_some(()));
    for command in ["watch", "audit"] {
        let run = of(command, zombie.id());
        assert!(
            run.code == 3 && run.err.contains("its parent has not asked for that yet"),
            "{run:?}"
        );
    }
    zombie.wait().unwrap();
}

#[test]
fn where_the_first_thread_has_ended_the_others_tell() {
    let scratch = Scratch::new("unusual-leader");
    let data = scratch.join("data");
    let mut alive = Alive::start(&["leaderless", &data]);
    let pid = alive.pid();
    wait_for(|| status(pid, "State").starts_with('Z').then_some(()));
    let other = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let other: Vec<u32> =
        other.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
    let other = *other.iter().find(|tid| **tid != pid).unwrap();
    // By the number of the thread that is left as well.
    for number in [pid, other] {
        let account = of("audit", number);
        assert!(account.code == 1 && account.out.contains(&format!("(pid {pid})")), "{account:?}");
        assert!(account.out.contains(&format!("map-beyond-file: {data}")), "{account:?}");
        let prospect = of("explain", number);
        assert!(prospect.code == 1 && prospect.out.contains(&format!("of {data}")), "{prospect:?}");
        let broken = prospect.out.contains("its reader is gone");
        assert!(broken || prospect.out.contains("may not be read"), "{prospect:?}");
    }
    let all = sigward(&["audit", "--all"]);
    let row = all.out.lines().find(|line| line.starts_with(&format!("{pid} ")));
    assert!(row.is_some_and(|row| row.contains("map-beyond-file")), "{all:?}");
    let mut start = command();
    start.args(["watch", &other.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let watcher = start.spawn().unwrap();
    wait_for(|| is_traced_by(other, watcher.id()).then_some(()));
    alive.0.stdin.take().unwrap().write_all(b"x").unwrap();
    let end = watcher.wait_with_output().unwrap();
    let told = String::from_utf8(end.stdout).unwrap();
    assert_eq!((end.status.code(), told.lines().count()), (Some(1), 2), "{told}");
    let died = format!("(pid {pid}) died of SIGPIPE: write to fd");
    assert!(told.lines().nth(1).is_some_and(|line| line.contains(&died)), "{told}");
}

#[test]
fn what_cannot_be_watched_is_not_started() {
    let own = env!("CARGO_BIN_EXE_sigward");
    let mut start = command();
    start.args(["watch", "--children", "--", own, "watch", "--", "echo", "started"]);
    let run = finish(&mut start);
    assert_eq!((run.code, run.out.as_str()), (3, ""), "{run:?}");
    assert!(run.err.contains("already, and one tracer is the most"), "{run:?}");
}
