//! The shapes of bodies and answers: the API document is derived from them, so each stands here once.
//!
//! Fields of the six routes of old keep their names for ever; new ones may be added.

mod container;
mod health;
mod pool;
mod webhook;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::desk;
use crate::domain::ids::Vmid;
use crate::domain::time::Timestamp;

pub use container::{
    AllocationView, CloneView, ContainerList, ContainerRow, ContainerView, DelayView, STATES,
};
pub use health::{Checks, Health, LogPart, Parts, PvePart, Readiness};
pub use pool::{BackoffView, FailureView, OwnSizes, PoolStatus, ServiceStatus, TemplateStatus};
pub use webhook::{
    ParkedEvent, ReplayBody, ReplayStatus, WebhookError, WebhookList, WebhookStatus, WebhookTest,
};

/// The body of `POST /allocate`. Other fields are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct AllocateBody {
    /// The template.
    #[schema(minimum = 100, maximum = 999_999_999, example = 9009)]
    pub template_vmid: u32,
    /// The caller's name of the sandbox, which becomes the hostname; generated if it is absent or empty.
    #[schema(max_length = 63, example = "pvelxc-abc123")]
    pub instance_id: Option<String>,
    /// The caller's own words. They are kept in the event log: no secrets.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds after the answer at which the container is released by itself.
    #[schema(minimum = 1)]
    pub ttl_seconds: Option<u64>,
}

/// The body of `PUT /templates/{vmid}`. What is null or absent is as configured. Other fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SizesBody {
    /// Below this the template's refill goes before every other template's.
    pub min: Option<u32>,
    /// What refill restores.
    pub target: Option<u32>,
    /// Never more than this.
    pub max: Option<u32>,
}

/// A container that was handed out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Allocated {
    /// The container.
    pub vmid: u32,
    /// Its hostname.
    pub hostname: String,
    /// The caller's name of the sandbox.
    pub instance_id: String,
    /// The template.
    pub template_vmid: u32,
    /// Whether it was ready when it was asked for.
    pub allocated_from_pool: bool,
    /// The node that it is on.
    pub node: String,
    /// The allocation, as events name it.
    pub allocation_id: String,
    /// When it is released by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl Allocated {
    /// The answer for a container that was handed out.
    pub fn of(it: desk::HandedOut) -> Self {
        Self {
            vmid: it.vmid.0,
            hostname: it.instance_id.hostname().0,
            instance_id: it.instance_id.0,
            template_vmid: it.template.0,
            allocated_from_pool: it.from_pool,
            node: it.node.0,
            allocation_id: it.allocation_id.to_string(),
            expires_at: it.expires_at,
        }
    }
}

/// What a warm does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Warming {
    /// Always `warming`.
    #[schema(example = "warming")]
    pub status: &'static str,
    /// The template.
    pub template_vmid: u32,
    /// Clones that were queued for it.
    pub queued: u32,
    /// Ready and creating containers before.
    pub current: u32,
    /// What they are brought to.
    pub target: u32,
}

impl Warming {
    /// The answer for a warm.
    pub fn of(template: Vmid, it: desk::Warming) -> Self {
        Self {
            status: "warming",
            template_vmid: template.0,
            queued: it.queued,
            current: it.current,
            target: it.target,
        }
    }
}

/// A container that has left its holder, or the pool.
#[derive(Debug, Serialize, ToSchema)]
pub struct Left {
    /// `released` or `removed`.
    #[schema(example = "released")]
    pub status: &'static str,
    /// The container.
    pub vmid: u32,
}

/// What a write would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    /// Always true.
    pub dry_run: bool,
    /// The events that it would begin with.
    pub events: Vec<DryEvent>,
}

/// An event that was not written.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryEvent {
    /// Its type, as in the event stream.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its payload, as in the event stream.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}
