//! The front door: warp filters by the table of routes, in front of them who may come in, behind them what
//! every answer carries.
//!
//! Handlers return values; a problem is one of them and becomes an answer in `errors`. A handler's future is
//! dropped when its client disconnects, and that alone is how a waiter leaves the line.

pub mod auth;
pub mod browser;
pub mod codes;
pub mod errors;
pub mod examples;
pub mod events;
pub mod explain;
pub mod limits;
pub mod openapi;
pub mod routes;
pub mod views;
pub mod webhooks;

mod allocate;
mod containers;
mod front;
mod health;
mod page;
mod params;
pub mod metrics;
mod past;
mod request;
mod respond;
mod serve;
mod stall;
pub mod status;
mod templates;

#[cfg(test)]
mod tests;

pub use front::{Answered, App, Front, Guards, Observer};
pub use past::LookBack;
pub use serve::serve;
