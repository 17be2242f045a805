//! Manual pages and completions, from the definitions that `--help` shows.

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::CommandFactory;
use clap_complete::{Shell, generate_to};
use std::path::Path;

/// `sigward generate FOLDER`: man1/sigward*.1, bash/sigward, zsh/_sigward, fish/sigward.fish.
pub fn generate(folder: &Path) -> Result<Exit, Failure> {
    write(folder).map_err(|error| Failure::of(folder, &error))?;
    Ok(Exit::Good)
}

fn write(folder: &Path) -> std::io::Result<()> {
    let make = |name: &str| {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).map(|()| folder)
    };
    let pages = make("man1")?;
    clap_mangen::generate_to(Args::command().disable_help_subcommand(true), &pages)?;
    for page in std::fs::read_dir(pages)? {
        let path = page?.path();
        std::fs::write(&path, titled(&std::fs::read_to_string(&path)?))?;
    }
    generate_to(Shell::Zsh, &mut Args::command(), "sigward", make("zsh")?)?;
    generate_to(Shell::Fish, &mut Args::command(), "sigward", make("fish")?)?;
    let bash = make("bash")?;
    // The name under which bash-completion looks for it.
    std::fs::rename(
        generate_to(Shell::Bash, &mut Args::command(), "sigward", &bash)?,
        bash.join("sigward"),
    )
}

/// A page with what stands below the options as a section of its title, its lines as they are.
fn titled(page: &str) -> String {
    let Some((start, extra)) = page.split_once(".SH EXTRA\n") else { return page.to_owned() };
    let Some((title, lines)) = extra.split_once(":\n") else { return page.to_owned() };
    let end = lines.find(".SH ").unwrap_or(lines.len());
    let (lines, rest) = lines.split_at(end);
    format!("{start}.SH {}\n.nf\n{lines}.fi\n{rest}", title.to_ascii_uppercase())
}
