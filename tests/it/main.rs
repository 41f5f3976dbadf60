//! Contracts from outside, one binary: what is published must be what the program does.

mod catalogue;
mod dashboards;
