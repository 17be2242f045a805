//! CPython: starts with SIGPIPE ignored; `signal.signal` changes that at any time, and
//! `faulthandler` chains.

use crate::support::{Run, SIGPIPE, run_command};
use crate::tools::{Made, Ward, build, first_line, need, same, shared_library, source};
use std::process::Command;

/// The interpreter itself: `python3` may be a shell script that looks for it.
pub fn python() -> Option<String> {
    need("python3", first_line("python3", &["-c", "import sys; print(sys.executable)"]))
}

fn run(python: &str, scenario: &str, ward: Ward) -> Run {
    let mut command = Command::new(python);
    command.arg(source("host.py")).arg(scenario).arg(build(
        "writer",
        Made::Library,
        Ward::Bare,
        &[],
    ));
    if ward == Ward::Archive {
        command.arg(shared_library());
    }
    run_command(command)
}

fn both(python: &str, scenario: &str) -> (Run, Run) {
    (run(python, scenario, Ward::Bare), run(python, scenario, Ward::Archive))
}

#[test]
fn with_sigpipe_at_its_default_a_foreign_write_kills_and_does_not_with_us() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "default");
    bare.died_of(SIGPIPE);
    assert_eq!(warded.lived().out, "foreign EPIPE EPIPE\npython BrokenPipeError\n");
    let (bare, warded) = both(&python, "kill");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

#[test]
fn as_python_starts_nothing_changes() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "ignored");
    same(&bare, &warded);
    assert!(bare.out.ends_with("foreign EPIPE EPIPE\npython BrokenPipeError\n"), "{bare:#?}");
}

#[test]
fn a_later_sig_dfl_is_mended_by_ensure_on_top() {
    let Some(python) = python() else { return };
    for seated in ["", "_seated"] {
        // `signal.signal` goes past us: so it kills until somebody mends it.
        let (bare, warded) = both(&python, &format!("overwritten{seated}"));
        bare.died_of(SIGPIPE);
        warded.died_of(SIGPIPE);
        let (bare, warded) = both(&python, &format!("overwritten_mended{seated}"));
        bare.died_of(SIGPIPE);
        let times = usize::from(!seated.is_empty());
        assert_eq!(warded.lived().out, format!("foreign EPIPE EPIPE\noverwritten {times}\n"));
    }
}

#[test]
fn pythons_own_handler_is_called_as_often_as_without_us() {
    let Some(python) = python() else { return };
    for scenario in ["handler_before", "handler_after", "handler_after_mended"] {
        let (bare, warded) = both(&python, scenario);
        same(&bare, &warded);
        assert!(!bare.out.ends_with("called 0\n"), "{bare:#?}");
    }
}

#[test]
fn faulthandler_reports_faults_before_and_after_us() {
    let Some(python) = python() else { return };
    for scenario in ["fault_before", "fault_after"] {
        let (bare, warded) = both(&python, scenario);
        for run in [&bare, &warded] {
            run.died_of(libc::SIGSEGV);
            assert!(run.err.starts_with("Fatal Python error: Segmentation fault"), "{run:#?}");
        }
        assert_eq!(warded.out, "foreign EPIPE EPIPE\n");
    }
}

#[test]
fn faulthandler_on_sigpipe_itself_ends_as_it_would_without_us() {
    let Some(python) = python() else { return };
    for when in ["before", "after", "above"] {
        for chain in ["chain", "alone"] {
            for beneath in ["default", "ignored", "handler"] {
                let scenario = format!("register_{when}_{chain}_{beneath}");
                let (bare, warded) = both(&python, &scenario);
                assert_eq!(
                    (bare.signal(), bare.status.code(), &bare.out),
                    (warded.signal(), warded.status.code(), &warded.out),
                    "{scenario}: bare {bare:#?}\nwarded {warded:#?}"
                );
            }
        }
    }
}

#[test]
fn children_of_subprocess_start_as_if_we_were_not_there() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "children");
    same(&bare, &warded);
    assert_eq!(bare.out.lines().count(), 16, "{bare:#?}");
}

#[test]
fn in_place_of_pythons_sig_ign_the_filter_swallows_and_children_start_with_the_default() {
    let Some(python) = python() else { return };
    let (bare, warded) = both(&python, "replaced");
    let writes = "foreign EPIPE EPIPE\npython BrokenPipeError\n";
    let of = |run: &Run| {
        run.lived().out.strip_prefix(writes).unwrap_or_else(|| panic!("{run:#?}")).to_string()
    };
    assert_eq!(of(&warded), run(&python, "normal", Ward::Bare).lived().out);
    assert_ne!(of(&warded), of(&bare), "Python's SIG_IGN reaches children");
}
