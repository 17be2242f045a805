//! Option structs of C: `cargo fuzz run options corpus/options seeds/options`.
//! The suite has a short run from the same seeds (src/fuzzing.rs).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sigward::fuzzing::options(data));
