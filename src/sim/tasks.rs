//! Tasks: state machines that time drives, with PVE's UPIDs, logs and exit statuses.
//!
//! A task of a container holds the container's file lock for as long as it runs, and waits for it if another
//! has it. A clone does not; it holds the locks in the configurations instead.

use std::time::Duration;

use super::faults::Effect;
use super::model::{Context, Model, file_lock_timeout};
use crate::domain::time::Timestamp;

/// Ended tasks that are remembered; PVE too forgets the oldest.
const TASKS_MAX: usize = 2000;

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) upid: String,
    pub(super) node: String,
    pub(super) pid: u64,
    pub(super) pstart: i64,
    pub(super) started: Timestamp,
    pub(super) kind: &'static str,
    pub(super) vmid: u32,
    pub(super) caller: String,
    pub(super) log: Vec<String>,
    pub(super) work: Work,
    pub(super) fate: Option<Effect>,
    phase: Phase,
    pub(super) ended: Option<Ended>,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// When.
    pub(super) at: Timestamp,
    /// PVE's `exitstatus`.
    pub(super) exit: String,
    /// From when the list of tasks knows it; a killed worker stays in the active list for a while.
    pub(super) listed: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting(Timestamp),
    Running(Timestamp),
    Over,
}

/// What a task does.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Clone(CloneWork),
    Start,
    Stop,
    Shutdown { timeout: u64, force: bool },
    Reboot,
    Destroy { force: bool, purge: bool },
    SnapshotCreate { name: String, description: String },
    SnapshotDelete { name: String },
    SnapshotRollback { name: String },
    Nothing,
}

/// A clone under way.
#[derive(Clone, Debug)]
pub(super) struct CloneWork {
    pub(super) newid: u32,
    pub(super) full: bool,
    pub(super) pool: Option<String>,
    /// Storage for the new volume.
    pub(super) storage: String,
    /// The source's volume and its size.
    pub(super) source: String,
    /// The new volume exists.
    pub(super) volume_made: bool,
    /// The second half of the duration.
    pub(super) rest: Duration,
}

/// How work ends.
#[derive(Clone, Debug)]
pub(super) enum Exit {
    Fine,
    Warned,
    Failed(String),
    /// The worker was killed: no last line in the log.
    Died,
}

impl Task {
    /// When it goes on by itself.
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting(at) | Phase::Running(at) => Some(at),
            Phase::Over => None,
        }
    }

    /// It waits for the file lock.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }

    /// It is a clone of this container.
    pub(super) fn is_clone_of(&self, vmid: u32) -> bool {
        matches!(self.work, Work::Clone(_)) && self.vmid == vmid
    }

    /// It works on this container.
    pub(super) fn concerns(&self, vmid: u32) -> bool {
        match &self.work {
            Work::Clone(clone) => clone.newid == vmid || self.vmid == vmid,
            Work::Start
            | Work::Stop
            | Work::Shutdown { .. }
            | Work::Reboot
            | Work::Destroy { .. }
            | Work::SnapshotCreate { .. }
            | Work::SnapshotDelete { .. }
            | Work::SnapshotRollback { .. } => self.vmid == vmid,
            Work::Nothing => false,
        }
    }
}

impl Model {
    /// Tasks that have not ended.
    pub(super) fn running_tasks(&self) -> impl Iterator<Item = &Task> {
        self.running.iter().filter_map(|id| self.tasks.get(id))
    }

    /// Starts a task for a call and returns its UPID.
    pub(super) fn begin_task(
        &mut self,
        context: &Context,
        kind: &'static str,
        vmid: u32,
        work: Work,
    ) -> String {
        let (caller, node) = (context.caller.name.clone(), context.node().to_owned());
        self.add_task(&caller, &node, kind, vmid, work, context.fate.clone(), Vec::new())
    }

    /// Starts a task; `log` is what it says first.
    #[expect(clippy::too_many_arguments, reason = "a task is all of these")]
    pub(super) fn add_task(
        &mut self,
        caller: &str,
        node: &str,
        kind: &'static str,
        vmid: u32,
        work: Work,
        fate: Option<Effect>,
        log: Vec<String>,
    ) -> String {
        self.serial += 1;
        let id = self.serial;
        let pstart = self.now.0.div_euclid(10).rem_euclid(0x0fff_ffff);
        let upid = format!(
            "UPID:{node}:{id:08X}:{pstart:08X}:{:08X}:{kind}:{vmid}:{caller}:",
            self.now.0.div_euclid(1000)
        );
        let is_clone = matches!(work, Work::Clone(_));
        let task = Task {
            upid: upid.clone(),
            node: node.to_owned(),
            pid: id,
            pstart,
            started: self.now,
            kind,
            vmid,
            caller: caller.to_owned(),
            log,
            work,
            fate,
            phase: Phase::Over,
            ended: None,
        };
        self.tasks.insert(id, task);
        self.running.insert(id);
        if self.tasks.len() > TASKS_MAX {
            let oldest = self.tasks.keys().copied().find(|id| !self.running.contains(id));
            oldest.and_then(|id| self.tasks.remove(&id));
        }
        if is_clone {
            let half = self.clone_begins(id);
            self.runs_for(id, half);
        } else if self.file_locks.contains_key(&vmid) {
            let until = self.now.after(self.durations.file_lock);
            self.edit_task(id, |task| {
                task.log.push("trying to acquire lock...".to_owned());
                task.phase = Phase::Waiting(until);
            });
        } else {
            self.task_locked(id);
        }
        upid
    }

