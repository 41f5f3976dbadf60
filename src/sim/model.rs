//! The model: a cluster as a value. It is told the time, draws chance from a seed, and does no input or output.
//!
//! A call is begun and then polled until it ends: some wait for a lock, a worker or a brake. What was begun is
//! carried out whether or not anybody still asks for its answer, as at a real server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::access::{Access, Caller};
use super::calls::{Call, CallRecord, HISTORY_MAX, State};
use super::ct::Ct;
use super::faults::{Armed, Effect};
use super::incoming::{Incoming, Params};
use super::reply::{Done, Reply};
use super::routes::{self, Route, Routed};
use super::tasks::Task;
use super::violations::Violation;
use super::world::{Durations, Node, Storage, Vm};
use crate::domain::time::Timestamp;

/// Requests that a node's privileged daemon serves at a time.
const WORKERS: usize = 3;

/// A simulated cluster.
#[derive(Debug)]
pub struct Model {
    pub(super) now: Timestamp,
    pub(super) rng: fastrand::Rng,
    pub(super) durations: Durations,
    pub(super) entry: String,
    pub(super) version: String,
    pub(super) front_end_up: bool,
    pub(super) quorate: bool,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) storages: BTreeMap<String, Storage>,
    pub(super) cts: BTreeMap<u32, Ct>,
    pub(super) vms: BTreeMap<u32, Vm>,
    pub(super) pools: BTreeMap<String, BTreeSet<u32>>,
    pub(super) vnets: BTreeMap<String, String>,
    pub(super) access: Access,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) running: BTreeSet<u64>,
    pub(super) file_locks: BTreeMap<u32, u64>,
    pub(super) stats: BTreeMap<u32, (Timestamp, Map<String, Value>)>,
    pub(super) pvestatd_up: bool,
    pub(super) next_round: Timestamp,
    pub(super) faults: Vec<Armed>,
    pub(super) watched: String,
    pub(super) violations: Vec<Violation>,
    pub(super) clones_seen: BTreeMap<u32, usize>,
    pub(super) serial: u64,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) history: BTreeMap<u64, CallRecord>,
    pub(super) history_max: usize,
}

/// A call that was let in, with everything that carrying it out needs.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) incoming: Incoming,
    pub(super) caller: Caller,
    pub(super) routed: Routed,
    pub(super) params: Params,
    pub(super) fate: Option<Effect>,
}

impl Context {
    pub(super) fn vmid(&self) -> Option<u32> {
        self.routed.vmid.as_deref().and_then(|text| text.parse().ok())
    }

    pub(super) fn node(&self) -> &str {
        self.routed.node.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.routed.name.as_deref().unwrap_or_default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|text| text == "1")
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|text| text.parse().ok())
    }
}

impl Model {
    /// An empty cluster of one node.
    pub fn new(now: Timestamp, seed: u64, entry: &str) -> Self {
        Self {
            now,
            rng: fastrand::Rng::with_seed(seed),
            durations: Durations::default(),
            entry: entry.to_owned(),
            version: "9.2.11".to_owned(),
            front_end_up: true,
            quorate: true,
            nodes: BTreeMap::from([(entry.to_owned(), Node::default())]),
            storages: BTreeMap::new(),
            cts: BTreeMap::new(),
            vms: BTreeMap::new(),
            pools: BTreeMap::new(),
            vnets: BTreeMap::new(),
            access: Access::default(),
            tasks: BTreeMap::new(),
            running: BTreeSet::new(),
            file_locks: BTreeMap::new(),
            stats: BTreeMap::new(),
            pvestatd_up: true,
            next_round: now,
            faults: Vec::new(),
            watched: String::new(),
            violations: Vec::new(),
            clones_seen: BTreeMap::new(),
            serial: 0x1800,
            calls: BTreeMap::new(),
            history: BTreeMap::new(),
            history_max: HISTORY_MAX,
        }
    }

