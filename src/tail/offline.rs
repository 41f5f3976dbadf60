//! The events in a log's files, also while a service writes them.

use std::ops::ControlFlow;
use std::path::Path;

use super::show::Printer;
use super::{EventType, Since, TailError, Wanted};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;
use crate::log;

/// Prints the events in the files of `dir`.
pub fn offline(dir: &Path, wanted: &Wanted, printer: &mut Printer<'_>) -> Result<(), TailError> {
    if wanted.follow {
        return Err(TailError::FilesDoNotFollow);
    }
    let (from, at) = match wanted.since {
        None => (Seq(0), None),
        Some(Since::Seq(seq)) => (seq, None),
        Some(Since::Time(at)) => (Seq(0), Some(at)),
    };
    let mut outcome = Ok(());
    log::read_all(dir, from, &mut |envelope| {
        if at.is_some_and(|at| envelope.at < at) || !is_wanted(&wanted.types, &envelope) {
            return ControlFlow::Continue(());
        }
        outcome = print(&envelope, printer);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome?;
    Ok(printer.flush()?)
}

fn is_wanted(types: &[EventType], envelope: &Envelope) -> bool {
    types.is_empty() || types.contains(&EventType(envelope.event.type_name()))
}

fn print(envelope: &Envelope, printer: &mut Printer<'_>) -> std::io::Result<()> {
    let json = serde_json::to_string(envelope)?;
    printer.event(&json)
}