    /// A task that waited has the file lock now.
    pub(super) fn task_granted(&mut self, id: u64) {
        self.edit_task(id, |task| task.log.push(" OK".to_owned()));
        self.task_locked(id);
    }

    fn task_locked(&mut self, id: u64) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (vmid, work) = (task.vmid, task.work.clone());
        self.file_locks.insert(vmid, id);
        match self.work_begins(id, vmid, &work) {
            Ok(span) => self.runs_for(id, span),
            Err(text) => self.end_task(id, Exit::Failed(text)),
        }
    }

    /// Sets when the work is over, earlier if it is fated not to end well.
    fn runs_for(&mut self, id: u64, span: Duration) {
        let jitter = self.durations.jitter.mul_f64(self.rng.f64());
        let now = self.now;
        self.edit_task(id, |task| {
            let span = match &task.fate {
                Some(Effect::TaskFails { .. } | Effect::TaskDies) => span / 2,
                Some(Effect::TaskTakes(more)) => span + *more,
                Some(_) | None => span,
            };
            task.phase = Phase::Running(now.after(span + jitter));
        });
    }

    /// A task's time has come: its work is over, or it has waited long enough.
    pub(super) fn task_due(&mut self, id: u64) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (vmid, work) = (task.vmid, task.work.clone());
        if task.is_waiting() {
            return self.end_task(id, Exit::Failed(file_lock_timeout(vmid)));
        }
        let warned = match task.fate.clone() {
            Some(Effect::TaskDies) => {
                if matches!(work, Work::Destroy { .. }) {
                    self.half_destroyed(vmid);
                }
                return self.end_task(id, Exit::Died);
            }
            Some(Effect::TaskFails { exitstatus }) => {
                if matches!(work, Work::Destroy { .. })
                    && exitstatus.starts_with("access permissions cleanup")
                {
                    self.half_destroyed(vmid);
                }
                if let Work::Clone(clone) = &work {
                    self.clone_undone(vmid, clone);
                }
                if matches!(work, Work::Start) {
                    let line = "__lxc_start: 2107 Failed to spawn container".to_owned();
                    self.edit_task(id, |task| task.log.push(line));
                }
                return self.end_task(id, Exit::Failed(exitstatus));
            }
            Some(Effect::TaskWarns) => true,
            Some(_) | None => false,
        };
        let result = match &work {
            Work::Clone(clone) if !clone.volume_made => match self.clone_makes_volume(id, vmid, clone) {
                Ok(rest) => return self.edit_task(id, |task| task.phase = Phase::Running(rest)),
                Err(text) => Err(text),
            },
            Work::Clone(clone) => {
                self.clone_ends(vmid, clone);
                Ok(())
            }
            Work::Start
            | Work::Stop
            | Work::Shutdown { .. }
            | Work::Reboot
            | Work::Destroy { .. }
            | Work::SnapshotCreate { .. }
            | Work::SnapshotDelete { .. }
            | Work::SnapshotRollback { .. }
            | Work::Nothing => self.work_ends(id, vmid, &work),
        };
        self.end_task(
            id,
            match result {
                Ok(()) if warned => Exit::Warned,
                Ok(()) => Exit::Fine,
                Err(text) => Exit::Failed(text),
            },
        );
    }

    /// Writes the last line and gives back the file lock.
    pub(super) fn end_task(&mut self, id: u64, exit: Exit) {
        let (at, round) = (self.now, self.next_round);
        self.edit_task(id, |task| {
            let (line, exit, listed) = match exit {
                Exit::Fine => (Some("TASK OK".to_owned()), "OK".to_owned(), at),
                Exit::Warned => {
                    task.log.push("WARN: could not set something".to_owned());
                    (Some("TASK WARNINGS: 1".to_owned()), "WARNINGS: 1".to_owned(), at)
                }
                Exit::Failed(text) => (Some(format!("TASK ERROR: {text}")), text, at),
                Exit::Died => (None, "unexpected status".to_owned(), round),
            };
            task.log.extend(line);
            task.phase = Phase::Over;
            task.ended = Some(Ended { at, exit, listed });
        });
        self.running.remove(&id);
        self.file_locks.retain(|_, holder| *holder != id);
    }

    pub(super) fn edit_task(&mut self, id: u64, edit: impl FnOnce(&mut Task)) {
        if let Some(task) = self.tasks.get_mut(&id) {
            edit(task);
        }
    }
}
