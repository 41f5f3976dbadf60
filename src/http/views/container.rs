//! A container as a row of a list, and with everything that is known of it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::event::{ClonePurpose, LeaveReason};
use crate::domain::state::{CloneStage, Container, Creating, HandOut, Holding, Phase};
use crate::domain::time::Timestamp;
use crate::engine::Published;
use crate::http::events::History;

/// Every state that a row may show.
pub const STATES: [&str; 6] = ["creating", "ready", "allocated", "releasing", "removing", "quarantined"];

/// A container as a row.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerRow {
    /// Its VMID.
    pub vmid: u32,
    /// Its hostname at PVE.
    pub hostname: String,
    /// creating, ready, allocated, releasing, removing or quarantined.
    #[schema(example = "ready")]
    pub state: &'static str,
    /// When its clone was started, or it was discovered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Who holds it, or held it until it began to leave; null if nobody.
    #[schema(required = true)]
    pub allocated_to: Option<String>,
    /// The node that it is on.
    pub node: String,
    /// Its template.
    pub template_vmid: u32,
    /// How many holders it had.
    pub uses: u32,
    /// Seconds since it was created.
    pub age_seconds: u64,
    /// The allocation that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// When it is released by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Why it is left alone: it is not surely the pool's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Why it is in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The command that a person can run at PVE to free it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is being done with it is tried again later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<DelayView>,
}

/// A pause in what is being done with a container.
#[derive(Debug, Serialize, ToSchema)]
pub struct DelayView {
    /// Why, in PVE's words.
    pub reason: String,
    /// What kind of a fault that is.
    pub code: &'static str,
    /// The command that a person can run at PVE to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Tries so far.
    pub attempt: u32,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// Containers, and the event up to which that holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerList {
    /// By VMID.
    pub containers: Vec<ContainerRow>,
    /// How many there are.
    pub total: usize,
    /// The last event that is in here.
    pub head: u64,
}

/// A container with everything that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContainerView {
    /// As in the list.
    #[serde(flatten)]
    pub row: ContainerRow,
    /// The clone that made it, as events and its description at PVE name it.
    pub clone_id: String,
    /// The last event about it.
    pub last_seq: u64,
    /// Since when it is ready, while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ready_since: Option<Timestamp>,
    /// The hold on it, while somebody has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation: Option<AllocationView>,
    /// The clone, while it is being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone: Option<CloneView>,
    /// Why it leaves, while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub leaving: Option<LeaveReason>,
    /// What happened to it since it was made or discovered, as in `GET /events`: the newest 200 events.
    #[schema(value_type = Vec<Object>)]
    pub history: Vec<Box<RawValue>>,
    /// Whether that is all that happened to it. Of a container that nothing happened to for very long, or of a
    /// log whose beginning is no longer kept, it is not.
    pub history_is_whole: bool,
}

/// Somebody's hold on a container.
#[derive(Debug, Serialize, ToSchema)]
pub struct AllocationView {
    /// The allocation.
    pub allocation_id: String,
    /// The caller's own words.
    pub metadata: BTreeMap<String, String>,
    /// renaming, starting or done.
    #[schema(value_type = String)]
    pub stage: HandOut,
    /// Whether the container was to be started.
    pub start: bool,
    /// Whether it was ready when it was asked for.
    pub allocated_from_pool: bool,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// When it was first answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
}

/// A clone under way.
#[derive(Debug, Serialize, ToSchema)]
pub struct CloneView {
    /// What it was queued for.
    #[schema(value_type = String)]
    pub purpose: ClonePurpose,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// Whether it shares the template's disk.
    pub linked: bool,
    /// PVE's task, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upid: Option<String>,
    /// It is not known whether PVE has taken it on.
    pub uncertain: bool,
}

impl ContainerRow {
    /// The row of a container.
    pub fn of(container: &Container, now: Timestamp) -> Self {
        let quarantine = match &container.phase {
            Phase::Quarantined { fault, .. } => Some(fault),
            _ => None,
        };
        Self {
            vmid: container.vmid.0,
            hostname: container.hostname.0.clone(),
            state: container.phase.name(),
            created_at: container.created_at,
            allocated_to: container.instance_id().map(|it| it.0.clone()),
            node: container.node.0.clone(),
            template_vmid: container.template.0,
            uses: container.uses,
            age_seconds: now.since(container.created_at).as_secs(),
            allocation_id: container.holding().map(|it| it.allocation_id.to_string()),
            expires_at: container.expires_at(),
            doubt: container.doubt.clone(),
            reason: quarantine.map(|fault| fault.message.clone()),
            hint: quarantine.and_then(|fault| fault.hint.clone()),
            delay: container.delay.as_ref().map(|delay| DelayView {
                reason: delay.fault.message.clone(),
                code: delay.fault.kind.code(),
                hint: delay.fault.hint.clone(),
                attempt: delay.attempt,
                until: delay.until,
            }),
        }
    }
}

impl ContainerList {
    /// The containers that `wanted` lets through.
    pub fn of(published: &Published, now: Timestamp, wanted: impl Fn(&Container) -> bool) -> Self {
        let all = published.state.containers.values();
        let containers: Vec<_> = all.filter(|it| wanted(it)).map(|it| ContainerRow::of(it, now)).collect();
        Self { total: containers.len(), containers, head: published.head.0 }
    }
}

impl ContainerView {
    /// Everything that is known of a container.
    pub fn of(container: &Container, now: Timestamp, history: &History) -> Self {
        let records = history.records.iter();
        let records = records.filter_map(|record| RawValue::from_string(record.json.to_string()).ok());
        let ready_since = match &container.phase {
            Phase::Ready { since } => Some(*since),
            _ => None,
        };
        let leaving = match &container.phase {
            Phase::Releasing(leaving) | Phase::Removing(leaving) => Some(leaving.by),
            _ => None,
        };
        Self {
            row: ContainerRow::of(container, now),
            clone_id: container.clone_id.to_string(),
            last_seq: container.touched.0,
            ready_since,
            allocation: container.holding().map(AllocationView::of),
            clone: container.creating().map(CloneView::of),
            leaving,
            history: records.collect(),
            history_is_whole: history.is_whole,
        }
    }
}

impl AllocationView {
    fn of(holding: &Holding) -> Self {
        Self {
            allocation_id: holding.allocation_id.to_string(),
            metadata: holding.metadata.clone(),
            stage: holding.stage,
            start: holding.start,
            allocated_from_pool: holding.from_pool,
            asked_at: holding.asked_at,
            completed_at: holding.completed_at,
        }
    }
}

impl CloneView {
    fn of(creating: &Creating) -> Self {
        Self {
            purpose: creating.purpose,
            attempt: creating.attempt + 1,
            linked: creating.linked,
            upid: match &creating.stage {
                CloneStage::Running { upid } => Some(upid.0.clone()),
                CloneStage::Sending | CloneStage::Uncertain => None,
            },
            uncertain: creating.stage == CloneStage::Uncertain,
        }
    }
}
