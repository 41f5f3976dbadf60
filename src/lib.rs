//! sandbox-pool: warm LXC containers on Proxmox VE, handed out from an event log.

pub mod domain;
