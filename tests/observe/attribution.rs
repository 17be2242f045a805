//! Attribution is right or unknown, over every system call that raises SIGPIPE; and nothing is lost
//! in a storm.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::OnceLock;
use support::{Link, compiler, host, library, run, source, target};

/// Made once: another test may have it loaded.
fn caller() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(made_caller).clone()
}

fn made_caller() -> PathBuf {
    let library = target().join("hosts/libcaller.so");
    std::fs::create_dir_all(target().join("hosts")).unwrap();
    let built = compiler()
        .args(["-DBARE", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source("caller.c"))
        .status();
    assert!(built.unwrap().success());
    library
}

#[test]
fn the_call_the_descriptor_and_the_library_are_named_also_under_a_storm_of_lower_signals() {
    let (program, library) = (host("attribution", Link::Archive), caller());
    run(&program, &[library.to_str().unwrap(), "1"]).lived();
    run(&program, &[library.to_str().unwrap(), "500"]).lived();
}

#[test]
fn a_literal_in_the_segment_of_code_is_no_caller() {
    let program = target().join("hosts/one_segment");
    let caller = caller();
    let built = compiler()
        .arg("-Wl,-z,noseparate-code")
        .arg(source("one_segment.c"))
        .arg(library("release").join("libsigward.a"))
        .args(["-ldl", "-lm", "-o"])
        .arg(&program)
        .status();
    assert!(built.unwrap().success());
    run(&program, &[caller.to_str().unwrap()]).lived();
}

/// `cc ARGUMENTS -o target/hosts/NAME`, with strict warnings.
fn compiled(name: &str, arguments: &[&str]) -> std::path::PathBuf {
    let folder = target().join("hosts");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join(format!("{}-{name}", std::process::id()));
    let mut cc = compiler();
    cc.arg("-o").arg(&program);
    for argument in arguments {
        match argument.split_once('.') {
            Some((_, "c")) => cc.arg(source(argument)),
            _ => cc.arg(argument),
        };
    }
    assert!(cc.args(["-ldl", "-lm"]).status().unwrap().success(), "{name}");
    program
}

/// Runs `tests/observe/callers.c`; which of the ways to write have the right name, and which none.
fn named_by(program: &std::path::Path, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let run = run(program, arguments);
    let all = run.lived().out.lines();
    let (named, others): (Vec<&str>, Vec<&str>) = all.partition(|line| line.ends_with(": named"));
    assert!(others.iter().all(|line| line.ends_with(": unknown")), "{run:#?}");
    let ways = |lines: Vec<&str>| {
        lines.iter().map(|line| line[..line.find(',').unwrap()].to_string()).collect()
    };
    (ways(named), ways(others))
}

/// Whatever earlier calls have left on the stack, and whatever the compiler makes of a call.
#[test]
fn a_library_is_named_rightly_or_not_at_all() {
    let archive = library("release").join("libsigward.a");
    let archive = archive.to_str().unwrap();
    let host = compiled("callers", &["-O1", "callers.c", archive]);
    let in_one_segment =
        compiled("callers-one", &["-O1", "-Wl,-z,noseparate-code", "callers.c", archive]);
    let other = compiled("callers-other.so", &["-shared", "-fPIC", "callers_other.c"]);
    let flags: &[&[&str]] = &[
        &["-O0"],
        &["-O1", "-fno-omit-frame-pointer"],
        &["-O2", "-fomit-frame-pointer"],
        &["-O2", "-fno-plt"],
        &["-O2", "-Wl,-z,noseparate-code", "-Wl,-z,lazy"],
        &["-Os", "-Wl,-z,now"],
        if cfg!(target_arch = "x86_64") {
            &["-O2", "-fcf-protection=full"]
        } else {
            &["-O2", "-mbranch-protection=standard"]
        },
    ];
    for (number, flags) in flags.iter().enumerate() {
        let flags = [flags, &["-shared", "-fPIC", "callers_lib.c"][..]].concat();
        let library = compiled(&format!("callers-{number}.so"), &flags);
        let name = library.file_name().unwrap().to_str().unwrap();
        let programs = if number == 0 { &[&host, &in_one_segment][..] } else { &[&host] };
        for program in programs {
            let arguments = [name, library.to_str().unwrap(), other.to_str().unwrap()];
            let (named, unknown) = named_by(program, &arguments);
            println!("{flags:?}: unknown: {unknown:?}");
            for way in
                ["direct", "vector", "message", "pointer", "of_table", "of_dlsym", "by_helper"]
            {
                assert_eq!(
                    named.iter().filter(|named| *named == way).count(),
                    2,
                    "{flags:?}: {way}"
                );
            }
        }
    }
}

/// In a program that holds everything the write's own place tells.
#[test]
fn a_static_program_is_named_itself() {
    let archive = library("release").join("libsigward.a");
    let archive = archive.to_str().unwrap();
    for (name, flags) in [("static", &["-static"][..]), ("static-pie", &["-static-pie", "-fPIE"])] {
        let sources = ["-O2", "-DONE", "callers.c", "callers_lib.c", archive];
        let program = compiled(&format!("callers-{name}"), &[flags, &sources].concat());
        let own = program.file_name().unwrap().to_str().unwrap();
        let (named, unknown) = named_by(&program, &[own, "-", "-"]);
        assert!(named.len() == 24 && unknown.is_empty(), "{name}: {unknown:?}");
    }
    let sources = ["-O2", "-DONE", "callers.c", "callers_lib.c", archive];
    for (name, flag) in
        [("no-pie", "-no-pie"), ("pie", "-pie"), ("joined", "-Wl,-z,noseparate-code")]
    {
        let program =
            compiled(&format!("callers-{name}"), &[&[flag, "-fPIE"], &sources[..]].concat());
        let own = program.file_name().unwrap().to_str().unwrap();
        let (named, unknown) = named_by(&program, &[own, "-", "-"]);
        println!("{name}: unknown: {unknown:?}");
        for way in ["direct", "vector", "message", "of_table", "by_helper", "by_jump"] {
            assert_eq!(named.iter().filter(|named| *named == way).count(), 2, "{name}: {way}");
        }
    }
}

#[test]
fn a_million_signals_on_eight_threads_are_all_counted() {
    let run = run(&host("storm", Link::Archive), &[]);
    println!("{}", run.lived().out);
}
