//! The model shared between tasks, under tokio's clock.
//!
//! Time is the epoch given at the beginning plus what tokio's clock has gone since, so that paused time is
//! virtual time. Whoever waits is woken by the clock or by a change that somebody else makes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::calls::{CallRecord, Progress};
use super::ct::{CtSpec, CtView};
use super::faults::FaultRule;
use super::incoming::Incoming;
use super::inprocess::InProcess;
use super::model::Model;
use super::reply::Ending;
use super::scenario::{DEMO_SECRET, DEMO_TOKEN, Demo};
use super::violations::Violation;
use crate::clock::Stopwatch;
use crate::domain::time::Timestamp;

/// A simulated cluster that several tasks can use and look at.
#[derive(Clone, Debug)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    model: Mutex<Model>,
    epoch: Timestamp,
    began: Stopwatch,
    skipped_ms: AtomicU64,
    /// Wakes in the order of waiting, so that a run can be repeated.
    changed: Notify,
}

impl Sim {
    /// Shares a model; its time begins at `epoch`, now.
    pub fn new(epoch: Timestamp, model: Model) -> Self {
        let shared = Shared {
            model: Mutex::new(model),
            epoch,
            began: Stopwatch::start(),
            skipped_ms: AtomicU64::new(0),
            changed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The demo cluster.
    pub fn demo(epoch: Timestamp, seed: u64) -> Self {
        Self::new(epoch, Demo::model(epoch, seed))
    }

    /// The simulation's time.
    pub fn now(&self) -> Timestamp {
        let skipped = Duration::from_millis(self.shared.skipped_ms.load(Ordering::SeqCst));
        self.shared.epoch.after(self.shared.began.elapsed() + skipped)
    }

    /// Lets time jump forward, whatever tokio's clock says.
    pub fn skip(&self, span: Duration) {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.shared.skipped_ms.fetch_add(span, Ordering::SeqCst);
        self.with(|_| ());
    }

    /// Lets time jump forward until no task runs.
    pub fn skip_tasks(&self) {
        while let Some(at) = self.with(|model| model.next_event().filter(|_| model.is_busy())) {
            self.skip(at.since(self.now()).max(Duration::from_millis(1)));
        }
    }

    /// Looks at the model, or changes it as somebody outside would.
    pub fn with<R>(&self, look: impl FnOnce(&mut Model) -> R) -> R {
        let mut model = self.lock();
        model.advance(self.now());
        let result = look(&mut model);
        model.settle();
        drop(model);
        self.shared.changed.notify_waiters();
        result
    }

    /// Carries a call out and waits for its end. Whoever drops this has gone away; the call goes on.
    pub async fn carry_out(&self, incoming: Incoming) -> Ending {
        let id = self.lock().begin(self.now(), incoming);
        self.shared.changed.notify_waiters();
        let gone = Gone { sim: self, id };
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let progress = self.lock().poll(self.now(), id);
            match progress {
                Progress::Ended(ending) => {
                    drop(gone);
                    return ending;
                }
                Progress::Waits(Some(at)) => {
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(at.since(self.now())) => {}
                        () = changed => {}
                    }
                }
                Progress::Waits(None) => {
                    changed.await;
                }
            }
        }
    }

    /// A transport into this simulation with a token.
    pub fn transport(&self, token: &str, secret: &str) -> InProcess {
        InProcess::new(self.clone(), format!("PVEAPIToken={token}={secret}"))
    }

    /// A transport with the demo's token.
    pub fn demo_transport(&self) -> InProcess {
        self.transport(DEMO_TOKEN, DEMO_SECRET)
    }

    /// Adds a template on the storage `pool`.
    pub fn add_template(&self, vmid: u32, hostname: &str) {
        self.add_ct(CtSpec::new(vmid, hostname).template());
    }

    /// Adds a container.
    pub fn add_ct(&self, spec: CtSpec) {
        self.with(|model| model.add_ct(spec));
    }

    /// Adds a QEMU guest.
    pub fn add_qemu(&self, vmid: u32, node: &str, name: &str) {
        self.with(|model| model.add_qemu(vmid, node, name));
    }

