//! Events of inotify(7): `cargo fuzz run inotify corpus/inotify seeds/inotify`.
//! The suite has a short run from the same seeds (src/fuzzing.rs).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sigward::fuzzing::inotify(data));
