//! Each single fault is named, by exactly the check that is about it, with a command that mends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

mod at_pve;
mod machine;
#[path = "../../../../tests/it/doctor/page.rs"]
mod page;
mod table;

use super::*;
use crate::config::Sources;
use crate::domain::time::Timestamp;
use crate::sim::{CtSpec, Sim};

/// 2026-11-24T09:00:00Z.
const EPOCH: Timestamp = Timestamp(1_795_510_800_000);
const TEMPLATE: u32 = 9020;
/// Settings of which nothing is read here.
const FILE: &str = "/etc/sandbox-pool/env";

/// A cluster with nothing wrong, and the pool's token with its least rights.
fn healthy() -> Sim {
    let sim = Sim::demo(EPOCH, 1);
    let interface = "name=eth0,bridge=vmbr0,ip=dhcp";
    sim.add_ct(CtSpec::new(TEMPLATE, "debian").template().set("net0", interface));
    sim
}

fn config(settings: &[(&str, &str)]) -> Config {
    let mut env: BTreeMap<String, String> = crate::demo::settings(&PathBuf::from("/nowhere"))
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    env.insert("POOL_TEMPLATES".to_owned(), TEMPLATE.to_string());
    env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Config::load(&Sources::of_environment(env)).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// What is not well, as `check subject`; every such finding has a reason and a command.
fn wrong(findings: &[Finding]) -> BTreeSet<String> {
    let bad = findings.iter().filter(|finding| finding.level >= Level::Warn);
    bad.map(|finding| {
        assert!(!finding.why.is_empty() && !finding.mend.is_empty(), "{finding:?}");
        format!("{} {}", finding.check, finding.subject).trim_end().to_owned()
    })
    .collect()
}

async fn examined(sim: &Sim, settings: &[(&str, &str)], ahead: pve::Ahead) -> Vec<Finding> {
    let pve = Pve::new(Arc::new(sim.demo_transport()));
    pve::examine(&config(settings), &pve, Path::new(FILE), ahead).await
}
