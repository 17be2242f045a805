//! Lines of /proc/self/maps: `cargo fuzz run maps_line corpus/maps_line seeds/maps_line`.
//! The suite has a short run from the same seeds (src/fuzzing.rs).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sigward::fuzzing::maps_line(data));
