//! Follows the log with a cursor and shows what its events add up to.
//!
//! Counters are shown only once they have caught up with the head: half-counted ones would look like a reset.
//! What was counted is kept in a file beside the log, so that a start reads only what came after it, and so
//! that counters do not shrink when old segments are pruned. The file is disposable: without it, counting
//! begins anew at the oldest event that there is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::series::Registry;
use super::tally::{Spread, Tally, bounds};
use crate::domain::ids::{Seq, Vmid};
use crate::log::{ReadError, Reader};

/// Events read at once.
const PAGE: usize = 4096;

/// Changes when events are counted by other rules, so that old ones are counted again.
const RULES: u32 = 1;

/// The file's name.
const FILE: &str = "counted.json";

/// A cursor and what it has counted.
pub(super) struct Ledger {
    reader: Reader,
    path: PathBuf,
    tally: Tally,
    /// What the exporter has of it; nothing before the counters have caught up once.
    shown: Option<Tally>,
    /// How far the file is.
    saved: Seq,
}

/// How the file looks.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// Which log was counted.
    log_id: u32,
    /// What was counted, by which rules and in which buckets; if that is another now, all is counted anew.
    catalogue: u32,
    tally: Tally,
}

impl Ledger {
    /// Goes on where the file in `dir` ends.
    pub(super) fn open(reader: Reader, dir: &Path) -> Self {
        let path = dir.join(FILE);
        let tally = load(&path, &reader).unwrap_or_else(|why| {
            tracing::info!(why, "events are counted from the oldest on");
            Tally::beginning_behind(Seq(reader.oldest().0.saturating_sub(1)))
        });
        let saved = tally.head;
        Self { reader, path, tally, shown: None, saved }
    }

    /// Counts a page of events; says whether there may be more. It may read files.
    pub(super) fn count_page(&mut self) -> Result<bool, ReadError> {
        let records = match self.reader.read(self.tally.head, PAGE, Seq(u64::MAX)) {
            Ok(records) => records,
            Err(ReadError::Pruned { oldest }) => {
                tracing::warn!(from = self.tally.head.0, to = oldest.0, "events were pruned uncounted");
                self.tally.head = Seq(oldest.0.saturating_sub(1));
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        for record in &records {
            self.tally.apply(&record.envelope);
        }
        Ok(self.tally.head < self.reader.head())
    }

    /// Counts what is in memory: it waits for no disk.
    pub(super) fn count_recent(&mut self) {
        while self.shown.is_some() && self.reader.is_recent(self.tally.head) {
            match self.count_page() {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Templates that State knows have their series even before an event of theirs was counted.
    pub(super) fn meet(&mut self, templates: impl Iterator<Item = Vmid>) {
        templates.for_each(|template| self.tally.meet(template));
    }

    /// The tally so far.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Brings the exporter up to what was counted.
    pub(super) fn show(&mut self, registry: &Registry) {
        if self.shown.is_none() && self.tally.head < self.reader.head() {
            return;
        }
        for (series, count) in &self.tally.counters {
            registry.counter(&series.name, &series.values).absolute(*count);
        }
        for (series, spread) in &self.tally.spreads {
            let shown = self.shown.as_ref().and_then(|shown| shown.spreads.get(series));
            let histogram = registry.histogram(&series.name, &series.values);
            for (mean_seconds, count) in added(spread, shown) {
                histogram.record_many(mean_seconds, count);
            }
        }
        self.shown = Some(self.tally.clone());
    }

    /// Writes the file, if there is something new. It waits for the disk.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if self.saved == self.tally.head {
            return Ok(());
        }
        let saved = Saved { log_id: self.reader.log_id(), catalogue: catalogue(), tally: self.tally.clone() };
        let temporary = self.path.with_extension("json.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&saved)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        self.saved = self.tally.head;
        Ok(())
    }
}

/// The file's tally, or why it cannot be used.
fn load(path: &Path, reader: &Reader) -> Result<Tally, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    match () {
        () if saved.log_id != reader.log_id() => Err("the counts are of another log".to_owned()),
        () if saved.catalogue != catalogue() => Err("other metrics are counted now".to_owned()),
        () if saved.tally.head > reader.head() => Err("the counts are ahead of the log".to_owned()),
        () => Ok(saved.tally.completed()),
    }
}

/// A number that changes with what is counted, how, and in which buckets.
fn catalogue() -> u32 {
    let mut tally = Tally::default();
    tally.meet(Vmid(Vmid::LOWEST));
    let names: BTreeSet<_> = tally.counters.keys().chain(tally.spreads.keys()).map(|it| &it.name).collect();
    names
        .iter()
        .fold(RULES, |crc, name| crc32c::crc32c_append(crc, format!("{name} {:?}", bounds(name)).as_bytes()))
}

/// What came into each bucket, as so many times its mean: it adds up to the same buckets and the same sum.
fn added<'a>(now: &'a Spread, before: Option<&'a Spread>) -> impl Iterator<Item = (f64, usize)> + 'a {
    now.0.iter().enumerate().filter_map(move |(at, cell)| {
        let before = before.and_then(|before| before.0.get(at)).copied().unwrap_or_default();
        let count = cell.count - before.count;
        let mean_ms = (cell.sum_ms - before.sum_ms) as f64 / count as f64;
        (count > 0).then_some((mean_ms / 1000.0, usize::try_from(count).unwrap_or(usize::MAX)))
    })
}
