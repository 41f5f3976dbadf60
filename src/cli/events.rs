//! `sandbox-pool events`: what happened and what happens, from a service that runs or from its files.

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::ask::{Service, converse};
use super::place::unread;
use crate::clock;
use crate::tail::{self, EventType, Printer, Since, TailError, Wanted};

/// Events to be shown.
#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    service: Service,
    /// Go on with those that are to come
    #[arg(short, long, conflicts_with = "data_dir")]
    follow: bool,
    /// Begin with this event, or with the first at this time or later
    /// [default: the oldest; the next one with --follow]
    #[arg(long, value_name = "SEQ|TIME")]
    since: Option<Since>,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<EventType>,
    /// Read the log in this directory instead of asking the service, whether one runs or not
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Events {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { service, follow, since, types, data_dir } = self;
        let wanted = Wanted { follow, since, types };
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let colour = io::stdout().is_terminal() && !is_set("NO_COLOR");
        let (mut out, mut remarks) = (BufWriter::new(io::stdout().lock()), io::stderr());
        let mut printer = Printer { out: &mut out, remarks: &mut remarks, json: service.json, colour };
        let shown = if let Some(dir) = data_dir {
            tail::offline(&dir, &wanted, &mut printer)
        } else {
            let (url, token) = service.place()?;
            let token = token.map(|token| token.expose().to_owned());
            let running = tail::Service::new(&url, token, clock::chance())?;
            converse(async { Ok(tail::online(running, &wanted, &mut printer).await) })?
        };
        match shown {
            // Whoever reads no further has what he wanted.
            Err(error) if error.is_closed_pipe() => Ok(ExitCode::SUCCESS),
            Err(TailError::Log(error)) => Err(unread(error)),
            shown => Ok(shown.map(|()| ExitCode::SUCCESS)?),
        }
    }
}
