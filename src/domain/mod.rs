//! The pool's rules, PURE: no async, no clock, no randomness, no IO.
//!
//! `decide` turns a command into events, `apply` folds events into State, `plan` says what should be
//! running at PVE. Time, ids and chance come in as arguments, so that a day replays in milliseconds.

pub mod apply;
pub mod command;
pub mod decide;
pub mod event;
pub mod fault;
pub mod ids;
pub mod marker;
pub mod plan;
pub mod settings;
pub mod state;
pub mod time;
pub mod webhook;
