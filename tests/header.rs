//! The committed C header says what `src/ffi` says.

#[test]
#[cfg_attr(not(feature = "header"), ignore = "needs --features header,capi (make test has them)")]
fn the_header_has_not_drifted() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // Set by build.rs, for the library and its tests alike.
    let fresh =
        option_env!("SIGWARD_HEADER").map(|path| std::fs::read_to_string(path).expect("build.rs wrote it"));
    for committed in ["include/sigward.h", "go/sigward.h"] {
        let committed_text = std::fs::read_to_string(root.join(committed)).expect("committed");
        assert_eq!(Some(committed_text), fresh, "{committed} has drifted: run `make header`");
    }
}

#[test]
fn the_header_is_c99_and_cpp17() {
    let header = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("include/sigward.h");
    for language in [["c", "c99"], ["c++", "c++17"]] {
        let status = std::process::Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".into()))
            .args(["-x", language[0], &format!("-std={}", language[1])])
            .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"])
            .arg(&header)
            .status()
            .expect("a C compiler is installed");
        assert!(status.success(), "{language:?}");
    }
}
