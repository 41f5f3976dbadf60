//! The shapes of a told story, as they are answered.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::event::LeaveReason;
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::time::Timestamp;

/// What a story is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An instance: each of its allocations is a chapter.
    #[schema(value_type = String)]
    Instance(InstanceId),
    /// A VMID: each container of the pool that had it is a chapter.
    #[schema(value_type = u32)]
    Vmid(Vmid),
}

/// What the log tells of an instance or a VMID.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Story {
    /// What it is about: an `instance` or a `vmid`.
    pub about: Subject,
    /// The newest chapter in a few sentences.
    pub summary: String,
    /// Oldest first; the newest 20.
    pub chapters: Vec<Chapter>,
    /// How many older ones are left out.
    pub chapters_left_out: u64,
    /// The oldest event that was read. Above 1 the log's beginning is not kept any more.
    #[schema(value_type = u64)]
    pub oldest: Seq,
    /// The newest event that was read.
    #[schema(value_type = u64)]
    pub head: Seq,
}

/// One allocation, or the life of one container.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Chapter {
    /// The chapter in a few sentences.
    pub summary: String,
    /// What it came to, or where it stands.
    pub outcome: Outcome,
    /// The allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// The clone that became the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_id: Option<String>,
    /// Who asked, or who held it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub instance_id: Option<InstanceId>,
    /// The container; of an allocation that had several, the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub vmid: Option<Vmid>,
    /// The template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub template: Option<Vmid>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Timestamp,
    /// False if it began before the oldest event that is kept.
    pub beginning_is_known: bool,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Who stood in line before it when it was asked for, first one first.
    #[schema(value_type = Vec<String>)]
    pub behind: Vec<InstanceId>,
    /// What its time went into.
    pub durations: Durations,
    /// Why it is gone, and by whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// What happened, oldest first; of a long chapter the beginning and the end.
    pub steps: Vec<Step>,
    /// How many in the middle are left out.
    pub steps_left_out: u64,
}

/// What the time went into, in milliseconds; only what came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Durations {
    /// Waiting for a container, or for the clone to be begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_line_ms: Option<u64>,
    /// Of that, after PVE refused the clone, as while the template is locked: until it was asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries_ms: Option<u64>,
    /// The clone at PVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clone_ms: Option<u64>,
    /// Ready, and nobody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<u64>,
    /// From being somebody's to having their hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rename_ms: Option<u64>,
    /// The start at PVE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// From the request to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<u64>,
    /// Held, from the answer until it was to leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u64>,
    /// Stopping, or destroying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving_ms: Option<u64>,
}

/// What a chapter came to, or where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An allocation in line.
    Waiting,
    /// A container being cloned, or its clone queued.
    Creating,
    /// A container that is nobody's.
    Ready,
    /// Being renamed and started.
    HandingOut,
    /// Somebody's.
    Held,
    /// Being stopped and given back.
    Releasing,
    /// Being destroyed.
    Removing,
    /// In need of a person.
    Quarantined,
    /// Given back.
    Released,
    /// Destroyed by the pool.
    Removed,
    /// Gone from PVE without the pool.
    Lost,
    /// Answered with an error.
    Failed,
    /// Ended without an answer that anybody waited for.
    Cancelled,
    /// The clone did not become a container.
    NotMade,
}

/// Why something is gone, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gone {
    /// In words.
    pub why: String,
    /// Who asked for it, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "request")]
    pub by: Option<LeaveReason>,
    /// The request that asked for it, as its `X-Request-Id` was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Step {
    /// The event.
    #[schema(value_type = u64)]
    pub seq: Seq,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Milliseconds since the chapter's beginning.
    pub after_ms: u64,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What happened, as a sentence.
    pub words: String,
    /// The request that led to it, as its `X-Request-Id` was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
