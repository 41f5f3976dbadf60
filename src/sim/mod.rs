//! A simulated Proxmox VE: one pure model behind two faces, for tests, the demo and the deterministic simulation.
//!
//! [`Model`] holds a cluster and says how PVE answers, as recorded from PVE 9.2; it is told the time and draws
//! chance from a seed, so that a run can be repeated to the letter. [`Sim`] shares it between tasks and gives it
//! tokio's time. The faces are [`InProcess`], a [`crate::pve::Transport`], and [`http::serve`], the API over
//! HTTP/1.1. Nothing here knows the pool; what a good client never does is noted as a [`Violation`].

mod access;
mod calls;
mod clone;
mod cluster;
mod config;
mod ct;
mod faults;
mod handle;
pub mod http;
mod incoming;
mod inprocess;
mod model;
mod outside;
mod power;
mod reads;
mod reply;
mod rights;
mod routes;
mod scenario;
mod task_api;
mod tasks;
mod violations;
mod world;

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

pub use calls::{CallRecord, Progress};
pub use ct::{CtSpec, CtView};
pub use faults::{Effect, FaultRule, On, Which, everyday};
pub use handle::Sim;
pub use incoming::Incoming;
pub use inprocess::InProcess;
pub use model::Model;
pub use reply::{Body, Connection, Ending, Reply};
pub use scenario::{DEMO_SECRET, DEMO_TOKEN, Demo};
pub use violations::{Violation, ViolationRule};
pub use world::{Durations, Storage};
