//! The event log: append, recover, read from a cursor, snapshot. It is the only truth of the service.
//!
//! It owns the files of the data directory: `log-<first seq>.jsonl`, `snapshot-<seq>.json`, `torn-*.bin`,
//! `lock`. It never decides what an event means, never asks for the wall clock or for chance, and never
//! skips damage silently: what cannot be a torn write stops the start with its place.
//!
//! ## The file
//! Pure NDJSON. Line 1 of a segment is a header, every other line a record:
//!
//! ```text
//! {"format":1,"log_id":"0badcafe","first_seq":1,"prev_crc":"0badcafe","synced":0,"build":"0.1.0","crc":"…"}
//! {"seq":1,"id":"01…","at":"…","type":"…","v":1,"data":{…},"cause":7,"more":false,"synced":0,"crc":"…"}
//! ```
//!
//! - `crc` is the last field: CRC32C, 8 lower-case hex digits, of the line's bytes before `,"crc":`, seeded
//!   with the previous record's `crc`, over segments too. The first record of a log is seeded with the
//!   `log_id`, so that a record of another log does not fit. A header is seeded with 0.
//! - `cause` is left out when there is none; `more` always stands there, for the reader's sake.
//! - `synced` says up to which event everything was durable when the line was written.
//!
//! ## What is a torn write
//! One append is in flight at a time, and it may carry several batches. After a power cut any of its
//! 512-byte sectors may be missing, so that a whole batch may stand behind a hole. `synced` tells that from
//! damage: a record behind the bad place that says the bad place was durable before it was written is the
//! proof of damage, and the start is refused. Records of the same append say no such thing, and all that is
//! lost with them was never acknowledged. The proof needs no checksum: refusing is the safe side.
//! `torn.rs` has the other proofs (a rewritten segment's header, a clean stop, the size).

mod disk;
mod disk_memory;
mod error;
mod layout;
mod line;
mod lock;
mod offline;
mod open;
mod past;
mod reader;
mod redact;
mod repair;
mod snapshot;
mod torn;
mod walk;
mod writer;

#[cfg(test)]
mod tests;

pub use disk_memory::{MemoryDisk, Op};
pub use error::{AppendError, Certain, Damage, Flaw, OpenError, ReadError};
pub use offline::{VerifyReport, read_all, read_memory, verify};
pub use open::{Opened, Options, Report, SnapshotUse, SyncFailurePolicy, TornTail, open, open_memory};
pub use past::{InvalidMoment, Look, Moment, Past, PastError, replay_at};
pub use reader::{Reader, Record};
pub use redact::{RedactError, Redaction, redact};
pub use repair::{LeftOut, RepairReport, repair};
pub use snapshot::Projection;
pub use writer::{AppendStats, Retention, Sizes, Writer};
