//! `sigward explain` on cores that the kernel has written: C, Go, Rust, Python.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Run, Scratch, finish, have, missing_unless, sigward, victim};

/// The kernel writes cores into the process's folder; not where a program takes them (systemd).
fn kernel_writes_cores() -> bool {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let may = finish(Command::new("sh").args(["-c", "ulimit -c unlimited"])).code == 0;
    let what = "core files in the process's folder (core_pattern, ulimit -c)";
    missing_unless(may && pattern.starts_with("core"), what)
}

/// Runs a program that dies, and explains its core.
fn die_and_explain(scratch: &Scratch, program: &Path, arguments: &[&str], json: bool) -> Run {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]).arg(program).args(arguments);
    shell.current_dir(scratch.path()).env("GOTRACEBACK", "crash").stdin(Stdio::null());
    let died = finish(&mut shell);
    assert!(died.code > 128, "{died:?}");
    let core = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("core"))
        .unwrap_or_else(|| panic!("no core: {died:?}"));
    let mut arguments = vec!["explain", core.to_str().unwrap()];
    if json {
        arguments.push("--json");
    }
    sigward(&arguments)
}

#[test]
fn a_cut_file_in_c_is_named_with_offset_length_and_who_was_opening() {
    if !kernel_writes_cores() {
        return;
    }
    let (scratch, program) = (Scratch::new("core-c"), victim("victim.c"));
    let data = scratch.join("data");
    let run = die_and_explain(&scratch, &program, &["cut", &data], true);
    let found = run.json();
    assert_eq!(run.code, 0, "{run:?}");
    support::schema::check(&sigward(&["schema"]).json(), &run.out, &["core_explanation"]);
    assert_eq!((&found["signal"], &found["code"]), (&"SIGBUS".into(), &2.into()));
    let place = &found["place"];
    assert_eq!((&place["path"], &place["offset"]), (&data.as_str().into(), &81_925.into()));
    assert_eq!((&place["now"]["length"], &place["cause"]), (&0.into(), &"truncated".into()));
    assert!(found["thread"]["function"].as_str().unwrap().starts_with("cut+"), "{run:?}");
    assert_ne!(found["thread"]["tid"], found["pid"]);
    // The one thread waits for the other, and the third opens.
    let opening = found["changing"][0]["call"].as_str().unwrap();
    assert_eq!(opening, format!("openat({:?}, O_WRONLY)", format!("{data}.fifo")));
    assert_eq!(found["calls"]["futex"], 1, "{run:?}");

    // The file as it is now, not as it was.
    std::fs::write(&data, vec![1; 1 << 20]).unwrap();
    let core = found["core"].as_str().unwrap();
    let later = sigward(&["explain", core]);
    assert!(later.out.contains("it was cut and written again"), "{later:?}");
    std::fs::remove_file(&data).unwrap();
    let gone = sigward(&["explain", core]);
    assert!(gone.out.contains("the file is not there any more"), "{gone:?}");

    // An executable that is elsewhere now, one of another name, and none.
    let elsewhere = Scratch::new("core-elsewhere");
    let copy = elsewhere.join("victim-c");
    std::fs::copy(&program, &copy).unwrap();
    let note = "was not used";
    let run = sigward(&["explain", core, &copy]);
    assert!(run.out.contains("(cut+") && !run.out.contains(note), "{run:?}");
    let other = sigward(&["explain", core, &elsewhere.file("other", b"")]);
    assert!(other.code == 0 && other.out.contains(note), "{other:?}");
    let none = sigward(&["explain", core, &elsewhere.join("none")]);
    assert!(none.code == 3 && none.err.contains("look at the name"), "{none:?}");

    // Cut off behind its notes, and within them.
    let bytes = std::fs::read(core).unwrap();
    for (length, word) in
        [(bytes.len() / 2, "it is cut"), (100, "cut within its first bytes"), (3, "too short")]
    {
        let part = scratch.file("part", &bytes[..length]);
        let run = sigward(&["explain", &part]);
        assert!(format!("{}{}", run.out, run.err).contains(word), "{word}: {run:?}");
    }
    let program = sigward(&["explain", program.to_str().unwrap()]);
    assert!(program.code == 3 && program.err.contains("explain CORE PROGRAM"), "{program:?}");
}

