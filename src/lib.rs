//! sandbox-pool: warm LXC containers on Proxmox VE, handed out from an event log.

pub mod app;
pub mod clock;
pub mod config;
pub mod demo;
pub mod desk;
pub mod domain;
pub mod engine;
pub mod http;
pub mod log;
pub mod logging;
pub mod provision;
pub mod pve;
pub mod reconcile;
pub mod sim;
pub mod webhook;
