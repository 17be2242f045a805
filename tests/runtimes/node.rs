//! Node: starts with SIGPIPE ignored, `process.on('SIGPIPE')` takes it over, and its removal leaves
//! SIG_DFL.

use crate::support::{Run, SIGPIPE, run_command};
use crate::tools::{Made, Ward, build, first_line, need, same, source};
use std::path::Path;
use std::process::Command;

/// Node itself, and the flag that finds its headers.
pub fn node() -> Option<(String, String)> {
    let found = first_line("node", &["-p", "process.execPath"]).and_then(|node| {
        let bin = Path::new(&node).parent()?;
        let headers = bin.parent()?.join("include/node");
        headers.join("node_api.h").exists().then(|| (node, format!("-I{}", headers.display())))
    });
    need("Node with its headers", found)
}

fn run((node, headers): &(String, String), scenario: &str, ward: Ward) -> Run {
    let mut command = Command::new(node);
    command.arg(source("host.js")).arg(scenario).arg(build(
        "addon",
        Made::Library,
        ward,
        &[headers],
    ));
    run_command(command)
}

fn both(node: &(String, String), scenario: &str) -> (Run, Run) {
    (run(node, scenario, Ward::Bare), run(node, scenario, Ward::Archive))
}

#[test]
fn as_node_starts_nothing_changes() {
    let Some(node) = node() else { return };
    let (bare, warded) = both(&node, "ignored");
    same(&bare, &warded);
    assert!(bare.out.ends_with("\n64\n"), "{bare:#?}");
}

#[test]
fn a_listener_hears_as_many_as_without_us() {
    let Some(node) = node() else { return };
    for scenario in ["listener_before", "listener_after", "listener_after_mended"] {
        let (bare, warded) = both(&node, scenario);
        same(&bare, &warded);
        // libuv may merge what comes close together, but kill(2) and the echoes are 20 ms apart.
        let heard: usize =
            bare.out.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        assert!(heard >= 10, "{bare:#?}");
    }
}

#[test]
fn after_the_last_listener_has_gone_a_foreign_write_kills_and_does_not_with_us() {
    let Some(node) = node() else { return };
    for scenario in ["removed", "worker"] {
        let (bare, warded) = both(&node, scenario);
        bare.died_of(SIGPIPE);
        assert_eq!(warded.lived().out, "64\n");
    }
    let (bare, warded) = both(&node, "removed_kill");
    bare.died_of(SIGPIPE);
    warded.died_of(SIGPIPE);
}

#[test]
fn a_removal_that_passes_us_by_is_mended_by_ensure_on_top() {
    let Some(node) = node() else { return };
    for scenario in ["removed_late", "removed_over_us"] {
        // libuv writes SIG_DFL into the kernel's table, whoever stands there.
        let (bare, warded) = both(&node, scenario);
        bare.died_of(SIGPIPE);
        warded.died_of(SIGPIPE);
        let (bare, warded) = both(&node, &format!("{scenario}_mended"));
        bare.died_of(SIGPIPE);
        let overwritten = usize::from(scenario == "removed_over_us");
        let expected = format!("64 2 {overwritten}\n");
        assert!(warded.lived().out.starts_with(&expected), "{warded:#?}");
        assert_eq!(warded.out.contains("heard"), scenario == "removed_over_us", "{warded:#?}");
        assert!(!warded.out.contains("heard 0"), "{warded:#?}");
    }
}

#[test]
fn children_of_child_process_start_as_if_we_were_not_there() {
    let Some(node) = node() else { return };
    let (bare, warded) = both(&node, "children");
    same(&bare, &warded);
    assert_eq!(bare.out.lines().count(), 3, "{bare:#?}");
}

#[test]
fn in_place_of_nodes_sig_ign_the_filter_swallows() {
    let Some(node) = node() else { return };
    let (bare, warded) = both(&node, "replaced");
    // Node gives its own children the defaults itself; C code's inherit what it ignores.
    let bare = bare.lived().out.strip_prefix("64\n0\n");
    let warded = warded.lived().out.strip_prefix(&format!("64\n{SIGPIPE}\n"));
    assert!(bare.is_some() && bare == warded, "{bare:?} {warded:?}");
}
