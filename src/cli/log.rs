//! `sandbox-pool log`: the event log as it lies in its directory. It never writes into that directory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ulid::Ulid;

use super::place::{DataDir, unread};
use super::{say, table};
use crate::clock::{self, Clock};
use crate::domain::ids::Seq;
use crate::domain::state::State;
use crate::engine::Published;
use crate::http::views::PoolStatus;
use crate::log::{self, Look, Moment, OpenError, PastError, Redaction, RepairReport, VerifyReport};

/// Commands about the event log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read and check every byte of the log; exit code 1 if anything in it is not what was written.
    Verify(DataDir),
    /// Write what is whole of a damaged log into a new directory, and say what was left out.
    ///
    /// The damaged log stays as it is. The service is not needed for it and must not run on the new directory
    /// before it is done.
    Repair(Repair),
    /// Write the log without the metadata of an instance into a new directory, for whoever wants it forgotten.
    ///
    /// The service must be stopped. The instance's name stays: it is the container's hostname at PVE.
    Redact(Redact),
    /// Show the pool as it was right behind an event, or at an instant.
    Replay(Replay),
}

/// A repair.
#[derive(Debug, Args)]
pub struct Repair {
    #[command(flatten)]
    place: DataDir,
    /// New directory to write into [default: the data directory's name with -repaired behind it]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// An erasure.
#[derive(Debug, Args)]
pub struct Redact {
    #[command(flatten)]
    place: DataDir,
    /// Instance whose metadata is erased
    #[arg(long, value_name = "ID")]
    instance: String,
    /// New directory to write into [default: the data directory's name with -redacted behind it]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// A look back.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    place: DataDir,
    /// Number of an event, or an instant such as 2026-11-24T09:00:00Z
    #[arg(long, value_name = "SEQ|TIME")]
    at: Moment,
    /// Show it as GET /status?at=… answers it: JSON, on one line
    #[arg(long)]
    json: bool,
}

impl LogCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Verify(place) => verify(&place.find()?),
            Self::Repair(Repair { place, into }) => {
                let dir = place.find()?;
                let into = into.unwrap_or_else(|| beside(&dir, "repaired"));
                repair(&dir, &into)
            }
            Self::Redact(Redact { place, instance, into }) => {
                let dir = place.find()?;
                let into = into.unwrap_or_else(|| beside(&dir, "redacted"));
                redact(&dir, &into, &instance)
            }
            Self::Replay(replay) => replay.run(),
        }
    }
}

fn verify(dir: &Path) -> anyhow::Result<ExitCode> {
    match log::verify(dir) {
        Ok(report) => {
            say::line(&in_words(dir, &report))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ (OpenError::NoLog(_) | OpenError::Io { .. })) => Err(unread(error)),
        Err(error @ (OpenError::Unreadable { .. } | OpenError::NewerFormat { .. })) => {
            Err(error).with_context(|| format!("this build cannot read the log in {}", dir.display()))
        }
        Err(error) => Err(error).with_context(|| format!("the log in {} is not whole", dir.display())),
    }
}

/// What a log is, as a person wants to hear it.
fn in_words(dir: &Path, report: &VerifyReport) -> String {
    let VerifyReport { log_id, segments, oldest, head, events, .. } = report;
    let mut text = format!(
        "The log in {} is whole.\n  log        {log_id:08x}\n  events     {events}, from {oldest} to {head}\n  \
         segments   {segments}\n  snapshots  {}\n  ends       {}",
        dir.display(),
        list(&report.snapshots),
        if report.clean {
            "with a clean stop"
        } else {
            "without a clean stop: the service runs, or was killed"
        },
    );
    for bad in &report.bad_snapshots {
        let _ = write!(
            text,
            "\n\nA snapshot cannot be used: {bad}. It costs time at the next start, nothing else."
        );
    }
    if let Some(torn) = &report.torn {
        let _ = write!(
            text,
            "\n\n{} bytes at the end of {} (from byte {}) are a write that did not finish: {}. If the service \
             runs, it is in the middle of it; else the next start saves them aside and cuts them off. Nothing in \
             them was ever answered.",
            torn.bytes,
            torn.file.display(),
            torn.offset,
            torn.why
        );
    }
    text
}