    /// The next instant at which something happens by itself.
    pub fn next_event(&self) -> Option<Timestamp> {
        let tasks = self.running.iter().filter_map(|id| self.tasks.get(id)?.due());
        let calls = self.calls.values().filter_map(|call| match call.state {
            State::Delayed(at) | State::Queued(at) | State::Locked(_, at) => Some(at),
            State::Stalled | State::Ended(..) => None,
        });
        tasks.chain(calls).min()
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            self.reach(at);
            self.step();
            self.settle();
        }
        self.reach(now);
    }

    fn reach(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        self.pass_rounds();
    }

    /// One thing whose time has come.
    fn step(&mut self) {
        let now = self.now;
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if let Some(id) = self.running.iter().copied().find(|id| due(self.tasks.get(id).and_then(Task::due)))
        {
            self.task_due(id);
            return;
        }
        let call = self.calls.iter().find_map(|(id, call)| match call.state {
            State::Delayed(at) | State::Queued(at) | State::Locked(_, at) => due(Some(at)).then_some(*id),
            State::Stalled | State::Ended(..) => None,
        });
        let Some(id) = call else { return };
        match self.calls.get(&id).map(|call| &call.state) {
            Some(State::Queued(_)) => self.end(id, Reply::bare(596, "Connection timed out")),
            Some(State::Locked(vmid, _)) => {
                let text = file_lock_timeout(*vmid);
                self.end(id, Reply::refused(500, &text));
            }
            Some(State::Delayed(_)) => self.arrive(id),
            Some(State::Stalled | State::Ended(..)) | None => {}
        }
    }

    /// Gives freed locks and workers to those who wait for them.
    pub(super) fn settle(&mut self) {
        loop {
            let free = |vmid: &u32| !self.file_locks.contains_key(vmid);
            let task = self
                .running
                .iter()
                .copied()
                .find(|id| self.tasks.get(id).is_some_and(|task| task.is_waiting() && free(&task.vmid)));
            if let Some(id) = task {
                self.task_granted(id);
                continue;
            }
            let call = self.calls.iter().find_map(|(id, call)| match &call.state {
                State::Locked(vmid, _) => free(vmid).then_some(*id),
                State::Queued(limit) if *limit <= self.now => None,
                State::Queued(_) => {
                    call.node.as_deref().is_some_and(|node| self.has_worker(node)).then_some(*id)
                }
                State::Delayed(_) | State::Stalled | State::Ended(..) => None,
            });
            let Some(id) = call else { return };
            self.attempt(id);
        }
    }

    pub(super) fn has_worker(&self, node: &str) -> bool {
        let holds =
            |call: &&Call| matches!(call.state, State::Locked(..)) && call.node.as_deref() == Some(node);
        self.calls.values().filter(holds).count() < WORKERS
    }

    pub(super) fn carry_out(&mut self, context: &Context) -> Done {
        self.check_access(context)?;
        routes::check(&context.routed, &context.params)?;
        match context.routed.route {
            Route::Version => Ok(self.version()),
            Route::Nodes => Ok(self.node_list(context)),
            Route::Resources => Ok(self.resources(context)),
            Route::NextId => self.next_id(context),
            Route::ClusterStatus => Ok(self.cluster_status()),
            Route::Permissions => Ok(self.permissions(context)),
            Route::Pools => Ok(self.pool_list(context)),
            Route::CtList => Ok(self.ct_list(context)),
            Route::QemuList => Ok(self.qemu_list(context)),
            Route::CtConfig => self.ct_config(context),
            Route::CtPending => self.ct_pending(context),
            Route::CtUpdate => self.ct_update(context),
            Route::CtStatus => self.ct_status(context),
            Route::CtInterfaces => Ok(self.ct_interfaces(context)),
            Route::CtFeature => self.ct_feature(context),
            Route::CtClone => self.ct_clone(context),
            Route::CtStart => self.ct_start(context),
            Route::CtStop => self.ct_stop(context),
            Route::CtShutdown => self.ct_shutdown(context),
            Route::CtReboot => self.ct_reboot(context),
            Route::CtDestroy => self.ct_destroy(context),
            Route::SnapshotList => self.snapshot_list(context),
            Route::SnapshotCreate | Route::SnapshotDelete | Route::SnapshotRollback => {
                self.snapshot_work(context)
            }
            Route::TaskList => Ok(self.task_list(context)),
            Route::TaskStatus => self.task_status(context),
            Route::TaskLog => self.task_log(context),
            Route::TaskStop => self.task_stop(context),
            Route::NetworkList => Ok(self.network_list(context)),
            Route::StorageList => Ok(self.storage_list(context)),
            Route::StorageStatus => self.storage_status(context),
        }
    }
}

/// What PVE says when a container's file lock was not had in time.
pub(super) fn file_lock_timeout(vmid: u32) -> String {
    format!("can't lock file '/run/lock/lxc/pve-config-{vmid}.lock' - got timeout")
}
