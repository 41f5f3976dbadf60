//! Completions and manual pages, made from the command line's own definition.

use std::path::PathBuf;
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
        if let Some(dir) = self.into {
            std::fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(program, &dir))
                .with_context(|| {
                    format!(
                        "cannot write manual pages into {}; give a directory that can be written",
                        dir.display()
                    )
                })?;
        } else {
            let mut page = Vec::new();
            clap_mangen::Man::new(program).render(&mut page).context("cannot make the manual page")?;
            say::write(&page)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
