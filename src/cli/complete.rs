//! Completions and manual pages, made from the command line's own definition.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::say;

/// Completions of a shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Manual pages.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this directory, instead of the first one to standard output
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self, mut program: Command) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut program, "sandbox-pool", &mut text);
        say::write(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(super) fn run(self, program: Command) -> anyhow::Result<ExitCode> {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        if let Some(dir) = self.into {
            std::fs::create_dir_all(&dir).and_then(|()| write_pages(&program, &dir)).with_context(|| {
                format!(
                    "cannot write manual pages into {}; give a directory that can be written",
                    dir.display()
                )
            })?;
        } else {
            let mut text = Vec::new();
            page(&program).render(&mut text).context("cannot make the manual page")?;
            say::write(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Pages of a command and of those below it.
fn write_pages(command: &Command, dir: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands() {
        write_pages(below, dir)?;
    }
    page(command).generate_to(dir).map(drop)
}

/// A page says which build it is of. The date is left blank: an empty one would let the next word stand for it.
fn page(command: &Command) -> clap_mangen::Man {
    clap_mangen::Man::new(command.clone())
        .date(" ")
        .source(concat!("sandbox-pool ", env!("CARGO_PKG_VERSION")))
        .manual("sandbox-pool")
}