    /// A container as it is.
    pub fn ct(&self, vmid: u32) -> Option<CtView> {
        self.with(|model| model.ct(vmid))
    }

    /// VMIDs of all containers, ascending.
    pub fn vmids(&self) -> Vec<u32> {
        self.with(|model| model.vmids())
    }

    /// What the watched token did that a good client does not.
    pub fn violations(&self) -> Vec<Violation> {
        self.with(|model| model.violations().to_vec())
    }

    /// All calls so far, oldest first.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.with(|model| model.calls())
    }

    /// Scripts trouble; the number is for [`Sim::remove_fault`].
    pub fn add_fault(&self, rule: FaultRule) -> u64 {
        self.with(|model| model.add_fault(rule))
    }

    /// Ends one kind of trouble.
    pub fn remove_fault(&self, id: u64) {
        self.with(|model| model.remove_fault(id));
    }

    /// Destroys a container at once, past the API.
    pub fn outside_destroy(&self, vmid: u32) {
        self.with(|model| model.outside_destroy(vmid));
    }

    /// Renames a container, past the API.
    pub fn outside_rename(&self, vmid: u32, hostname: &str) {
        self.with(|model| model.outside_rename(vmid, hostname));
    }

    /// Starts a container at once, past the API.
    pub fn outside_start(&self, vmid: u32) {
        self.with(|model| model.outside_start(vmid));
    }

    /// Stops a container at once, past the API.
    pub fn outside_stop(&self, vmid: u32) {
        self.with(|model| model.outside_stop(vmid));
    }

    /// Puts a lock into a container's configuration, as a backup does.
    pub fn outside_lock(&self, vmid: u32, lock: &str) {
        self.with(|model| model.outside_lock(vmid, lock));
    }

    /// `pct unlock`.
    pub fn outside_unlock(&self, vmid: u32) {
        self.with(|model| model.pct_unlock(vmid));
    }

    /// Lets a token in, or no longer.
    pub fn set_token_enabled(&self, name: &str, enabled: bool) {
        self.with(|model| model.set_token_enabled(name, enabled));
    }

    /// Gives a token and its user privileges at a path and below it.
    pub fn grant(&self, token: &str, path: &str, privileges: &[&str]) {
        self.with(|model| model.grant(token, path, privileges));
    }

    /// Takes privileges away that were granted at exactly this path.
    pub fn revoke(&self, token: &str, path: &str, privileges: &[&str]) {
        self.with(|model| model.revoke(token, path, privileges));
    }

    /// A node goes down.
    pub fn node_down(&self, node: &str) {
        self.with(|model| model.set_node_up(node, false));
    }

    /// A node comes back.
    pub fn node_up(&self, node: &str) {
        self.with(|model| model.set_node_up(node, true));
    }

    /// A node's privileged daemon stops.
    pub fn daemon_down(&self, node: &str) {
        self.with(|model| model.set_daemon_up(node, false));
    }

    /// A node's privileged daemon starts.
    pub fn daemon_up(&self, node: &str) {
        self.with(|model| model.set_daemon_up(node, true));
    }

    /// The front end refuses connections.
    pub fn front_end_down(&self) {
        self.with(|model| model.set_front_end_up(false));
    }

    /// The front end accepts connections.
    pub fn front_end_up(&self) {
        self.with(|model| model.set_front_end_up(true));
    }

    /// Kills the worker of every running clone of a template; returns how many there were.
    pub fn kill_running_clone(&self, template: u32) -> usize {
        self.with(|model| model.kill_running_clone(template))
    }

    /// Clones of a template whose tasks run.
    pub fn clones_in_flight(&self, template: u32) -> usize {
        self.with(|model| model.clones_in_flight(template))
    }

    /// The most clones of a template that ran at the same time.
    pub fn max_clones_in_flight_seen(&self, template: u32) -> usize {
        self.with(|model| model.max_clones_in_flight_seen(template))
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.shared.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the model when nobody waits for a call any more.
struct Gone<'a> {
    sim: &'a Sim,
    id: u64,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.sim.lock().forget(self.id);
    }
}
