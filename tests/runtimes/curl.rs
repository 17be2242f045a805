//! libcurl flips the process's disposition around its calls (`lib/sigpipe.h`), in several threads
//! at once.

use crate::support::{Run, SIGPIPE, run};
use crate::tools::{Made, Ward, build, need};
use std::process::Command;

/// Whether libcurl can be compiled against.
fn curl() -> bool {
    let header = "#include <curl/curl.h>\n";
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let check = format!("printf '{header}' | {cc} -fsyntax-only -x c -");
    let found = Command::new("sh")
        .args(["-c", &check])
        .output()
        .is_ok_and(|output| output.status.success());
    need("libcurl with its headers", found.then_some(())).is_some()
}

fn host(ward: Ward, arguments: [&str; 3]) -> Run {
    run(&build("curl", Made::Program, ward, &["-lcurl"]), &arguments)
}

/// `lost N, not mended N, overwritten N`
fn numbers(run: &Run) -> [usize; 3] {
    let mut numbers = run.out.trim().split(", ").map(|part| part.rsplit(' ').next()?.parse().ok());
    [(); 3].map(|()| numbers.next().flatten().unwrap_or_else(|| panic!("{run:#?}")))
}

#[test]
fn writes_beside_libcurl_kill_and_do_not_with_us() {
    if !curl() {
        return;
    }
    for signals in ["signal", "nosignal"] {
        for threads in ["1", "4"] {
            host(Ward::Bare, [signals, threads, "writers"]).died_of(SIGPIPE);
            host(Ward::Archive, [signals, threads, "writers"]).lived();
        }
    }
}

#[test]
fn our_seat_stands_after_one_thread_of_libcurl_and_after_many_with_nosignal() {
    if !curl() {
        return;
    }
    for (signals, threads) in [("signal", "1"), ("nosignal", "4")] {
        for writers in ["quiet", "writers"] {
            let warded = host(Ward::Archive, [signals, threads, writers]);
            assert_eq!(numbers(warded.lived()), [0, 0, 0], "{warded:#?}");
        }
    }
}

#[test]
fn libcurl_in_many_threads_loses_the_disposition_and_ensure_on_top_mends_it() {
    if !curl() {
        return;
    }
    // After 250 rounds of four: SIG_IGN stands in most of them, with us and without.
    let bare = host(Ward::Bare, ["signal", "4", "quiet"]);
    let [lost, not_mended, _] = numbers(bare.died_of(SIGPIPE));
    assert!(lost > 0 && lost == not_mended, "libcurl has mended its race: {bare:#?}");
    for writers in ["quiet", "writers"] {
        let warded = host(Ward::Archive, ["signal", "4", writers]);
        let [lost, not_mended, overwritten] = numbers(warded.lived());
        assert!(lost > 0, "{warded:#?}");
        assert_eq!(not_mended, 0, "{warded:#?}");
        assert_eq!(overwritten, lost, "{warded:#?}");
    }
}
