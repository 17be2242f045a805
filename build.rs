//! With the feature `header`: makes the C header from `src/ffi`, for `make header` to install and for
//! `tests/header.rs` to compare with the committed one. Without it there is nothing to build.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    header();
}

#[cfg(feature = "header")]
fn header() {
    for input in ["src/ffi", "src/observe", "src/mapping/fault.rs", "cbindgen.toml"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into());
    let out = std::env::var("OUT_DIR").unwrap_or_else(|_| ".".into());
    let path = std::path::Path::new(&out).join("sigward.h");
    let config =
        cbindgen::Config::from_file(format!("{root}/cbindgen.toml")).expect("cbindgen.toml is readable");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in [
        "policy", "rows", "observe", "io", "mapping", "adopted", "copy", "file", "lease", "log", "snapshot",
        "text", "runtime",
    ] {
        builder = builder.with_src(format!("{root}/src/ffi/{source}.rs"));
    }
    builder
        .with_src(format!("{root}/src/observe/counters.rs"))
        .with_src(format!("{root}/src/observe/event.rs"))
        .with_src(format!("{root}/src/mapping/fault.rs"))
        .generate()
        .expect("src/ffi has a C form")
        .write_to_file(&path);
    println!("cargo:rustc-env=SIGWARD_HEADER={}", path.display());
}
