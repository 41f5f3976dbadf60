//! The pool's rules as scenarios: what was, what is asked or seen, what happens then.
//!
//! Each test's name is the rule. [`pool::Pool`] drives State by commands alone, checks the promises of
//! [`promises`] after every one of them, and tells what happened in the words of [`words`].

mod pool;
mod promises;
mod words;

mod allocate;
mod backoff;
mod caps;
mod clone;
mod discovery;
mod hand_out;
mod lane;
mod line;
mod plan;
mod release;
mod reload;
mod remove;
mod replay;
mod restart;
mod scope;
mod sizes;
mod template;
mod ttl;
mod weather;
mod webhook;
