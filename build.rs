//! With the feature `header`: makes the C headers from `src/ffi`, for `make header` to install and for
//! `tests/header.rs` to compare with the committed ones. Without it there is nothing to build.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    headers();
}

#[cfg(feature = "header")]
fn headers() {
    for input in ["src/ffi", "src/observe", "src/mapping/fault.rs", "cbindgen.toml"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let config =
        cbindgen::Config::from_file(format!("{root}/cbindgen.toml")).expect("cbindgen.toml is readable");
    let mut own = config.clone();
    own.include_guard = Some("SIGWARD_GO_H".into());
    own.sys_includes = vec!["stddef.h".into()];
    own.after_includes = Some(
        "\n// What the Go package needs beside sigward.h. Not for applications: it may change at any time."
            .into(),
    );
    own.trailer = None;
    own.export.include.clear();
    let public = [
        "ffi/policy",
        "ffi/quiet",
        "ffi/status",
        "ffi/rows",
        "ffi/observe",
        "ffi/io",
        "ffi/mapping",
        "ffi/adopted",
        "ffi/copy",
        "ffi/file",
        "ffi/lease",
        "ffi/log",
        "ffi/snapshot",
        "ffi/text",
        "observe/counters",
        "observe/event",
        "mapping/fault",
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
    builder.generate().expect("src/ffi has a C form").write_to_file(std::path::Path::new(&out).join(name));
    println!("cargo:rustc-env=SIGWARD_HEADERS={out}");
}
