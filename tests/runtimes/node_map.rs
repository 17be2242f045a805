//! A guarded map as an external `ArrayBuffer` of Node: bare, a truncation under any reader kills;
//! with us the bytes that are left come over, the status names the first lost one, and a refresh
//! heals.

use crate::node::node;
use crate::support::{Run, run_command};
use crate::tools::{Made, Scratch, Ward, build, source};
use std::process::Command;

fn run((node, headers): &(String, String), scenario: &str, ward: Ward) -> Run {
    let scratch = Scratch::new("node-map");
    // require() knows an add-on by its suffix.
    let addon = scratch.path().join("addon.node");
    std::fs::copy(build("addon_map", Made::Library, ward, &[headers]), &addon)
        .expect("scratch is writable");
    let mut command = Command::new(node);
    command.arg(source("host_map.js")).arg(scenario).arg(addon).arg(scratch.path());
    run_command(command)
}

#[test]
fn an_array_buffer_truncated_under_nodes_reads_kills_bare_and_is_a_status_with_us() {
    let Some(node) = node() else { return };
    // V8's own code, Node's C++, OpenSSL, the add-on's C, zlib on libuv's threads; on the main
    // thread and a worker.
    for reader in ["loop", "copy", "view", "hash", "sum", "zlib"] {
        for scenario in [reader.to_string(), format!("worker_{reader}")] {
            run(&node, &scenario, Ward::Bare).died_of(libc::SIGBUS);
            // The lowest lost byte, also for the reader that looks at the end alone.
            let warded = run(&node, &scenario, Ward::Archive);
            assert_eq!(
                warded.lived().out,
                "true truncated at 10000 of 10000\ntrue intact\n",
                "{scenario}"
            );
        }
    }
}
