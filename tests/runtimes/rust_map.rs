//! A user of memmap2 with a Rust `main`, its maps adopted. std's handler of SIGBUS beneath us sets
//! SIG_DFL and returns for what is no stack overflow: after a `kill -BUS` our seat must still be
//! there.

use crate::rust::host;
use crate::support::{Run, run};
use crate::tools::{Scratch, Ward, text};

const SIGBUS: i32 = libc::SIGBUS;
const LOST: &str = "true Truncated { len_now: 10000 } at 10000 by a read\n";

fn start(scenario: &str, ward: Ward) -> Run {
    let scratch = Scratch::new("rust-map");
    run(&host(ward, "map"), &[scenario, text(scratch.path())])
}

fn both(scenario: &str) -> (Run, Run) {
    (start(scenario, Ward::Bare), start(scenario, Ward::Archive))
}

#[test]
fn a_truncated_memmap2_kills_bare_and_is_a_status_that_heals_with_us() {
    let (bare, warded) = both("read");
    bare.died_of(SIGBUS);
    assert_eq!(warded.lived().out, format!("{LOST}true intact\n").repeat(3));
}

#[test]
fn eight_threads_read_what_is_left() {
    let (bare, warded) = both("threads");
    bare.died_of(SIGBUS);
    assert_eq!(warded.lived().out, LOST.replace("true", "8"));
}

#[test]
fn a_store_into_a_lost_page_goes_nowhere_and_is_told() {
    let (bare, warded) = both("write");
    bare.died_of(SIGBUS);
    assert_eq!(warded.lived().out, "10000 Truncated { len_now: 10000 } at 10000 by a write\n");
}

#[test]
fn our_seat_stands_after_a_kill_that_stds_handler_got() {
    let (bare, warded) = both("kill");
    assert_eq!(bare.died_of(SIGBUS).out, "lived\n");
    assert_eq!(warded.lived().out, format!("lived\n{LOST}"));
}

#[test]
fn a_second_kill_and_a_fault_of_nobodys_map_end_as_std_would_have_it() {
    for (scenario, said) in [("kill_twice", "lived\n"), ("another", "next: a death\n")] {
        let (bare, warded) = both(scenario);
        for run in [bare, warded] {
            assert_eq!(run.died_of(SIGBUS).out, said, "{scenario}");
        }
    }
}

#[test]
fn stack_overflows_keep_their_message() {
    let (bare, warded) = both("overflow");
    for run in [&bare, &warded] {
        assert!(run.died_of(libc::SIGABRT).err.contains("has overflowed its stack"), "{run:#?}");
    }
    assert_eq!(warded.out, LOST);
}

#[test]
fn when_we_leave_stds_handler_stands_where_it_stood() {
    let (bare, warded) = both("restore");
    for run in [bare, warded] {
        assert_eq!(run.died_of(SIGBUS).out, "true\n");
    }
}
