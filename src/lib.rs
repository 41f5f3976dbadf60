//! sandbox-pool: warm LXC containers on Proxmox VE (PVE), handed out in the time it takes to start one.
//!
//! # One way through the house
//!
//! ```text
//! HTTP ─► Command ─┐                                     ┌─► answers, GET /status   (State)
//!                  ├─► decide ─► event log ─► apply ─► State ─► stream, webhooks, metrics  (cursor)
//! observation ─────┘   (pure)    (durable)    (pure)     └─► plan ─► provisioner ─► PVE ─► observation …
//! ```
//!
//! The event log is the only source of truth, and [`State`](domain::state::State) a fold over it. One
//! [`engine`] takes commands, decides them by pure rules, makes the events durable, and only then answers.
//! What should be running at PVE is a pure function of State; [`provision`] runs what is not running yet and
//! reports what it saw as commands. A restart is no special path: the log is read, and the plan goes on.
//!
//! # What is always true
//!
//! - Nothing is answered, shown or done at PVE before the event that says so is durable.
//! - PVE hears of a clone after the log does: VMID, name and node are chosen by then, and stay chosen.
//! - [`domain`] asks nobody: no clock, no chance, no IO. Time, ids and chance are arguments.
//! - [`provision`] and [`reconcile`] choose nothing; they run what is planned and say what they see.
//! - `http` never speaks to PVE, and PVE's texts are understood in [`pve`] alone.
//! - Readers pull: nobody in the engine waits for them, and a slow one costs nobody anything.
//! - A container is touched only if it is surely ours, and that is read from PVE right before.
//!
//! # Words
//!
//! *Container*: an LXC container of the pool's, from its clone's start until it is gone from PVE. *CT*: any
//! LXC container at PVE. *VMID*: PVE's number of a guest. *Template*: the CT that containers are clones of.
//! *Lane*: the one place in which a template's clones are made, one after the other. *Waiter*: an allocation
//! that stands in line because no container was ready. *Inventory*: containers that are ready, or coming
//! and not needed by a waiter. *Hand-out*: the look at a container, its rename and its start. *Lost*: gone
//! from PVE without us. *Quarantined*: in need of a person. *In doubt*: perhaps not ours, so left alone.

pub mod domain;

pub mod causes;
pub mod clock;
pub mod log;
pub mod engine;

pub mod pve;
pub mod sim;
pub mod provision;
pub mod reconcile;

pub mod desk;
pub mod explain;
pub mod http;
pub mod metrics;
pub mod webhook;
pub mod tail;

pub mod config;
pub mod logging;
pub mod notify;
pub mod app;
pub mod demo;
pub mod cli;