#[test]
fn a_core_that_systemd_keeps_is_found_by_its_process_and_unpacked() {
    if !kernel_writes_cores() {
        return;
    }
    let (scratch, storage) = (Scratch::new("core-stored"), Scratch::new("core-storage"));
    let data = scratch.join("data");
    let run = die_and_explain(&scratch, &victim("victim.c"), &["cut", &data], true);
    let (found, folder) = (run.json(), storage.join(""));
    let by_number = || sigward(&["explain", "--storage", &folder, "999999999"]);
    assert!(by_number().err.contains("no core that systemd keeps"), "{:?}", by_number());
    let mut tried = 0_u64;
    for (tool, ending) in
        [("cat", ""), ("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst"), ("lz4", ".lz4")]
    {
        let name =
            format!("core.victim.0.0123.999999999.{}{ending}", 1_700_000_000_000_000 + tried);
        // An older one, and another process's.
        storage.file(&format!("core.victim.0.0123.999999999.{tried}.zst"), b"old");
        storage.file("core.victim.0.0123.99999999.9900000000000000", b"other");
        let to = std::fs::File::create(storage.join(&name)).unwrap();
        let from = std::fs::File::open(found["core"].as_str().unwrap()).unwrap();
        let option = if tool == "cat" { "-u" } else { "-c" };
        let Ok(packed) = Command::new(tool).arg(option).stdin(from).stdout(to).status() else {
            std::fs::remove_file(storage.join(&name)).unwrap();
            continue;
        };
        assert!(packed.success(), "{tool}");
        let run = by_number();
        assert_eq!(run.code, 0, "{tool}: {run:?}");
        assert!(run.out.contains(&format!("offset 81 925 of {data}")), "{tool}: {run:?}");
        tried += 1;
    }
    assert!(tried >= 2, "cat and gzip are everywhere");
    let broken = sigward(&["explain", &storage.file("broken", &[0x1f, 0x8b, 8, 0, 1])]);
    assert!(broken.code == 3 && broken.err.contains("is it whole?"), "{broken:?}");
    let mut without = support::command();
    let without = finish(without.env("PATH", "").args(["explain", &storage.join("broken")]));
    assert!(without.code == 3 && without.err.contains("compressed with gzip"), "{without:?}");
}

#[test]
fn go_that_has_aborted_is_said_to_have_lost_the_cause() {
    if !kernel_writes_cores() || !have("go") {
        return;
    }
    let scratch = Scratch::new("core-go");
    let run =
        die_and_explain(&scratch, &victim("victim.go"), &["cut", &scratch.join("data")], true);
    let found = run.json();
    assert_eq!(
        (run.code, &found["runtime"], &found["signal"]),
        (1, &"Go".into(), &"SIGABRT".into())
    );
    assert!(found["notes"][0].as_str().unwrap().contains("GOTRACEBACK=crash"), "{run:?}");
    assert!(found["threads"].as_u64().unwrap() > 1);
}

#[test]
fn names_of_rust_and_cpp_are_demangled() {
    if !kernel_writes_cores() {
        return;
    }
    for (source, function) in [
        ("victim.rs", "(victim::inner::look+"),
        ("victim.cpp", "(inner::look(unsigned char const*"),
    ] {
        let scratch = Scratch::new("core-mangled");
        let data = scratch.join("data");
        let run = die_and_explain(&scratch, &victim(source), &["cut", &data], false);
        assert_eq!(run.code, 0);
        assert!(run.out.contains(function), "{run:?}");
        assert!(run.out.contains(&format!("offset 81 925 of {data}")), "{run:?}");
        assert!(run.out.contains("the file was cut to 0 bytes"), "{run:?}");
    }
}

