//! Libraries that write our rows in the kernel's table: they are told of, mended, and nobody dies
//! meanwhile.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

fn dies_bare_and_lives(scenario: &str) {
    run(&prepared("late", Link::Bare), &[scenario]).died_of(SIGPIPE);
    run(&prepared("late", Link::Archive), &[scenario]).lived();
}

#[test]
fn a_row_that_signal_has_put_back_still_works() {
    for scenario in ["flipped", "flipped_after_a_raise", "flipped_for_once", "in_part"] {
        dies_bare_and_lives(scenario);
    }
}

/// Bare it dies of its first write.
#[test]
fn a_flip_between_two_looks_takes_no_entry_and_no_signal_away() {
    let bare = run(&prepared("flips", Link::Bare), &["between_looks"]);
    let warded = run(&prepared("flips", Link::Archive), &["between_looks"]);
    assert_eq!(bare.died_of(SIGPIPE).out, "");
    assert_eq!(warded.died_of(SIGPIPE).out, "flipped\n");
}

#[test]
fn what_is_no_echo_still_ends_the_process() {
    run(&prepared("late", Link::Archive), &["flipped_and_killed"]).died_of(SIGPIPE);
}

#[test]
fn who_comes_late_is_told_of_and_mended() {
    run(&prepared("late", Link::Archive), &["late"]).lived();
}

/// `ld-linux.so program`: what the kernel calls the executable is the loader then.
#[test]
fn a_program_that_its_loader_has_started_does_not_pass_for_the_loader() {
    let host = prepared("late", Link::Archive);
    let name = host.file_name().and_then(|name| name.to_str()).expect("a plain name");
    assert_eq!(run(&host, &["says_owner"]).lived().out, format!("{name}\n"));
    let machine = if cfg!(target_arch = "x86_64") { "x86-64.so.2" } else { "aarch64.so.1" };
    let loaders = ["/lib64", "/lib"].map(|folder| format!("{folder}/ld-linux-{machine}"));
    let Some(loader) = loaders.iter().map(std::path::Path::new).find(|loader| loader.exists())
    else {
        return support::skip("no loader of glibc");
    };
    let host = host.to_str().expect("a plain path");
    assert_eq!(run(loader, &[host, "says_owner"]).lived().out, "the executable\n");
}

#[test]
fn on_request_an_ignored_signal_is_filtered_instead() {
    run(&prepared("late", Link::Archive), &["replaced_ignore"]).lived();
}

#[test]
fn a_handler_for_one_signal_that_is_installed_again_is_called_again() {
    for link in [Link::Bare, Link::Archive] {
        let run = run(&prepared("late", link), &["rearmed"]);
        run.died_of(SIGPIPE);
    }
}

#[test]
fn a_handler_may_jump_out_from_wherever_it_likes() {
    for link in [Link::Bare, Link::Archive] {
        run(&prepared("late", link), &["jumps_deeper"]).lived();
    }
}

#[test]
fn a_handler_above_may_drop_the_siginfo() {
    for link in [Link::Bare, Link::Archive] {
        run(&prepared("late", link), &["above_with_one_argument"]).lived();
    }
}

/// Where the kernel has not said who sent the signal, because our row had lost its flags.
#[test]
fn a_handler_beneath_is_told_who_sent_an_echo() {
    for link in [Link::Bare, Link::Archive] {
        run(&prepared("late", link), &["asks_beneath"]).lived();
    }
}

/// Before, the search for Go waited for the dynamic loader under our lock, or in it for ever.
#[test]
fn init_in_a_handler_that_interrupts_the_loader_does_not_wait_for_ever() {
    run(&prepared("late", Link::Archive), &["in_the_loader"]).lived();
}

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "the fault's frame is looked for on x86-64")]
fn a_fault_that_its_handler_raises_again_is_still_a_fault() {
    let bare = run(&prepared("late", Link::Bare), &["raised_again"]);
    let warded = run(&prepared("late", Link::Archive), &["raised_again"]);
    bare.died_of(libc::SIGBUS);
    warded.died_of(libc::SIGBUS);
    assert!(warded.out.contains("mended") && !bare.out.contains("mended"), "{warded:#?}");
}
