//! The operator's side of the program: what is asked, looked at and mended from a terminal.
//!
//! Nothing here keeps a pool. The log is looked at as it lies in its directory, a running service is asked over
//! HTTP like by any other caller, and PVE is only ever read. Whatever fails says what to do next.

mod log;
mod place;
mod say;
mod table;

use std::process::ExitCode;

use clap::Subcommand;

pub use log::{LogCommand, Replay};
pub use place::{DataDir, EnvFile};

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub enum Operate {
    /// Check the event log, save what is whole of a damaged one, or show the pool as it was.
    ///
    /// Nothing in the data directory is ever changed, and all of it works while the service runs.
    #[command(subcommand)]
    Log(LogCommand),
}

impl Operate {
    /// Does it. `ConfigErrors` among the errors mean that a setting is wrong.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Log(command) => command.run(),
        }
    }
}
