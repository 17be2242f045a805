//! The command `sigward`: explains deaths by SIGPIPE and SIGBUS in any program, and has the habits
//! that avoid them as commands.
//!
//! Every subcommand makes a value that is both a text (`Display`) and a JSON object (`Serialize`);
//! [`report`] prints the one or the other. Exit codes are in [`exit`], and in the manual page.

#![cfg(target_os = "linux")]

mod args;
mod audit;
mod core;
mod cut;
mod descriptors;
mod exit;
mod explain;
mod failure;
mod files;
mod logs;
mod pages;
mod place;
mod proc;
mod refused;
mod registers;
mod report;
mod run;
mod signals;
mod symbols;
mod trace;
mod waiting;
mod watch;

use args::{Command, LogCommand};
use clap::Parser;
use report::Output;
use std::process::ExitCode;

/// What the JSON objects are.
const SCHEMA: &str = include_str!("../sigward.schema.json");

/// The command, with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    // For `make install` alone: completions name every command that clap knows, hidden or not.
    let words: Vec<_> = std::env::args_os().collect();
    if let [_, word, folder] = words.as_slice()
        && word == "generate"
    {
        return pages::generate(folder.as_ref())
            .map_or_else(|failure| failure.tell(Output { json: false }), Into::into);
    }
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        // A wrong command line, or what `--help` and `--version` say.
        Err(said) if said.use_stderr() => said.exit(),
        Err(said) => {
            let written = report::is_written(said.print());
            let plain = Output { json: false };
            return written
                .map_or_else(|failure| failure.tell(plain), |()| exit::Exit::Good.into());
        }
    };
    let output = Output { json: args.json };
    let done = match args.command {
        Command::Log(LogCommand::Check { path }) => logs::check(&path, output),
        Command::Log(LogCommand::Salvage { source, destination }) => {
            logs::salvage(&source, &destination, output)
        }
        Command::Replace(request) => files::replace(&request, output),
        Command::Reserve(request) => files::reserve(&request, output),
        Command::Audit(request) => audit::audit(&request, output),
        Command::Cut(request) => cut::cut(&request, output),
        Command::Explain(request) => explain::explain(&request, output),
        Command::Watch(request) => {
            return watch::watch(&request, output).unwrap_or_else(|failure| failure.tell(output));
        }
        Command::Run(request) => {
            return run::run(request, output).unwrap_or_else(|failure| failure.tell(output));
        }
        Command::Schema => report::print_text(SCHEMA).map(|()| exit::Exit::Good),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => failure.tell(output),
    }
}