#[test]
fn python_is_explained_unless_faulthandler_has_raised_the_signal_again() {
    if !kernel_writes_cores() || !have("python3") {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/victims/victim.py");
    let python = finish(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
    let python = Path::new(python.out.trim());
    let scratch = Scratch::new("core-python");
    let data = scratch.join("data");
    let run = die_and_explain(&scratch, python, &[script, "cut", &data], true);
    let found = run.json();
    assert_eq!((run.code, &found["runtime"]), (0, &"CPython".into()), "{run:?}");
    assert_eq!(
        (&found["place"]["path"], &found["place"]["offset"]),
        (&data.into(), &81_925.into())
    );

    let scratch = Scratch::new("core-faulthandler");
    let arguments = [script, "cut", &scratch.join("data"), "faulthandler"];
    let run = die_and_explain(&scratch, python, &arguments, true);
    let found = run.json();
    assert_eq!((run.code, &found["place"]), (1, &serde_json::Value::Null), "{run:?}");
    assert!(found["notes"][0].as_str().unwrap().contains("faulthandler"), "{run:?}");
}

#[test]
fn no_function_is_told_of_a_program_that_is_another_one_now() {
    if !kernel_writes_cores() {
        return;
    }
    let (scratch, program) = (Scratch::new("core-replaced"), Scratch::new("core-program"));
    let own = program.join("victim");
    let copy = |from: &Path| {
        let done = finish(Command::new("cp").arg("--remove-destination").arg(from).arg(&own));
        assert_eq!(done.code, 0, "{done:?}");
    };
    copy(&victim("victim.c"));
    let ran = die_and_explain(&scratch, Path::new(&own), &["cut", &scratch.join("data")], true);
    let core = ran.json()["core"].as_str().unwrap().to_owned();
    assert!(ran.json()["thread"]["function"].as_str().unwrap().starts_with("cut+"), "{ran:?}");
    copy(&victim("storm.c"));
    let other = sigward(&["explain", &core]);
    let note = format!("{own} is not the file that ran: the function is not told");
    assert!(other.code == 0 && other.out.contains(&note), "{other:?}");
    assert_eq!(sigward(&["explain", "--json", &core]).json()["thread"]["function"], Value::Null);
    // The one that ran, elsewhere.
    let elsewhere = scratch.join("victim");
    finish(Command::new("cp").arg(victim("victim.c")).arg(&elsewhere));
    assert!(sigward(&["explain", &core, &elsewhere]).out.contains("(cut+0x"));
    // A FIFO in its place holds nobody.
    std::fs::remove_file(&elsewhere).unwrap();
    assert_eq!(finish(Command::new("mkfifo").arg(&elsewhere)).code, 0);
    let fifo = sigward(&["explain", &core, &elsewhere]);
    assert!(fifo.code == 3 && fifo.err.contains("no regular file"), "{fifo:?}");
}

#[test]
fn what_is_cut_32_bit_or_cannot_be_unpacked_is_said() {
    let scratch = Scratch::new("core-not");
    for (bytes, why) in [
        (&b"\x7fELF\x01\x01\x01"[..], "32-bit program"),
        (b"\x7fELF\x02\x01\x01", "cut within its first bytes"),
        (b"\x7fEL", "too short"),
        (b"#!/bin/sh", "not an ELF file"),
    ] {
        let run = sigward(&["explain", &scratch.file("core", bytes)]);
        assert!(run.code == 3 && run.err.contains(why), "{run:?}");
    }
    let mut start = support::command();
    start
        .args(["explain", &scratch.file("core.gz", b"\x1f\x8b\x08\x00")])
        .env("TMPDIR", "/nowhere");
    let run = finish(&mut start);
    assert!(run.code == 3 && run.err.contains("sigward: /nowhere: no place to unpack"), "{run:?}");
}
