//! What is in an executable or library.

use crate::failure::Failure;
use crate::report::{Output, shown};
use crate::symbols::Program;
use serde::{Serialize, Serializer};
use sigward::audit::{Finding, Severity};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
struct Binary<'a> {
    #[serde(serialize_with = "crate::report::lossy")]
    path: &'a Path,
    go: bool,
    rust: bool,
    /// Whether sigward is linked in.
    has_sigward: bool,
    /// Whether a loader loads it, so that LD_PRELOAD works.
    dynamic: bool,
    set_user_id: bool,
    /// How many functions run before `main`.
    constructors: u64,
    /// Sections with a compiler's intermediate code.
    bitcode: Vec<&'static str>,
    #[serde(serialize_with = "told")]
    findings: Vec<Finding>,
}

/// `sigward audit BINARY`
pub fn audit(path: &Path, output: Output) -> Result<Option<Severity>, Failure> {
    let file = std::fs::metadata(path).map_err(|error| Failure::of(path, &error))?;
    let program = Program::open(path).filter(Program::is_elf);
    let program = program.ok_or_else(|| {
        Failure::new(path.display(), "no 64-bit ELF file: name a program, or a process")
    })?;
    let sections = [".llvmbc", ".llvmcmd", ".gnu.lto_.opts"];
    let bitcode: Vec<&str> =
        sections.into_iter().filter(|name| program.has_section(name)).collect();
    let go = program.has_section(".go.buildinfo");
    let rust = program.has_symbol("rust_eh_personality");
    let has_sigward = program.has_symbol("sigward_init");
    let mut findings = Vec::new();
    if !bitcode.is_empty() {
        findings.push(Finding::new(
            "bitcode",
            Severity::Info,
            format!("sections {}", bitcode.join(", ")),
            "a linker of another compiler version may refuse it: strip them, or build without LTO",
        ));
    }
    if go && rust && !has_sigward {
        findings.push(Finding::new(
            "sigpipe-foreign-threads",
            Severity::Warning,
            "a Go program with Rust in it, and nothing beneath Go".to_owned(),
            "a broken peer on a thread that Go did not make ends the program: import sigward",
        ));
    }
    let found = Binary {
        path,
        go,
        rust,
        has_sigward,
        dynamic: program.is_dynamic(),
        set_user_id: file.permissions().mode() & libc::S_ISUID != 0,
        constructors: program.section_size(".init_array") / 8,
        bitcode,
        findings,
    };
    output.print(&found)?;
    Ok(found.findings.iter().map(|finding| finding.severity).max())
}

fn told<S: Serializer>(findings: &[Finding], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        id: &'a str,
        severity: &'a str,
        evidence: &'a str,
        remedy: &'a str,
    }
    to.collect_seq(findings.iter().map(|Finding { id, severity, evidence, remedy, .. }| Told {
        id,
        severity: severity.word(),
        evidence,
        remedy,
    }))
}

impl fmt::Display for Binary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", shown(self.path))?;
        let mut line = |name: &str, yes: bool| {
            writeln!(out, "  {name:<12} {}", if yes { "yes" } else { "no" })
        };
        line("Go", self.go)?;
        line("Rust", self.rust)?;
        line("sigward", self.has_sigward)?;
        line("dynamic", self.dynamic)?;
        line("set-user-ID", self.set_user_id)?;
        writeln!(out, "  {:<12} {}", "constructors", self.constructors)?;
        if !self.dynamic || self.set_user_id {
            writeln!(
                out,
                "  {:<12} LD_PRELOAD does not work with it: link sigward, or `sigward watch`",
                "note"
            )?;
        }
        self.findings.iter().try_for_each(|finding| write!(out, "{finding}"))
    }
}
