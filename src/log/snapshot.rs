//! Snapshots of what is rebuilt from the log: they change only how fast a start is, never what it finds.
//!
//! One line of JSON, sealed like a record. A snapshot is used by the build that wrote it alone: another build
//! may fold the same events into another shape. Only where the log's beginning is pruned must any build's do.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::disk::{Disk, read_from, write_all_at};
use super::layout::snapshot_name;
use super::line::{self, hex, seal};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

const FORMAT: u32 = 1;

/// How many are kept.
pub(super) const KEPT: usize = 2;

/// What is rebuilt from the log: a fold over its events.
pub trait Projection: Default + Serialize + DeserializeOwned {
    /// The last event that was applied; 0 before the first.
    fn head(&self) -> Seq;

    /// Takes the next event in. It cannot fail: the event has happened.
    fn apply(&mut self, envelope: &Envelope);

    /// Called after a snapshot was read, to rebuild what is not in it.
    fn restored(&mut self) {}
}

/// A snapshot whose checksum is right, its state not yet looked at.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    format: u32,
    /// The log that it was made of.
    #[serde(with = "hex")]
    pub(super) log_id: u32,
    /// The last event in it, which ends a batch.
    pub(super) seq: Seq,
    /// That event's checksum.
    #[serde(with = "hex")]
    pub(super) record_crc: u32,
    /// Who wrote it.
    pub(super) build: String,
    state: Box<RawValue>,
}

impl Snapshot {
    /// Of a projection.
    pub(super) fn of<P: Projection>(
        projection: &P,
        log_id: u32,
        record_crc: u32,
        build: &str,
    ) -> serde_json::Result<Self> {
        let state = serde_json::value::to_raw_value(projection)?;
        Ok(Self {
            format: FORMAT,
            log_id,
            seq: projection.head(),
            record_crc,
            build: build.to_owned(),
            state,
        })
    }

    /// Reads the one behind `seq`, or says why it is worth nothing.
    pub(super) fn read(disk: &dyn Disk, seq: Seq) -> Result<Self, String> {
        let name = snapshot_name(seq);
        let bytes = disk
            .open(&name)
            .and_then(|file| read_from(file, 0, u64::MAX))
            .map_err(|error| error.to_string())?;
        let line = bytes.strip_suffix(b"\n").ok_or("it is not whole")?;
        line::checked(line, 0).map_err(|flaw| flaw.to_string())?;
        let snapshot: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match snapshot.format {
            FORMAT if snapshot.seq == seq => Ok(snapshot),
            FORMAT => Err("its name is another's".to_owned()),
            format => Err(format!("it has format {format}")),
        }
    }

    /// Writes it durably and puts it in its place.
    pub(super) fn write(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.pop();
        seal(&mut line, 0, 0);
        let name = snapshot_name(self.seq);
        let temporary = format!("{name}.tmp");
        let file = disk.create(&temporary)?;
        write_all_at(&*file, &line, 0)?;
        file.sync()?;
        disk.rename(&temporary, &name)?;
        disk.sync_dir()
    }

    /// The same for a log of another name.
    pub(super) fn with_log_id(self, log_id: u32) -> Self {
        Self { log_id, ..self }
    }

    /// What was saved, ready to go on.
    pub(super) fn restore<P: Projection>(&self) -> Result<P, String> {
        let mut projection: P = serde_json::from_str(self.state.get()).map_err(|error| error.to_string())?;
        projection.restored();
        if projection.head() == self.seq {
            Ok(projection)
        } else {
            Err("its state is of another event".to_owned())
        }
    }
}
