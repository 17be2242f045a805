//! `sigward log check` and `sigward log salvage`.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::report::{Output, grouped, shown};
use serde::Serialize;
use sigward::log::{self, Check, Error};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// What a log's file holds, as JSON has it.
#[derive(Debug, Serialize)]
struct Found<'a> {
    #[serde(serialize_with = "crate::report::lossy")]
    path: &'a Path,
    /// Where the whole records were copied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    salvaged_to: Option<Cow<'a, str>>,
    sound: bool,
    headers: u32,
    records: u64,
    end: u64,
    durable: u64,
    damaged: u64,
    first_damage: Option<u64>,
    lost: u64,
    torn: u64,
}

impl<'a> Found<'a> {
    fn of(path: &'a Path, salvaged_to: Option<&'a Path>, check: &Check) -> Self {
        let &Check { headers, records, end, durable, damaged, first_damage, lost, torn, .. } =
            check;
        let first_damage = (damaged > 0).then_some(first_damage);
        let sound = check.is_sound();
        let salvaged_to = salvaged_to.map(Path::to_string_lossy);
        Self {
            path,
            salvaged_to,
            sound,
            headers,
            records,
            end,
            durable,
            damaged,
            first_damage,
            lost,
            torn,
        }
    }

    fn exit(&self) -> Exit {
        if self.sound { Exit::Good } else { Exit::BadNews }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = shown(self.path);
        writeln!(out, "{path}: {}", if self.sound { "sound" } else { "damaged" })?;
        let [records, end, durable] = [self.records, self.end, self.durable].map(grouped);
        writeln!(out, "  whole records   {records}, up to byte {end}")?;
        writeln!(out, "  durable         up to byte {durable}")?;
        writeln!(out, "  header          {} of 2 copies good", self.headers)?;
        if let Some(first) = self.first_damage {
            let [places, lost, first] = [self.damaged, self.lost, first].map(grouped);
            writeln!(
                out,
                "  damage          {places} place(s), {lost} bytes, the first at byte {first}"
            )?;
        }
        if self.torn > 0 {
            let torn = grouped(self.torn);
            writeln!(
                out,
                "  torn tail       {torn} bytes that were being written; opening it drops them"
            )?;
        }
        match &self.salvaged_to {
            Some(to) => writeln!(out, "copied {records} records to {to}"),
            None if !self.sound => {
                writeln!(out, "to copy the whole records out: sigward log salvage {path} NEW")
            }
            None => Ok(()),
        }
    }
}

/// `sigward log check PATH`
pub fn check(path: &Path, output: Output) -> Result<Exit, Failure> {
    let found = log::check(path).map_err(|error| failure(path, &error))?;
    let found = Found::of(path, None, &found);
    output.print(&found)?;
    Ok(found.exit())
}

/// `sigward log salvage SRC DST`
pub fn salvage(source: &Path, destination: &Path, output: Output) -> Result<Exit, Failure> {
    let found = log::salvage(source, destination).map_err(|error| match error {
        Error::System { errno: libc::EEXIST, .. } => Failure::new(
            destination.display(),
            "there is a file already, and salvage writes over none: name another one",
        )
        .with_errno(libc::EEXIST),
        error => failure(source, &error),
    })?;
    let found = Found::of(source, Some(destination), &found);
    output.print(&found)?;
    Ok(found.exit())
}

fn failure(path: &Path, error: &Error) -> Failure {
    if let Error::System { errno, .. } = error {
        return Failure::of(path, &std::io::Error::from_raw_os_error(*errno));
    }
    let message = match error {
        Error::Damaged { .. } => {
            "both copies of the header are damaged, so no record can be told: restore the file from \
             elsewhere"
                .to_owned()
        }
        Error::Map(inner) if inner.errno_of_cause() == libc::ENODATA => {
            "empty: nobody has begun a log here".to_owned()
        }
        error => error.to_string(),
    };
    Failure::new(path.display(), message).with_errno(error.errno())
}
