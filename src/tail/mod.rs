//! `sandbox-pool events`: the events for people and for pipes, from a service that runs or from its files.
//!
//! It only reads. From a service it takes pages for what there is and the stream for what comes; a broken stream is
//! gone on from where it was, so that a line is neither missing nor there twice.

mod offline;
mod online;
mod show;
pub mod sse;

#[cfg(test)]
mod tests;

use std::io;
use std::str::FromStr;

use crate::domain::event::Event;
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;
use crate::log::OpenError;

pub use offline::offline;
pub(crate) use online::is_this_machine;
pub use online::{Service, online};
pub use show::{Printer, harmless};

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Also those that are to come.
    pub follow: bool,
    /// Where to begin. Left out: with the oldest, or behind the newest if it follows.
    pub since: Option<Since>,
    /// Only these types; none for all.
    pub types: Vec<EventType>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With this event.
    Seq(Seq),
    /// With the first event at this time or later.
    Time(Timestamp),
}

/// A type of event that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType(&'static str);

/// Why there are no events, or no more.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The files cannot be read.
    #[error("cannot read the event log")]
    Log(#[from] OpenError),
    /// Files cannot be waited for.
    #[error("only a running service can be followed: leave out --data-dir, or --follow")]
    FilesDoNotFollow,
    /// No client can be made.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service does not answer.
    #[error("{url} does not answer: is it running? `systemctl status sandbox-pool`; another address: --url")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The service, or something before it, says no.
    #[error("{url} answers {status}: {detail}{}", said(.code.as_deref(), .next_step.as_deref()))]
    Refused {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The service's code for it, if it is the service that says so.
        code: Option<String>,
        /// The service's own words.
        detail: String,
        /// What to do, in the same.
        next_step: Option<String>,
    },
    /// What answers is not the service.
    #[error("{url} does not speak as sandbox-pool does: {what}")]
    NotOurs {
        /// What was asked.
        url: String,
        /// What it said.
        what: String,
    },
    /// Nothing came, not even a bookmark.
    #[error("nothing came from {url} for {seconds} s")]
    Silent {
        /// What was asked.
        url: String,
        /// For how long.
        seconds: u64,
    },
    /// Whoever reads the lines does not any more, or the disk is full.
    #[error("cannot write the events")]
    Output(#[from] io::Error),
}

/// ` (code). What to do`, as far as the service says it.
pub fn said(code: Option<&str>, next_step: Option<&str>) -> String {
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    code + &next_step.map(|next_step| format!(". {next_step}")).unwrap_or_default()
}

impl TailError {
    /// Whether it is only that nobody reads the lines any more, as behind `head`.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seq) = text.parse() {
            return Ok(Self::Seq(Seq(seq)));
        }
        let time = Timestamp::parse(text).map(Self::Time);
        time.ok_or("expected the position of an event, or a time such as 2026-11-24T09:00:00Z")
    }
}

impl FromStr for EventType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Event::TYPES.iter().find(|known| known.eq_ignore_ascii_case(text));
        known.map(|known| Self(known)).ok_or_else(|| format!("expected one of {}", Event::TYPES.join(", ")))
    }
}
