//! Which runtime a process has, from the files that it has mapped.

use crate::core::Core;
use crate::symbols::Program;
use object::read::ReadCacheOps;
use sigward::audit::outside::by_name;
use std::path::Path;

/// Go, JVM, CPython, Node or none of them.
pub fn of<R: ReadCacheOps>(core: &Core<'_, R>, program: Option<&Path>) -> Option<&'static str> {
    let named = core.files.iter().find_map(|file| by_name(file.path.file_name()?.to_str()?));
    // The executable is mapped first, unless it is loaded at random: then it is not far behind.
    named.or_else(|| {
        let first = program.or_else(|| core.files.first().map(|file| file.path.as_path()))?;
        Program::open(first)?.has_section(".go.buildinfo").then_some("Go")
    })
}
