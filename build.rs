//! With the feature `header`: makes the C headers from `src/ffi`, for `make header` to install and
//! for `tests/ffi/header.rs` to compare with the committed ones. Without it there is nothing to
//! build.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    headers();
}

#[cfg(feature = "header")]
fn headers() {
    for input in ["src/ffi", "src/observe", "src/sigbus/fault.rs", "cbindgen.toml"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let config = cbindgen::Config::from_file(format!("{root}/cbindgen.toml"))
        .expect("cbindgen.toml is readable");
    let mut own = config.clone();
    own.include_guard = Some("SIGWARD_GO_H".into());
    own.sys_includes = vec!["stddef.h".into(), "stdint.h".into()];
    own.after_includes = Some(
        "\n// What the Go package needs beside sigward.h. Not for applications: it may change at \
         any time.\n\ntypedef struct sigward_map sigward_map;"
            .into(),
    );
    own.trailer = None;
    own.export.include.clear();
    let public = [
        "ffi/policy",
        "ffi/quiet",
        "ffi/status",
        "ffi/audit",
        "ffi/rows",
        "ffi/observe",
        "ffi/watch",
        "ffi/io",
        "ffi/mapping",
        "ffi/sigbus",
        "ffi/adopted",
        "ffi/copy",
        "ffi/file",
        "ffi/lease",
        "ffi/log",
        "ffi/log_reader",
        "ffi/snapshot",
        "ffi/text",
        "observe/counters",
        "observe/event",
        "sigbus/fault",
    ];
    header("sigward.h", config, &root, &public);
    header("sigward_go.h", own, &root, &["ffi/runtime"]);
}

/// Makes one header, beside the other in a folder that `SIGWARD_HEADERS` names.
#[cfg(feature = "header")]
fn header(name: &str, config: cbindgen::Config, root: &str, sources: &[&str]) {
    let out = std::env::var("OUT_DIR").unwrap_or_else(|_| ".".into());
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(format!("{root}/src/{source}.rs"));
    }
    let mut text = Vec::new();
    builder.generate().expect("src/ffi has a C form").write(&mut text);
    let text = with_headings(std::str::from_utf8(&text).expect("cbindgen writes text"));
    std::fs::write(std::path::Path::new(&out).join(name), text).expect("OUT_DIR is writable");
    println!("cargo:rustc-env=SIGWARD_HEADERS={out}");
}

/// The sections of the manual, each by its first function.
#[cfg(feature = "header")]
const SECTIONS: [(&str, &str); 12] = [
    ("sigward_init", "the process's policy"),
    ("sigward_rows_save", "the dispositions of all signals"),
    ("sigward_read_counters", "counters and events"),
    ("sigward_write", "writers that cannot raise SIGPIPE, and the guard of a thread"),
    ("sigward_map_open", "guarded maps"),
    ("sigward_adopt_file", "mappings that others made"),
    ("sigward_try_copy", "the checked copy"),
    ("sigward_reserve", "files: reserved blocks, new contents at once"),
    ("sigward_lease_take", "leases"),
    ("sigward_log_open", "the append log"),
    ("sigward_snapshot", "snapshots"),
    ("sigward_version", "texts"),
];

/// Puts a line above the comment of each section's first function.
#[cfg(feature = "header")]
fn with_headings(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    for (function, title) in SECTIONS {
        let declares = |line: &String| {
            !line.starts_with(['/', '#', ' ']) && line.contains(&format!("{function}("))
        };
        let Some(found) = lines.iter().position(declares) else { continue };
        let comment =
            lines[..found].iter().rposition(|line| !line.starts_with("//")).map_or(0, |at| at + 1);
        lines.insert(comment, String::new());
        lines.insert(comment, format!("// ---- {title} {}", "-".repeat(90 - title.len())));
    }
    lines.join("\n") + "\n"
}
