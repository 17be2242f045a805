//! Real runtimes as hosts: each scenario runs *bare*, where it dies or is as the runtime's makers
//! meant it, and *warded*. A runtime that is not installed is skipped by name
//! (`tests/runtimes/setup` installs it), or fails its tests with `SIGWARD_REQUIRE_ALL=1`.

#[path = "../support/mod.rs"]
mod support;

#[path = "tools.rs"]
mod tools;

#[path = "two.rs"]
mod two;

#[path = "python.rs"]
mod python;

#[path = "python_map.rs"]
mod python_map;

#[path = "stores.rs"]
mod stores;

#[path = "node.rs"]
mod node;

#[path = "node_map.rs"]
mod node_map;

#[path = "jvm.rs"]
mod jvm;

#[path = "jvm_map.rs"]
mod jvm_map;

#[path = "rust.rs"]
mod rust;

#[path = "rust_map.rs"]
mod rust_map;

#[path = "curl.rs"]
mod curl;

#[path = "postgres.rs"]
mod postgres;

#[path = "at_once.rs"]
mod at_once;
