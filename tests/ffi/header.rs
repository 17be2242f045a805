//! The committed C header says what `src/ffi` says.

#[test]
#[cfg_attr(not(feature = "header"), ignore = "needs --features header,capi (make test has them)")]
fn the_header_has_not_drifted() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // Set by build.rs, for the library and its tests alike.
    let fresh = std::path::Path::new(option_env!("SIGWARD_HEADERS").unwrap_or_default());
    for name in ["sigward.h", "sigward_go.h"] {
        let fresh = std::fs::read_to_string(fresh.join(name)).expect("build.rs wrote it");
        for folder in ["include", "go"] {
            let committed =
                std::fs::read_to_string(root.join(folder).join(name)).expect("committed");
            assert!(committed == fresh, "{folder}/{name} has drifted: run `make header`");
        }
    }
}

#[test]
fn the_header_is_c99_and_cpp17() {
    let headers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    for language in [["c", "c99"], ["c++", "c++17"]] {
        let status =
            std::process::Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
                .args(["-x", language[0], &format!("-std={}", language[1])])
                .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
                .args([headers.join("sigward.h"), headers.join("sigward_go.h")])
                .status()
                .expect("a C compiler is installed");
        assert!(status.success(), "{language:?}");
    }
}
