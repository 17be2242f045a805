//! The JVM: HotSpot has a handler for SIGPIPE that drops what nobody beneath it wants, so bare
//! writes live there as well. What is tested is that all stays so with us above it, beneath it, and
//! with libjsig between.

use crate::support::{Run, run_command};
use crate::tools::{Made, Ward, build, folder, need, same, shared_library, source, text};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub struct Java {
    home: PathBuf,
    classes: PathBuf,
}

/// The JDK, with Host.java and MapHost.java compiled.
pub fn java() -> Option<&'static Java> {
    static JAVA: OnceLock<Option<Java>> = OnceLock::new();
    need("a JDK (java and javac, 17 or later)", JAVA.get_or_init(find).as_ref())
}

fn find() -> Option<Java> {
    let settings =
        Command::new("java").args(["-XshowSettings:properties", "-version"]).output().ok()?;
    let settings = String::from_utf8_lossy(&settings.stderr).into_owned();
    let home = settings.lines().find_map(|line| line.trim().strip_prefix("java.home = "))?;
    let home = PathBuf::from(home);
    if !home.join("include/jni.h").exists() {
        return None;
    }
    let classes = folder().join("classes");
    let mut javac = Command::new(home.join("bin/javac"));
    javac.arg("-d").arg(&classes).args([source("Host.java"), source("MapHost.java")]);
    let javac = javac.output().expect("javac starts");
    assert!(javac.status.success(), "{}", String::from_utf8_lossy(&javac.stderr));
    Some(Java { home, classes })
}

impl Java {
    pub fn libjsig(&self) -> PathBuf {
        self.home.join("lib/libjsig.so")
    }

    fn run(&self, scenario: &str, ward: Ward, preload: &[&Path], options: &[&str]) -> Run {
        let library = self.build("jvm", ward);
        self.start(preload, options, &["Host", scenario, text(&library)])
    }

    /// A native half, `tests/runtimes/NAME.c`.
    pub fn build(&self, name: &str, ward: Ward) -> PathBuf {
        let include = format!("-I{}", self.home.join("include").display());
        let system = format!("-I{}", self.home.join("include/linux").display());
        build(name, Made::Library, ward, &[&include, &system])
    }

    /// Runs a class with its arguments.
    pub fn start(&self, preload: &[&Path], options: &[&str], arguments: &[&str]) -> Run {
        let mut command = Command::new(self.home.join("bin/java"));
        if !preload.is_empty() {
            let preload: Vec<&str> = preload.iter().map(|file| text(file)).collect();
            command.env("LD_PRELOAD", preload.join(":"));
        }
        // No output that depends on the machine, and little memory.
        command.args(["-Xmx64m", "-Xshare:auto"]).args(options).arg("-cp").arg(&self.classes);
        command.args(arguments);
        run_command(command)
    }
}

#[test]
fn foreign_writes_return_epipe_and_hotspot_keeps_its_echoes() {
    let Some(java) = java() else { return };
    // HotSpot's handler stands there, and so it lives without us.
    let bare = java.run("writes", Ward::Bare, &[], &[]);
    assert_eq!(bare.lived().out, "libc 2 kernel 2\nlived\nbare\n");
    let warded = java.run("writes", Ward::Archive, &[], &[]);
    let expected =
        "libc 2 kernel 2\nlived\noutcome 4 seat 1 previous 2 swallowed 0 overwritten 0\n";
    assert_eq!(warded.lived().out, expected);
}

#[test]
fn beneath_libjsig_the_echoes_end_with_us_and_hotspot_stays_on_top() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    // libjsig says SIG_DFL where HotSpot's handler is: that must not be believed.
    let bare = java.run("writes", Ward::Bare, &[&libjsig], &[]);
    assert_eq!(bare.lived().out, "libc 0 kernel 2\nlived\nbare\n");
    let warded = java.run("writes", Ward::Archive, &[&libjsig], &[]);
    let expected =
        "libc 2 kernel 2\nlived\noutcome 3 seat 1 previous 1 swallowed 302 overwritten 0\n";
    assert_eq!(warded.lived().out, expected);
}

#[test]
fn before_the_jvm_starts_we_come_beneath_hotspot() {
    let Some(java) = java() else { return };
    let ours = shared_library();
    for preload in [&[ours.as_path()][..], &[&java.libjsig(), &ours]] {
        for ward in [Ward::Bare, Ward::Archive] {
            // With the archive too, there are two copies.
            let run = java.run("writes", ward, preload, &[]);
            assert!(run.lived().out.contains("\nlived\n"), "{run:#?}");
        }
    }
}

#[test]
fn a_kill_is_dropped_as_hotspot_drops_it() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    for preload in [&[][..], &[libjsig.as_path()]] {
        let bare = java.run("kill", Ward::Bare, preload, &[]);
        let warded = java.run("kill", Ward::Archive, preload, &[]);
        same(&bare, &warded);
    }
}

#[test]
fn a_kill_is_dropped_as_hotspot_drops_it_also_when_we_came_first() {
    let Some(java) = java() else { return };
    let bare = java.run("kill", Ward::Bare, &[], &[]);
    // Beneath alone, and with a second copy on top.
    for ward in [Ward::Bare, Ward::Archive] {
        same(&bare, &java.run("kill", ward, &[&shared_library()], &[]));
    }
}

#[test]
fn two_hundred_thousand_null_checks_work_amid_broken_pipes() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    for preload in [&[][..], &[libjsig.as_path()]] {
        // C1 alone raises a SIGSEGV for each; C2 would soon test for null before.
        for options in [&["-XX:TieredStopAtLevel=1"][..], &[]] {
            for ward in [Ward::Bare, Ward::Archive] {
                let run = java.run("nulls", ward, preload, options);
                assert_eq!(run.lived().out, "caught 200000\n", "{run:#?}");
            }
        }
    }
}

#[test]
fn the_jvms_own_check_of_handlers_warns_of_our_two_signals_and_is_silent_with_libjsig() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    let warnings = |run: &Run| -> Vec<String> {
        assert!(run.lived().out.contains("lived\n"), "{run:#?}");
        run.out.lines().filter(|line| line.starts_with("Warning:")).map(str::to_string).collect()
    };
    let check = ["-Xcheck:jni"];
    assert!(warnings(&java.run("writes", Ward::Bare, &[], &check)).is_empty());
    // The JVM looks from time to time, so a short run may end before it has warned.
    let warded = warnings(&java.run("writes", Ward::Archive, &[], &check));
    let ours = |line: &String| line.contains("SIGPIPE") || line.contains("SIGBUS");
    assert!(warded.iter().all(ours), "{warded:?}");
    assert!(warnings(&java.run("writes", Ward::Archive, &[&libjsig], &check)).is_empty());
}

#[test]
fn children_of_process_builder_start_as_if_we_were_not_there() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    for preload in [&[][..], &[libjsig.as_path()]] {
        let bare = java.run("children", Ward::Bare, preload, &[]);
        let warded = java.run("children", Ward::Archive, preload, &[]);
        same(&bare, &warded);
        assert_eq!(bare.out.lines().count(), 4, "{bare:#?}");
    }
}
