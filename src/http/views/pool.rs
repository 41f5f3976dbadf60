//! The whole pool, and one template of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::container::ContainerRow;
use crate::domain::event::{ClonePurpose, FailureCode};
use crate::domain::ids::Vmid;
use crate::domain::settings::CloneMode;
use crate::domain::state::{QueuedClone, ServicePhase, State, Template};
use crate::domain::time::Timestamp;
use crate::engine::Published;

/// A clone locks its template for a moment; a lock that lasts longer is somebody else's, or was left behind.
const LOCKED_TOO_LONG: Duration = Duration::from_mins(1);

/// Waiters and queued clones of a template that are shown one by one; the counts are of all.
const SHOWN: usize = 100;

/// The whole pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolStatus {
    /// By VMID.
    pub templates: BTreeMap<String, TemplateStatus>,
    /// Ready containers.
    pub total_ready: u32,
    /// Containers that somebody holds.
    pub total_allocated: u32,
    /// Containers that are being cloned.
    pub total_creating: u32,
    /// Clones that are not started yet.
    pub clone_queue_length: usize,
    /// Containers that are being stopped and given back.
    pub total_releasing: u32,
    /// Containers that are being destroyed.
    pub total_removing: u32,
    /// Containers that need a person.
    pub total_quarantined: u32,
    /// Allocations that wait in line.
    pub total_waiting: usize,
    /// The last event that is in here: follow from it without a gap.
    pub head: u64,
    /// The service itself.
    pub service: ServiceStatus,
}

/// The service itself.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceStatus {
    /// Version of the program.
    pub version: String,
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// running, stopping or stopped.
    #[schema(value_type = String)]
    pub phase: ServicePhase,
    /// PVE was compared with the log since the start.
    pub reconciled: bool,
    /// Why PVE does not let itself be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconcile_reason: Option<String>,
    /// PVE answers.
    pub pve_reachable: bool,
    /// Since when PVE does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub pve_unreachable_since: Option<Timestamp>,
    /// What the connection to PVE said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pve_reason: Option<String>,
    /// Why no event can be written at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwritable: Option<String>,
}

/// A template with its containers.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateStatus {
    /// The template.
    pub template_vmid: u32,
    /// Its ready containers.
    pub ready_count: u32,
    /// Its containers that somebody holds.
    pub allocated_count: u32,
    /// Its containers that are being cloned.
    pub creating_count: u32,
    /// What refill restores.
    pub target_size: u32,
    /// Its containers, by VMID.
    pub containers: Vec<ContainerRow>,
    /// Below this its refill goes before that of templates that have reached theirs.
    pub min_size: u32,
    /// Never more than this.
    pub max_size: u32,
    /// Sizes that were set by request and win over the configured ones.
    pub own_sizes: OwnSizes,
    /// Its containers that are being stopped and given back.
    pub releasing_count: u32,
    /// Its containers that are being destroyed.
    pub removing_count: u32,
    /// Its containers that need a person.
    pub quarantined_count: u32,
    /// Allocations that wait for a container of it.
    pub waiting_count: usize,
    /// The first of those allocations, first served first.
    pub waiters: Vec<WaiterView>,
    /// Its clones that are not started yet.
    pub queued_clones: usize,
    /// The first of those clones, next first.
    pub queue: Vec<QueuedView>,
    /// It serves nobody.
    pub drained: bool,
    /// The node that it is on, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Milliseconds that a clone takes, by the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_ms: Option<u64>,
    /// Milliseconds that a start takes, by the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Its clones fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffView>,
    /// Its last allocation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// Since when each clone finds it locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_since: Option<Timestamp>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// An allocation that waits for a container.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaiterView {
    /// The allocation.
    pub allocation_id: String,
    /// The caller's name of the sandbox.
    pub instance_id: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// When it fails.
    #[schema(value_type = String, format = DateTime)]
    pub deadline: Timestamp,
}

/// A clone that waits for the lane.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueuedView {
    /// The clone.
    pub clone_id: String,
    /// What it was needed for when it was queued.
    #[schema(value_type = String)]
    pub purpose: ClonePurpose,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    pub queued_at: Timestamp,
    /// Tries so far.
    pub attempt: u32,
    /// Not to be tried before.
    #[schema(value_type = String, format = DateTime)]
    pub not_before: Timestamp,
    /// Why the last try did not work, in PVE's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Sizes of which some are left to the configuration.
#[derive(Debug, Serialize, ToSchema)]
#[expect(missing_docs, reason = "as in the body that sets them")]
pub struct OwnSizes {
    #[schema(required = true)]
    pub min: Option<u32>,
    #[schema(required = true)]
    pub target: Option<u32>,
    #[schema(required = true)]
    pub max: Option<u32>,
}

/// A template whose clones fail.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackoffView {
    /// Why, in PVE's words.
    pub reason: String,
    /// What kind of a fault that is.
    pub code: &'static str,
    /// The command that a person can run at PVE to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When one clone is tried again.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// How often in a row.
    pub step: u32,
}

