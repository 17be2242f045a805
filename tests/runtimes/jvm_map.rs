//! A guarded map as a direct `ByteBuffer` of the JVM, beside HotSpot's own handling of SIGBUS and
//! SIGSEGV.
//!
//! HotSpot turns a SIGBUS under a buffer's `get` into an InternalError for "a recent unsafe memory
//! access": later than the read, with no place and no cause. In its own CRC32 and in native code it
//! knows nothing of it and dies. With us the bytes that are left come over, the status names the
//! first lost one, and a refresh heals. Java's own maps are not ours: their faults go on to
//! HotSpot.

use crate::jvm::{Java, java};
use crate::support::Run;
use crate::tools::{Scratch, Ward, text};
use std::path::Path;

/// How HotSpot runs the reads: interpreted, by C1, by C1 and C2.
const MODES: [&str; 3] = ["-Xint", "-XX:TieredStopAtLevel=1", "-XX:+TieredCompilation"];

fn run(java: &Java, scenario: &str, ward: Ward, preload: &[&Path], mode: &str) -> Run {
    let scratch = Scratch::new("jvm-map");
    let library = java.build("jvm_map", ward);
    let error_file = format!("-XX:ErrorFile={}/error", scratch.path().display());
    let options = [mode, "-XX:-CreateCoredumpOnCrash", &error_file];
    java.start(preload, &options, &["MapHost", scenario, text(&library), text(scratch.path())])
}

fn both(java: &Java, scenario: &str, preload: &[&Path], mode: &str) -> (Run, Run) {
    (
        run(java, scenario, Ward::Bare, preload, mode),
        run(java, scenario, Ward::Archive, preload, mode),
    )
}

/// HotSpot's report of a SIGBUS that it had no use for, after which it ends the process (with 1: no
/// core is wanted).
#[track_caller]
fn crashed(run: &Run) {
    let reported =
        run.out.contains("A fatal error has been detected") && run.out.contains("SIGBUS (0x7)");
    assert!(run.status.code() == Some(1) && reported, "{run:#?}");
}

const LOST: &str = "truncated at 10000 of 10000\n";

#[test]
fn a_buffer_truncated_under_javas_reads_is_an_internal_error_bare_and_a_status_with_us() {
    let Some(java) = java() else { return };
    for mode in MODES {
        let (bare, warded) = both(java, "reads", &[], mode);
        assert!(bare.lived().out.starts_with("bare\nInternalError\nbare\n"), "{mode} {bare:#?}");
        let expected =
            format!("intact\n10000 right 55536 zeros\n{LOST}65536 right 0 zeros, intact\n");
        assert_eq!(warded.lived().out, expected, "{mode}");
    }
}

#[test]
fn hotspots_crc32_and_native_code_crash_the_jvm_bare_and_read_on_with_us() {
    let Some(java) = java() else { return };
    for scenario in ["crc", "native"] {
        for mode in MODES {
            let (bare, warded) = both(java, scenario, &[], mode);
            crashed(&bare);
            assert_eq!(warded.lived().out, format!("true, {LOST}"), "{scenario} {mode}");
        }
    }
}

#[test]
fn javas_own_maps_get_their_internal_errors_by_the_thousands() {
    let Some(java) = java() else { return };
    for mode in MODES {
        let (bare, warded) = both(java, "own", &[], mode);
        for run in [&bare, &warded] {
            assert_eq!(run.lived().out, "own 5000\n", "{mode}");
        }
    }
}

#[test]
fn our_faults_and_hotspots_own_of_both_kinds_stay_apart() {
    let Some(java) = java() else { return };
    for mode in MODES {
        let warded = run(java, "together", Ward::Archive, &[], mode);
        assert_eq!(warded.lived().out, "own 5000 nulls 5000\n", "{mode}");
    }
}

#[test]
fn with_libjsig_hotspot_comes_first_and_thread_check_says_so() {
    let Some(java) = java() else { return };
    let libjsig = java.libjsig();
    let preload = [libjsig.as_path()];
    for mode in MODES {
        // What Java reads is HotSpot's business, as bare: never a silent zero, and a refresh heals.
        let (bare, warded) = both(java, "reads", &preload, mode);
        assert!(bare.lived().out.starts_with("bare\nInternalError\nbare\n"), "{mode} {bare:#?}");
        let expected =
            "intact\nInternalError\ntruncated at 10000 of 10000\n65536 right 0 zeros, intact\n";
        assert_eq!(warded.lived().out, expected, "{mode}");
    }
    let jit = MODES[2];
    // What would crash it comes on to us.
    for scenario in ["crc", "native"] {
        let (bare, warded) = both(java, scenario, &preload, jit);
        crashed(&bare);
        assert_eq!(warded.lived().out, format!("true, {LOST}"), "{scenario}");
    }
    let (bare, warded) = both(java, "own", &preload, jit);
    for run in [&bare, &warded] {
        assert_eq!(run.lived().out, "own 5000\n");
    }
    assert_eq!(run(java, "seat", Ward::Archive, &[], jit).lived().out, "seat 0\n");
    assert_eq!(run(java, "seat", Ward::Archive, &preload, jit).lived().out, "seat 2\n");
}
