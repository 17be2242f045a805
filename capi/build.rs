//! What cargo does not know about a C library: its SONAME, the versions of its symbols, what the
//! loader calls, and that it may never be unmapped.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// Names that were in the first version; a later one gets a node that inherits this one.
const VERSION: &str = "SIGWARD_0.1";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    match os.as_str() {
        "linux" | "freebsd" | "netbsd" | "openbsd" | "dragonfly" | "android" => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsigward.so.0");
            // The kernel keeps the address of our handlers: dlclose must not take them away.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
            if os == "linux" {
                version_symbols();
            }
            // Called when it is loaded: LD_PRELOAD with SIGWARD=filter. The static library has no
            // such thing.
            println!("cargo:rustc-cdylib-link-arg=-Wl,-init,sigward_preloaded");
        }
        "macos" | "ios" => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libsigward.0.dylib");
        }
        _ => {}
    }
}

/// Gives the exported names a version.
///
/// rustc lists them in a version script without a name, which no linker joins with a second one:
/// lld lets the first script win, GNU ld refuses. So the linker is called by way of a shell script
/// that writes the version's name into rustc's list. The compiler driver finds it as `ld.bfd` in
/// the folder that `-B` names.
fn version_symbols() {
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    let Some(linker) = lld().or_else(gnu_ld) else {
        println!("cargo:warning=no linker is known: the symbols of libsigward.so get no versions");
        return;
    };
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let script = out.join("ld.bfd");
    let text = format!(
        r#"#!/bin/sh
# Made by capi/build.rs.
for argument; do
    case $argument in
        --version-script=*) sed -i '1s/^{{/{VERSION} {{/' "${{argument#*=}}" ;;
    esac
done
exec '{}' "$@"
"#,
        linker.display()
    );
    std::fs::write(&script, text).expect("OUT_DIR is writable");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
        .expect("as is the file");
    println!("cargo:rustc-cdylib-link-arg=-B{}", out.display());
    println!("cargo:rustc-cdylib-link-arg=-fuse-ld=bfd");
}

/// The one that comes with rustc for some hosts.
fn lld() -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC")?;
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?.stdout;
    let sysroot = PathBuf::from(String::from_utf8(sysroot).ok()?.trim());
    let linker =
        sysroot.join("lib/rustlib").join(std::env::var_os("HOST")?).join("bin/gcc-ld/ld.lld");
    linker.exists().then_some(linker)
}

/// The compiler driver's own.
fn gnu_ld() -> Option<PathBuf> {
    let driver = std::env::var_os("RUSTC_LINKER").unwrap_or_else(|| "cc".into());
    let path = Command::new(driver).arg("-print-prog-name=ld").output().ok()?.stdout;
    let path = String::from_utf8(path).ok()?.trim().to_owned();
    (!path.is_empty()).then(|| path.into())
}
