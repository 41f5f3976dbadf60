//! Reading the log for webhooks: pages, the next event of a lane, and the event at an instant.
//!
//! What is not in memory is read on a thread for blocking work, so that a replay of old events does not hold
//! up those who wait.

use std::sync::Arc;

use super::endpoint::Endpoint;
use super::owners::Owners;
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{Lane, Seq, Vmid};
use crate::domain::time::Timestamp;
use crate::log::{ReadError, Reader, Record};

/// Events read at once.
const PAGE: usize = 256;

/// Which events a stream sends.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) endpoint: Arc<Endpoint>,
    /// Only these types; empty for all that the endpoint takes.
    pub(super) types: Arc<[String]>,
}

impl Wish {
    /// Whether an event is sent. Events come in order, of each container none left out.
    pub(super) async fn wants(
        &self,
        reader: &Reader,
        owners: &mut Owners,
        envelope: &Envelope,
    ) -> Result<bool, ReadError> {
        let event = &envelope.event;
        let template =
            if self.endpoint.asks_for_templates() { owners.template(reader, envelope).await? } else { None };
        let asked = self.types.is_empty() || self.types.iter().any(|name| name == event.type_name());
        Ok(asked && self.endpoint.wants(event, template))
    }
}

/// Events behind `after`, at most `limit` of them and not beyond `upto`.
pub(super) async fn page(
    reader: &Reader,
    after: Seq,
    limit: usize,
    upto: Seq,
) -> Result<Vec<Arc<Record>>, ReadError> {
    if reader.is_recent(after) {
        return reader.read(after, limit, upto);
    }
    let reader = reader.clone();
    match tokio::task::spawn_blocking(move || reader.read(after, limit, upto)).await {
        Ok(page) => page,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The first event of a lane from `from` up to `upto` that is wanted.
pub(super) async fn find(
    reader: &Reader,
    wish: &Wish,
    lane: &Lane,
    mut owners: Owners,
    from: Seq,
    upto: Seq,
) -> Result<Option<Arc<Record>>, ReadError> {
    let mut after = Seq(from.0.saturating_sub(1));
    loop {
        let page = match page(reader, after, PAGE, upto).await {
            Err(ReadError::Pruned { oldest }) => {
                after = Seq(oldest.0.saturating_sub(1)).max(after);
                continue;
            }
            page => page?,
        };
        let Some(last) = page.last().map(|record| record.envelope.seq) else { return Ok(None) };
        for record in page.iter().filter(|record| Lane::of(&record.envelope.event) == *lane) {
            if wish.wants(reader, &mut owners, &record.envelope).await? {
                return Ok(Some(Arc::clone(record)));
            }
        }
        after = last;
    }
}

/// The template of the container that had this VMID at an event, as an event before it says.
pub(super) async fn template_before(
    reader: &Reader,
    vmid: Vmid,
    seq: Seq,
) -> Result<Option<Vmid>, ReadError> {
    let mut upto = Seq(seq.0.saturating_sub(1));
    while upto >= reader.oldest() {
        let after = Seq(upto.0.saturating_sub(PAGE as u64)).max(Seq(reader.oldest().0.saturating_sub(1)));
        let page = match page(reader, after, PAGE, upto).await {
            // What was there a moment ago is kept no longer.
            Err(ReadError::Pruned { .. }) => return Ok(None),
            page => page?,
        };
        let mut its =
            page.iter().rev().map(|record| &record.envelope.event).filter(|it| it.vmid() == Some(vmid));
        if let Some(template) = its.find_map(Event::template) {
            return Ok(Some(template));
        }
        upto = after;
    }
    Ok(None)
}

/// When the event at a position was decided, if it is kept.
pub(super) async fn time_of(reader: &Reader, seq: Seq) -> Option<Timestamp> {
    let page = page(reader, Seq(seq.0.saturating_sub(1)), 1, seq).await.ok()?;
    page.first().map(|record| record.envelope.at)
}

/// The first event at or after an instant; the one behind the head if there is none. Reads files.
pub(super) fn seq_at(reader: &Reader, at: Timestamp) -> Result<Seq, ReadError> {
    let (mut low, mut high) = (reader.oldest(), reader.head().next());
    while low < high {
        let middle = Seq(low.0 + (high.0 - low.0) / 2);
        let record = reader.read(Seq(middle.0 - 1), 1, middle)?;
        if record.first().is_some_and(|record| record.envelope.at < at) {
            low = middle.next();
        } else {
            high = middle;
        }
    }
    Ok(low)
}
