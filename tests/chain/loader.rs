//! Nothing of ours waits for the dynamic loader: not for its lock, and not for a list that it is
//! changing.

#[path = "../support/mod.rs"]
mod support;

use support::{Link, SIGPIPE, prepared, run};

#[test]
fn init_from_anywhere_takes_no_lock_of_the_loader() {
    for scenario in ["held", "forked"] {
        run(&prepared("loader", Link::Bare), &[scenario]).died_of(SIGPIPE);
        for link in [Link::Archive, Link::Shared, Link::Static] {
            println!("{scenario}, {link:?}");
            run(&prepared("loader", link), &[scenario]).lived();
        }
    }
}
