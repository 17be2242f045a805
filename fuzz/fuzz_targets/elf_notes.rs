//! ELF notes: `cargo fuzz run elf_notes corpus/elf_notes seeds/elf_notes`.
//! The suite has a short run from the same seeds (src/fuzzing.rs).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sigward::fuzzing::elf_notes(data));
