//! Contracts from outside, one binary: what is published must be what the program does.

#![expect(unreachable_pub, reason = "a binary's modules share by `pub`")]

mod catalogue;
mod crash;
mod dashboards;
mod doctor;
mod explain;
mod faults;
mod line;
mod main_job;
mod managed;
mod older;
mod operate;
mod original;
mod outage;
mod program;
mod readme;
mod redact;
mod rights;
mod simulation;
mod templates;
mod terminal;
mod tidy;
mod trouble;
mod webhooks;
mod world;
