//! The causal story of an instance or a container, told from the log: who asked and when, behind whom it stood,
//! what PVE was doing meanwhile, what came of it, and why it is gone.
//!
//! A [`Teller`] is a fold over envelopes, from the oldest that is kept, and knows nothing else: no State, no clock,
//! no files. So the service and whoever has only its files tell the same. Where the log begins in the middle of a
//! story, the story says so.

mod around;
mod chapter;
mod story;
mod summary;
mod teller;
mod words;

#[cfg(test)]
mod tests;

pub use story::{Chapter, Durations, Gone, Outcome, Step, Story, Subject};
pub use teller::{Teller, Unknown};
