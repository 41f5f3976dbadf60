//! The event log at start-up: opened, and what was found said.

use crate::clock::Stopwatch;
use crate::config::Config;
use crate::domain::event::Event;
use crate::domain::ids::Seq;
use crate::domain::state::State;
use crate::log::{self, Opened, Options, Reader};
use crate::metrics::Opening;

use super::RunError;

/// Opens the log of a configuration; `log_id` is for one that is new.
pub(super) async fn open_log(config: &Config, log_id: u32) -> Result<(Opened<State>, Opening), RunError> {
    let dir = config.data_dir.clone();
    let segment_bytes = config.log.segment_bytes;
    let opening = tokio::task::spawn_blocking(move || {
        let watch = Stopwatch::start();
        let options = Options { segment_bytes, ..Options::new(log_id, env!("CARGO_PKG_VERSION")) };
        let opened = log::open::<State>(&dir, options).map_err(|error| RunError::Log(dir.clone(), error))?;
        let report = &opened.report;
        tracing::info!(
            dir = %dir.display(),
            log_id = format!("{:08x}", report.log_id),
            head = report.head.0,
            replayed = report.replayed,
            clean = report.clean,
            took_ms = watch.elapsed().as_millis(),
            "the event log is open"
        );
        if let Some(torn) = &report.torn {
            tracing::error!(
                file = %torn.file.display(),
                offset = torn.offset,
                bytes = torn.bytes,
                why = torn.why,
                saved = torn.saved.as_ref().map(|path| path.display().to_string()),
                "a torn write at the end of the log was cut off; nothing in it was ever answered"
            );
        }
        let opening = Opening { took: watch.elapsed(), replayed: report.replayed };
        Ok((opened, opening))
    });
    match opening.await {
        Ok(opened) => opened,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Whether nobody ever looked at PVE in this log. One that has come far is not read for that.
pub(super) fn was_never_compared(reader: &Reader) -> bool {
    const BEGINNING: usize = 1000;
    let head = reader.head();
    if reader.oldest() > Seq(1) || head.0 > BEGINNING as u64 {
        return false;
    }
    let records = reader.read(Seq(0), BEGINNING, head).unwrap_or_default();
    !records.iter().any(|record| matches!(record.envelope.event, Event::Reconciled(_)))
}
