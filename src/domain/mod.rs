//! The pool's rules, PURE: no async, no clock, no randomness, no IO.
//!
//! `decide` turns a command into events, `apply` folds events into State, `plan` says what should be
//! running at PVE. Time, ids and chance come in as arguments, so that a day replays in milliseconds.

pub mod time;
pub mod ids;
pub mod settings;
pub mod fault;
pub mod marker;

pub mod command;
pub mod event;

pub mod webhook;
pub mod state;
pub mod decide;
mod apply;
pub mod plan;
pub mod scope;

#[cfg(test)]
mod tests;
