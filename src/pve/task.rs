//! Tasks: what their UPIDs say, and how they ended.
//!
//! A UPID names the node that ran the task, and only that node can be asked about it.

use super::answer::Row;
use super::error::Error;
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Node, Upid};
use crate::domain::time::Timestamp;

/// What a UPID says of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The node that runs it.
    pub node: Node,
    /// `vzclone`, `vzstart`, `vzstop`, `vzdestroy` …
    pub kind: String,
    /// What it works on: a VMID, and for a clone that of the template.
    pub id: String,
    /// Who started it: `user@realm!token`.
    pub user: String,
    /// When, by the node's clock, in whole seconds.
    pub started: Timestamp,
}

impl Task {
    /// Reads a UPID; `None` for anything else.
    pub fn of(upid: &Upid) -> Option<Self> {
        parse(upid.as_str())
    }

    /// The task as errors name it.
    pub(super) fn call(&self) -> String {
        format!("{} of {} on {}", self.kind, self.id, self.node)
    }
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// It works.
    Running,
    /// It is over.
    Ended(Result<Warnings, Error>),
}

/// Whether a task that did its work also warned of something, which its log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warnings(pub bool);

/// `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:`.
pub(super) fn parse(upid: &str) -> Option<Task> {
    let parts: Vec<&str> = upid.split(':').collect();
    let ["UPID", node, pid, pstart, started, kind, id, user, ""] = parts.as_slice() else { return None };
    let hex = |text: &str, lengths: &[usize]| {
        let digits = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| i64::from_str_radix(text, 16).ok()).flatten()
    };
    hex(pid, &[8])?;
    hex(pstart, &[8, 9])?;
    let started = Timestamp(hex(started, &[8])? * 1000);
    if node.is_empty() || kind.is_empty() || user.is_empty() {
        return None;
    }
    Some(Task {
        node: Node((*node).to_owned()),
        kind: (*kind).to_owned(),
        id: (*id).to_owned(),
        user: (*user).to_owned(),
        started,
    })
}

/// Reads the answer about a task's status.
pub(super) fn state(task: &Task, row: &Row) -> Result<TaskState, Error> {
    match row.needed_text("status")?.as_str() {
        "running" => Ok(TaskState::Running),
        // Without an exit status its log has no end either.
        _ => Ok(TaskState::Ended(ended(
            task,
            row.text("exitstatus").as_deref().unwrap_or("unexpected status"),
        ))),
    }
}

/// What a task's exit status means.
pub(super) fn ended(task: &Task, exit: &str) -> Result<Warnings, Error> {
    match exit {
        "OK" => Ok(Warnings(false)),
        _ if exit.starts_with("WARNINGS: ") => Ok(Warnings(true)),
        _ => Err(Error::of_task(task.call(), exit)),
    }
}

/// What is wrong with a text that should be a UPID.
pub(super) fn not_a_upid(upid: &Upid) -> Error {
    Error {
        kind: FaultKind::Invalid,
        call: format!("task {upid}"),
        status: None,
        message: "expected UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::answer;
    use super::*;

    const CLONE: &str = "UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9000:sandbox@pve!pool:";

    fn clone() -> Task {
        Task {
            node: "pve1".into(),
            kind: "vzclone".to_owned(),
            id: "9000".to_owned(),
            user: "sandbox@pve!pool".to_owned(),
            started: Timestamp(1_795_489_603_000),
        }
    }

    #[test]
    fn a_upid_says_where_what_who_and_when() {
        assert_eq!(Task::of(&CLONE.into()), Some(clone()));
        for bad in [
            "",
            "garbage",
            "UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9000:sandbox@pve!pool",
            "UPID:pve1:1887:000736EB:6B04FF43:vzclone:9000:sandbox@pve!pool:",
            "UPID:pve1:00001887:000736EB:6B04FFZZ:vzclone:9000:sandbox@pve!pool:",
            "UPID::00001887:000736EB:6B04FF43:vzclone:9000:sandbox@pve!pool:",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_task_runs_until_it_has_ended_somehow() {
        let state_of = |status: Value| {
            answer::row("GET /x", status).and_then(|row| state(&clone(), &row)).map_err(|error| error.kind)
        };
        assert_eq!(state_of(json!({"status": "running", "pid": 6361})), Ok(TaskState::Running));
        assert_eq!(state_of(json!({})), Err(FaultKind::Unreadable));
        for (exit, expected) in [
            (json!("OK"), Ok(Warnings(false))),
            (json!("WARNINGS: 1"), Ok(Warnings(true))),
            (json!("unexpected status"), Err(FaultKind::Interrupted)),
            (json!(null), Err(FaultKind::Interrupted)),
            (json!("CT is locked (create)"), Err(FaultKind::Locked)),
            (json!("clone failed: no space left on device"), Err(FaultKind::NoSpace)),
        ] {
            let Ok(TaskState::Ended(ended)) = state_of(json!({"status": "stopped", "exitstatus": exit}))
            else {
                panic!("{exit} does not end the task");
            };
            assert_eq!(ended.map_err(|error| error.kind), expected, "{exit}");
        }
    }
}