/// The last allocation of a template that failed; the next one that succeeds takes it off.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureView {
    /// Why, as its caller was told.
    pub reason: String,
    /// What kind of an end it was.
    #[schema(value_type = String)]
    pub code: FailureCode,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl PoolStatus {
    /// The same without rows of containers: what it costs does not grow with them.
    pub fn without_containers(published: &Published, now: Timestamp) -> Self {
        Self::with(published, BTreeMap::new(), now)
    }

    /// The whole pool, in one pass over its containers.
    pub fn of(published: &Published, now: Timestamp) -> Self {
        let state = &published.state;
        let mut rows: BTreeMap<Vmid, Vec<ContainerRow>> = BTreeMap::new();
        for container in state.containers.values() {
            rows.entry(container.template).or_default().push(ContainerRow::of(container, now));
        }
        Self::with(published, rows, now)
    }

    fn with(published: &Published, mut rows: BTreeMap<Vmid, Vec<ContainerRow>>, now: Timestamp) -> Self {
        let state = &published.state;
        let templates: Vec<_> = state
            .templates
            .iter()
            .map(|(vmid, template)| {
                TemplateStatus::with(state, *vmid, template, rows.remove(vmid).unwrap_or_default(), now)
            })
            .collect();
        let total = |count: fn(&TemplateStatus) -> u32| templates.iter().map(count).sum();
        Self {
            total_ready: total(|it| it.ready_count),
            total_allocated: total(|it| it.allocated_count),
            total_creating: total(|it| it.creating_count),
            clone_queue_length: state.queued_clones(),
            total_releasing: total(|it| it.releasing_count),
            total_removing: total(|it| it.removing_count),
            total_quarantined: total(|it| it.quarantined_count),
            total_waiting: state.waiting.len(),
            head: published.head.0,
            service: ServiceStatus::of(published),
            templates: templates.into_iter().map(|it| (it.template_vmid.to_string(), it)).collect(),
        }
    }
}

impl ServiceStatus {
    fn of(published: &Published) -> Self {
        let service = &published.state.service;
        let unreachable = service.pve_unreachable.as_ref();
        Self {
            version: service.version.clone(),
            started_at: service.started_at,
            phase: service.phase,
            reconciled: service.reconciled,
            reconcile_reason: service.reconcile_fault.as_ref().map(ToString::to_string),
            pve_reachable: unreachable.is_none(),
            pve_unreachable_since: unreachable.map(|(since, _)| *since),
            pve_reason: unreachable.map(|(_, reason)| reason.clone()),
            unwritable: published.unwritable.clone(),
        }
    }
}

impl TemplateStatus {
    /// One template with its containers, if the pool keeps any of it.
    pub fn of(state: &State, vmid: Vmid, now: Timestamp) -> Option<Self> {
        let template = state.template(vmid)?;
        let its = state.containers.values().filter(|container| container.template == vmid);
        let rows = its.map(|container| ContainerRow::of(container, now)).collect();
        Some(Self::with(state, vmid, template, rows, now))
    }

    fn with(
        state: &State,
        vmid: Vmid,
        template: &Template,
        containers: Vec<ContainerRow>,
        now: Timestamp,
    ) -> Self {
        let (sizes, own, counts) = (state.sizes(vmid), template.sizes, template.counts);
        Self {
            template_vmid: vmid.0,
            ready_count: counts.ready,
            allocated_count: counts.allocated,
            creating_count: counts.creating,
            target_size: sizes.target,
            containers,
            min_size: sizes.min,
            max_size: sizes.max,
            own_sizes: OwnSizes { min: own.min, target: own.target, max: own.max },
            releasing_count: counts.releasing,
            removing_count: counts.removing,
            quarantined_count: counts.quarantined,
            waiting_count: template.line.len(),
            waiters: waiters(state, template),
            queued_clones: template.queue.len(),
            queue: template.queue.iter().take(SHOWN).map(QueuedView::of).collect(),
            drained: template.drained,
            node: template.node.as_ref().map(|node| node.0.clone()),
            clone_ms: template.clone_ms,
            start_ms: template.start_ms,
            backoff: template.backoff.as_ref().map(|backoff| BackoffView {
                reason: backoff.fault.message.clone(),
                code: backoff.fault.kind.code(),
                hint: backoff.fault.hint.clone(),
                until: backoff.until,
                step: backoff.step,
            }),
            failure: template.failure.as_ref().map(|failure| FailureView {
                reason: failure.reason.clone(),
                code: failure.code,
                at: failure.at,
            }),
            locked_since: template.locked_since,
            warning: warning(state.settings.clone_mode, vmid, template, now),
        }
    }
}

impl QueuedView {
    fn of(queued: &QueuedClone) -> Self {
        Self {
            clone_id: queued.clone_id.to_string(),
            purpose: queued.purpose,
            queued_at: queued.queued_at,
            attempt: queued.attempt,
            not_before: queued.not_before,
            reason: queued.fault.as_ref().map(|fault| fault.message.clone()),
        }
    }
}

fn waiters(state: &State, template: &Template) -> Vec<WaiterView> {
    let first = template.line.iter().take(SHOWN);
    let waiting = first.filter_map(|id| state.waiting.get(id).map(|waiting| (id, waiting)));
    waiting
        .map(|(allocation_id, waiting)| WaiterView {
            allocation_id: allocation_id.to_string(),
            instance_id: waiting.instance_id.to_string(),
            asked_at: waiting.asked_at,
            deadline: waiting.deadline,
        })
        .collect()
}

fn warning(mode: CloneMode, vmid: Vmid, template: &Template, now: Timestamp) -> Option<String> {
    if let Some(since) = template.locked_since
        && now.since(since) >= LOCKED_TOO_LONG
        && template.counts.creating == 0
    {
        return Some(format!(
            "the template is locked since {since} and no clone of the pool runs: if nothing else does \
             either, run `pct unlock {vmid}`"
        ));
    }
    (mode == CloneMode::Auto && template.linkable == Some(false)).then(|| {
        "its storage cannot make linked clones: clones are full copies, slower and larger".to_owned()
    })
}
