//! Whether the service lives, and whether it can do its work.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::state::ServicePhase;
use crate::domain::time::Timestamp;
use crate::engine::Published;

/// Whether the service lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// healthy, or degraded while a part is not well.
    #[schema(example = "healthy")]
    pub status: &'static str,
    /// Now.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// Version of the program.
    pub version: String,
    /// What it stands on.
    pub parts: Parts,
}

/// What the service stands on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Parts {
    /// PVE.
    pub pve: PvePart,
    /// The event log.
    pub log: LogPart,
}

/// PVE.
#[derive(Debug, Serialize, ToSchema)]
pub struct PvePart {
    /// It answers.
    pub reachable: bool,
    /// Since when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// What the connection said, or PVE, if it does not show its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The event log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPart {
    /// It takes events.
    pub writable: bool,
    /// The last event.
    pub head: u64,
    /// Why it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the service can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// All checks hold.
    pub ready: bool,
    /// What was checked.
    pub checks: Checks,
}

/// What the service needs for its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    /// It was not told to stop.
    pub running: bool,
    /// PVE answers.
    pub pve_reachable: bool,
    /// The event log takes events.
    pub log_writable: bool,
    /// PVE was compared with the log since the start, and still lets itself be compared.
    pub reconciled: bool,
    /// Why PVE does not let itself be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_reason: Option<String>,
}

impl Health {
    /// As it is now.
    pub fn of(published: &Published, now: Timestamp) -> Self {
        let service = &published.state.service;
        let unreachable = service.pve_unreachable.as_ref();
        // An answer that refuses to show its containers is as good as none.
        let silent = service.reconcile_fault.as_ref().filter(|_| service.comparison_needs_a_person());
        let well = unreachable.is_none() && silent.is_none() && published.unwritable.is_none();
        Self {
            status: if well { "healthy" } else { "degraded" },
            timestamp: now,
            version: service.version.clone(),
            parts: Parts {
                pve: PvePart {
                    reachable: unreachable.is_none(),
                    since: unreachable.map(|(since, _)| *since),
                    reason: (unreachable.map(|(_, reason)| reason.clone()))
                        .or_else(|| silent.map(ToString::to_string)),
                },
                log: LogPart {
                    writable: published.unwritable.is_none(),
                    head: published.head.0,
                    reason: published.unwritable.clone(),
                },
            },
        }
    }
}

impl Readiness {
    /// As it is now.
    pub fn of(published: &Published) -> Self {
        let service = &published.state.service;
        let checks = Checks {
            running: service.phase == ServicePhase::Running,
            pve_reachable: published.state.pve_reachable(),
            log_writable: published.unwritable.is_none(),
            // What passes by itself takes nothing from what is known.
            reconciled: service.reconciled && !service.comparison_needs_a_person(),
            reconcile_reason: service.reconcile_fault.as_ref().map(ToString::to_string),
        };
        let ready = checks.running && checks.pve_reachable && checks.log_writable && checks.reconciled;
        Self { ready, checks }
    }
}
