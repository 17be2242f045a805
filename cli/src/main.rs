//! The command `sigward`, which is in the library of this crate.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    sigward_cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("sigward: the command is for Linux only");
    std::process::exit(3);
}
