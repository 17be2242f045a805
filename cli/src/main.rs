//! The command `sigward`: explains deaths by SIGPIPE and SIGBUS in any program, and has the habits
//! that avoid them as commands.
//!
//! Every subcommand makes a value that is both a text (`Display`) and a JSON object (`Serialize`);
//! [`report`] prints the one or the other. Exit codes are in [`exit`], and in the manual page.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod audit;
#[cfg(target_os = "linux")]
mod core;
#[cfg(target_os = "linux")]
mod cut;
#[cfg(target_os = "linux")]
mod exit;
#[cfg(target_os = "linux")]
mod explain;
#[cfg(target_os = "linux")]
mod failure;
#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod logs;
#[cfg(target_os = "linux")]
mod pages;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(target_os = "linux")]
mod registers;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod symbols;
#[cfg(target_os = "linux")]
mod waiting;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use args::{Command, LogCommand};
    use clap::Parser;
    use report::Output;

    let args = args::Args::parse();
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
        Command::Explain { core, program } => explain::explain(&core, program.as_deref(), output),
        Command::Watch(request) => {
            return watch::watch(&request, output).unwrap_or_else(|failure| failure.tell(output));
        }
        Command::Run(request) => {
            return run::run(request, output).unwrap_or_else(|failure| failure.tell(output));
        }
        Command::Generate { folder } => pages::generate(&folder),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => failure.tell(output),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("sigward: the command is for Linux only");
    std::process::exit(3);
}
