//! Real runtimes as hosts: each scenario runs *bare*, where it dies or is as the runtime's makers
//! meant it, and *warded*. A runtime that is not installed is skipped by name
//! (`tests/runtimes/setup` installs it), or fails its tests with `SIGWARD_REQUIRE_ALL=1`.

mod support;

#[path = "runtimes/tools.rs"]
mod tools;

#[path = "runtimes/two.rs"]
mod two;

#[path = "runtimes/python.rs"]
mod python;

#[path = "runtimes/python_map.rs"]
mod python_map;

#[path = "runtimes/stores.rs"]
mod stores;

#[path = "runtimes/node.rs"]
mod node;

#[path = "runtimes/node_map.rs"]
mod node_map;

#[path = "runtimes/jvm.rs"]
mod jvm;

#[path = "runtimes/jvm_map.rs"]
mod jvm_map;

#[path = "runtimes/rust.rs"]
mod rust;

#[path = "runtimes/rust_map.rs"]
mod rust_map;

#[path = "runtimes/curl.rs"]
mod curl;

#[path = "runtimes/postgres.rs"]
mod postgres;