fn list(seqs: &[Seq]) -> String {
    if seqs.is_empty() {
        return "none".to_owned();
    }
    seqs.iter().map(|seq| format!("behind {seq}")).collect::<Vec<_>>().join(", ")
}

fn repair(dir: &Path, into: &Path) -> anyhow::Result<ExitCode> {
    let log_id = clock::chance().u32(..);
    let report = log::repair(dir, into, log_id, env!("CARGO_PKG_VERSION")).with_context(|| {
        format!("nothing was repaired into {}; --into names another new directory", into.display())
    })?;
    say::line(&what_was_saved(dir, into, &report))?;
    Ok(ExitCode::SUCCESS)
}

/// What a repair did, and how to put it to use.
fn what_was_saved(dir: &Path, into: &Path, report: &RepairReport) -> String {
    let mut text = format!("{} events are in {}, up to event {}.", report.kept, into.display(), report.head);
    if let Some(seq) = report.snapshot {
        let _ = write!(text, " What was before them is in the snapshot of event {seq}.");
    }
    if report.left_out.is_empty() {
        text += "\nNothing was left out.";
    } else {
        text += "\nLeft out:";
    }
    for left in &report.left_out {
        let file = left.file.display();
        let _ = write!(text, "\n  {file}: {} bytes from byte {}: {}", left.bytes, left.offset, left.why);
    }
    let _ = write!(
        text,
        "\n\nThe repaired log has a new name, so that followers of the old one begin anew. What it lacks of \
         containers is found again at PVE.\n\nTo use it, with the service stopped:\n  mv {dir} {dir}-damaged && mv {into} {dir}\nand \
         give the files to the service's user: chown -R --reference={dir}-damaged {dir}",
        dir = dir.display(),
        into = into.display(),
    );
    text
}

fn redact(dir: &Path, into: &Path, instance: &str) -> anyhow::Result<ExitCode> {
    let (mut chance, at) = (clock::chance(), Clock::system().now());
    let redaction = Redaction {
        instance,
        forget: State::forget_metadata,
        log_id: chance.u32(..),
        id: Ulid::from_parts(u64::try_from(at.0).unwrap_or(0), chance.u128(..)),
        at,
        build: env!("CARGO_PKG_VERSION"),
    };
    let events = log::redact(dir, into, &redaction)
        .with_context(|| format!("nothing was written into {}", into.display()))?;
    log::verify(into).context("the new log is not whole; the old one is as it was")?;
    say::line(&format!(
        "{events} events had metadata of {instance}; the log without it is in {into}.\n\n\
         It has a new name, so that followers of the old one begin anew. To use it, with the service stopped:\n  \
         mv {dir} {dir}-old && mv {into} {dir}\n  chown -R --reference={dir}-old {dir}\n  rm -r {dir}-old\n\n\
         Copies elsewhere (backups, receivers of events and webhooks) still have it.",
        into = into.display(),
        dir = dir.display(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The default place of a log that is written anew.
fn beside(dir: &Path, what: &str) -> PathBuf {
    let name = dir.file_name().map_or_else(|| "log".into(), |name| name.to_string_lossy().into_owned());
    dir.with_file_name(format!("{name}-{what}"))
}

impl Replay {
    fn run(self) -> anyhow::Result<ExitCode> {
        let dir = self.place.find()?;
        let look = Look {
            moment: self.at,
            now: Clock::system().now(),
            head: Seq(u64::MAX),
            build: env!("CARGO_PKG_VERSION"),
            given_up: &|| false,
        };
        let past = log::replay_at::<State>(&dir, &look).map_err(|error| match error {
            PastError::Log(error) => unread(error),
            error => anyhow::Error::new(error)
                .context("the pool cannot be shown; `sandbox-pool log verify` says which events there are"),
        })?;
        let at = past.at;
        let status = PoolStatus::of(&Published::from(past), at);
        if self.json {
            say::json(&status)?;
        } else {
            let status = serde_json::to_value(&status).context("cannot write the state as JSON")?;
            say::line(&format!("The pool at {at}, behind event {}:\n", status["head"]))?;
            say::line(&table::status(&status))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
