//! What can go wrong with the log, sorted by what the caller may do about it.
//!
//! Every message says what, where, and the next step; the cause of a cause is in `source`, not in the text.

use std::io;
use std::path::PathBuf;

use crate::domain::event::DecodeError;
use crate::domain::ids::Seq;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The file ends within the line.
    #[error("the line does not end")]
    NoLineEnd,
    /// No checksum where one must be.
    #[error("the line does not end with a checksum")]
    NoChecksum,
    /// The line, or the one before it, is not what was written.
    #[error("checksum {stored:08x} is written, {computed:08x} is right")]
    Checksum {
        /// What stands there.
        stored: u32,
        /// What would fit the bytes and the record before.
        computed: u32,
    },
    /// The checksum is right, the line is not a record.
    #[error("not a record: {0}")]
    NotARecord(String),
    /// The checksum is right, the line is not a header.
    #[error("not a segment header: {0}")]
    NotAHeader(String),
    /// A record stands where another belongs.
    #[error("event {0} stands there")]
    Sequence(Seq),
    /// The file ends within a batch.
    #[error("the batch does not end")]
    BatchOpen,
    /// The file ends, and not with a torn record.
    #[error("the file ends")]
    Missing,
    /// The header does not continue the segment before it.
    #[error("the segment does not continue the one before it: a segment is missing or foreign")]
    Gap,
    /// The header is of another log, or of another file name.
    #[error("the segment's header does not fit its file name or the other segments")]
    Foreign,
}

/// Why a flaw is damage and not a torn write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Certain {
    /// Later segments exist, and a segment is durable before the next begins.
    #[error("the segment was complete")]
    Sealed,
    /// A segment's header is durable before its first record.
    #[error("the segment has records, so its header was complete")]
    HeaderOfRecords,
    /// A later record says that this place was durable.
    #[error("event {0} was written after this was durable")]
    LaterRecord(Seq),
    /// The file was written anew when it already had this place.
    #[error("everything up to event {0} was durable when the file was written")]
    Rewritten(Seq),
    /// Nothing is ever written behind a clean stop by the same process.
    #[error("the service had stopped cleanly before it")]
    BehindCleanStop,
    /// No append is so long.
    #[error("{0} bytes are more than one append can lose")]
    TooLong(u64),
}

/// A place in the log that is not what was written there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {offset} (line {line}), where event {seq} is expected: {flaw}; {certain}", file.display())]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// Where the bad line begins, in bytes.
    pub offset: u64,
    /// Its number, from 1.
    pub line: u64,
    /// The event that should stand there.
    pub seq: Seq,
    /// What is wrong.
    pub flaw: Flaw,
    /// Why it cannot be a torn write.
    pub certain: Certain,
}

/// The log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by {}", dir.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, if it says so.
        pid: Option<u32>,
    },
    /// The file system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The log is not what was written.
    #[error("{0}; to save what is whole, run `sandbox-pool log repair --data-dir {dir}`", dir = .0.file.parent().unwrap_or(&.0.file).display())]
    Damaged(Box<Damage>),
    /// An event that this build cannot read.
    #[error("cannot read event {seq} in {} at byte {offset}: build {build} wrote it, start that one or a newer", file.display())]
    Unreadable {
        /// The segment.
        file: PathBuf,
        /// Where its line begins, in bytes.
        offset: u64,
        /// The event.
        seq: Seq,
        /// The newest build that wrote into the segment.
        build: String,
        /// Why.
        source: DecodeError,
    },
    /// A file format that this build cannot read.
    #[error("{} has format {format}: build {build} wrote it, start that one or a newer", file.display())]
    NewerFormat {
        /// The segment.
        file: PathBuf,
        /// Its format.
        format: u32,
        /// The newest build that wrote into it.
        build: String,
    },
    /// A snapshot proves that durable events are missing.
    #[error(
        "the log ends with event {head}, but {} was made of event {seq}: the end of the log is lost; to go on \
         without it, run `sandbox-pool log repair --data-dir {}`",
        snapshot.display(), snapshot.parent().unwrap_or(snapshot).display()
    )]
    BehindSnapshot {
        /// The last event.
        head: Seq,
        /// The snapshot.
        snapshot: PathBuf,
        /// The snapshot's event.
        seq: Seq,
    },
    /// The first segments are pruned and no snapshot can stand for them.
    #[error(
        "the log begins with event {first} and no snapshot that fits stands for those before it; restore the snapshot from a backup"
    )]
    NoBeginning {
        /// The oldest event.
        first: Seq,
    },
    /// There is no log.
    #[error("there is no log in {}", .0.display())]
    NoLog(PathBuf),
}

/// The batches are not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Nothing was written, or it was cut off again: try again when there is space.
    #[error("cannot {doing} {}", path.display())]
    Write {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// It is not known what is durable; this writer takes nothing any more, the process must end.
    #[error("a sync of the log failed; only a restart shows what is durable")]
    SyncFailed,
    /// The batches do not continue the log: an error of the caller's, nothing was written.
    #[error("event {seq} does not continue the log: {why}")]
    Invalid {
        /// The first that does not.
        seq: Seq,
        /// Why.
        why: &'static str,
    },
    /// An event has no JSON: an error of the caller's, nothing was written.
    #[error("event {seq} cannot be written as JSON")]
    Encode {
        /// The event.
        seq: Seq,
        /// Why.
        source: serde_json::Error,
    },
}

/// A reader got nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What was asked for is pruned.
    #[error("the log begins with event {oldest}")]
    Pruned {
        /// The oldest event that is there.
        oldest: Seq,
    },
    /// The file system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The segment changed since it was verified.
    #[error("{} is damaged where event {seq} is expected; run `sandbox-pool log verify`", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// The event.
        seq: Seq,
    },
}
