//! The event log: whether this build goes on with it at the next start.

use std::io::ErrorKind;
use std::path::Path;

use super::finding::{Finding, quoted};
use crate::causes;
use crate::log::{self, OpenError};

/// Refusals that say nothing of the log: who looks may not, or another check has said so.
const PASSING: [ErrorKind; 3] = [ErrorKind::PermissionDenied, ErrorKind::NotFound, ErrorKind::NotADirectory];

/// Reads the whole log, as far as there is one.
pub(super) fn examine(dir: &Path) -> Finding {
    if !dir.exists() {
        return none_yet();
    }
    let place = quoted(dir);
    let why = "the service does not start over it, so that nothing is lost unseen";
    let error = match log::verify(dir) {
        Ok(report) => {
            return Finding::ok(
                "log",
                format!("{} events, up to event {}, are whole", report.events, report.head),
            );
        }
        Err(OpenError::NoLog(_)) => return none_yet(),
        Err(error) => error,
    };
    match &error {
        // What is pruned while it is read was there a moment ago.
        OpenError::Io { source, .. } if !PASSING.contains(&source.kind()) => {
            Finding::fail("log", causes::chain(&error), why)
                .mend(format!("ls -l {place}; dmesg | tail   # has the disk failed?"))
        }
        OpenError::NoLog(_) | OpenError::Locked { .. } | OpenError::Io { .. } => {
            Finding::skip("log", format!("not looked at: {}", causes::chain(&error)))
        }
        OpenError::Unreadable { .. } | OpenError::NewerFormat { .. } => Finding::fail(
            "log",
            error.to_string(),
            why,
        )
        .mend(format!(
            "sandbox-pool --version   # older than what wrote it: install that build or a newer one; or move \
                 {place} away: containers are found again at PVE, without their history"
        )),
        OpenError::Damaged(damage) => Finding::fail("log", damage.to_string(), why).mend(format!(
            "sandbox-pool log repair --data-dir {place}   # saves what is whole; or restore a backup"
        )),
        OpenError::BehindSnapshot { head, seq, .. } => {
            let found =
                format!("ends with event {head}, and a snapshot was made of event {seq}: its end is lost");
            Finding::fail("log", found, why).mend(format!(
                "sandbox-pool log repair --data-dir {place}   # to go on without it; or restore a backup"
            ))
        }
        OpenError::NoBeginning { .. } => Finding::fail("log", error.to_string(), why)
            .mend(format!("ls -l {place}   # which files of a backup are missing?")),
    }
}

fn none_yet() -> Finding {
    Finding::ok("log", "none yet: the first start makes one")
}
