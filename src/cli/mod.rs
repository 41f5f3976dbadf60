//! The operator's side of the program: what is asked, looked at and mended from a terminal.
//!
//! Nothing here keeps a pool. The log is looked at as it lies in its directory, a running service is asked over
//! HTTP like by any other caller, and PVE is only ever read. Whatever fails says what to do next.

mod ask;
mod client;
mod complete;
pub mod doctor;
mod events;
mod explain;
mod log;
mod place;
mod say;
mod table;
mod wait;
mod warm;

use std::process::ExitCode;

use clap::{Command, Subcommand};

pub use ask::{Allocate, Leave, OfTemplate, Service, SetTemplate, Status, Template};
pub use complete::{Completions, Man};
pub use doctor::Doctor;
pub use events::Events;
pub use explain::Explain;
pub use log::{LogCommand, Redact, Repair, Replay};
pub use place::{DataDir, EnvFile};
pub use warm::Warm;

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub enum Operate {
    /// Check everything that the service stands on, and say how to mend what is not well.
    ///
    /// Nothing is changed, here or at PVE. Exit code 1 if the service cannot do its work as it is set up.
    Doctor(Box<Doctor>),
    /// Show the pool at a glance.
    Status(Status),
    /// Show the events, one a line: of a service that runs, or in the files of its log.
    Events(Events),
    /// Tell the story of an instance or a container: who asked, what it waited for, and why it is gone.
    Explain(Explain),
    /// Take a container out of the pool.
    Allocate(Allocate),
    /// Give a container back to the pool.
    Release(Leave),
    /// Destroy a container of the pool.
    Remove(Leave),
    /// Fill the pool of a template.
    Warm(Warm),
    /// Look at a template of the pool, and change what the pool does with it.
    #[command(subcommand)]
    Template(Template),
    /// Check the event log, save what is whole of a damaged one, erase metadata, or show the pool as it was.
    ///
    /// Nothing in the data directory is ever changed, and all but redact works while the service runs.
    #[command(subcommand)]
    Log(LogCommand),
    /// Write the completions of a shell to standard output.
    ///
    /// For bash: sandbox-pool completions bash > /etc/bash_completion.d/sandbox-pool
    Completions(Completions),
    /// Write the manual page to standard output, or one for each command into a directory.
    Man(Man),
}

impl Operate {
    /// Does it; `program` is the whole command line. `ConfigErrors` among the errors mean a wrong setting.
    pub fn run(self, program: fn() -> Command) -> anyhow::Result<ExitCode> {
        match self {
            Self::Doctor(doctor) => doctor.run(),
            Self::Status(status) => status.run(),
            Self::Events(events) => events.run(),
            Self::Explain(explain) => explain.run(),
            Self::Allocate(allocate) => allocate.run(),
            Self::Release(leave) => leave.release(),
            Self::Remove(leave) => leave.remove(),
            Self::Warm(warm) => warm.run(),
            Self::Template(command) => command.run(),
            Self::Log(command) => command.run(),
            Self::Completions(completions) => completions.run(program()),
            Self::Man(man) => man.run(program()),
        }
    }
}
