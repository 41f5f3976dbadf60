//! What the API says of tasks: list, status and log, and stopping one.

use serde_json::{Value, json};

use super::access::user_of;
use super::model::{Context, Model};
use super::reply::{Done, Halt, data};
use super::tasks::{Exit, Task, Work};
use crate::domain::time::Timestamp;

/// Rows and lines when the caller names no limit.
const LIMIT: u64 = 50;

impl Model {
    pub(super) fn task_list(&self, context: &Context) -> Value {
        let source = context.get("source").unwrap_or("archive");
        let all = self.may(context, &format!("/nodes/{}", context.node()), "Sys.Audit");
        let mut found: Vec<&Task> = self
            .tasks
            .values()
            .filter(|task| task.node == context.node() && (all || is_own(task, &context.caller.name)))
            .filter(|task| match source {
                "active" => self.listed_end(task).is_none(),
                "all" => true,
                _ => self.listed_end(task).is_some(),
            })
            .filter(|task| self.is_wanted(context, task))
            .collect();
        found.sort_by_key(|task| {
            (task.ended.as_ref().map_or(Timestamp(i64::MAX), |ended| ended.at), task.pid)
        });
        let total = found.len();
        let rows: Vec<Value> = found
            .into_iter()
            .rev()
            .skip(offset(context, "start", 0))
            .take(offset(context, "limit", LIMIT))
            .map(|task| self.task_row(task))
            .collect();
        json!({ "data": rows, "total": total })
    }

    pub(super) fn task_status(&self, context: &Context) -> Done {
        let task = self.task_of(context)?.1;
        let mut row = head(task);
        row["upid"] = json!(task.upid);
        match &task.ended {
            Some(ended) => {
                row["status"] = json!("stopped");
                row["exitstatus"] = json!(ended.exit);
            }
            None => row["status"] = json!("running"),
        }
        split_user(&mut row, &task.caller);
        Ok(data(row))
    }

    pub(super) fn task_log(&self, context: &Context) -> Done {
        check_upid(context.name())?;
        let lines = match self.tasks.values().find(|task| task.upid == context.name()) {
            Some(task) => {
                self.check_owner(context, task, "Sys.Audit")?;
                task.log.clone()
            }
            None => vec!["unable to open file - No such file or directory".to_owned()],
        };
        let lines = if lines.is_empty() { vec!["no content".to_owned()] } else { lines };
        let limit = match offset(context, "limit", LIMIT) {
            0 => usize::MAX,
            limit => limit,
        };
        let rows: Vec<Value> = lines
            .iter()
            .enumerate()
            .skip(offset(context, "start", 0))
            .take(limit)
            .map(|(index, line)| json!({ "n": index + 1, "t": line }))
            .collect();
        Ok(json!({ "data": rows, "total": lines.len() }))
    }

    pub(super) fn task_stop(&mut self, context: &Context) -> Done {
        let (id, task) = self.task_of(context)?;
        let (vmid, work, over) = (task.vmid, task.work.clone(), task.ended.is_some());
        if !over {
            match &work {
                Work::Clone(clone) => self.clone_interrupted(id, vmid, clone),
                Work::Shutdown { .. } => self.interrupt_shutdown(id),
                Work::Start
                | Work::Stop
                | Work::Reboot
                | Work::Destroy { .. }
                | Work::SnapshotCreate { .. }
                | Work::SnapshotDelete { .. }
                | Work::SnapshotRollback { .. }
                | Work::Nothing => self.end_task(id, Exit::Died),
            }
        }
        Ok(data(Value::Null))
    }

    fn task_of(&self, context: &Context) -> Result<(u64, &Task), Halt> {
        check_upid(context.name())?;
        let (id, task) = self
            .tasks
            .iter()
            .find(|(_, task)| task.upid == context.name())
            .ok_or_else(|| Halt::parameter("upid", "no such task"))?;
        let privilege = if context.incoming.method == "DELETE" { "Sys.Modify" } else { "Sys.Audit" };
        self.check_owner(context, task, privilege)?;
        Ok((*id, task))
    }

    fn check_owner(&self, context: &Context, task: &Task, privilege: &str) -> Result<(), Halt> {
        if is_own(task, &context.caller.name) {
            return Ok(());
        }
        self.require(context, &format!("/nodes/{}", context.node()), &[privilege])
    }

    fn is_wanted(&self, context: &Context, task: &Task) -> bool {
        let exit = self.listed_end(task);
        let status = match exit {
            Some("OK") => "ok",
            Some(text) if text.starts_with("WARNINGS") => "warning",
            Some("unexpected status") | None => "unknown",
            Some(_) => "error",
        };
        let started = u64::try_from(task.started.0.div_euclid(1000)).unwrap_or_default();
        let is = |name: &str, test: &dyn Fn(&str) -> bool| context.get(name).is_none_or(test);
        is("vmid", &|vmid| vmid == task.vmid.to_string())
            && is("typefilter", &|kind| kind == task.kind)
            && is("userfilter", &|user| task.caller.contains(user))
            && is("statusfilter", &|wanted| wanted.split(',').any(|wanted| wanted == status))
            && is("errors", &|flag| flag != "1" || matches!(status, "error" | "unknown"))
            && context.number("since").is_none_or(|since| started >= since)
            && context.number("until").is_none_or(|until| started <= until)
    }

    /// How a task ended, once the list of tasks knows it.
    fn listed_end<'a>(&self, task: &'a Task) -> Option<&'a str> {
        task.ended.as_ref().filter(|ended| ended.listed <= self.now).map(|ended| ended.exit.as_str())
    }

    fn task_row(&self, task: &Task) -> Value {
        let mut row = head(task);
        row["upid"] = json!(task.upid);
        if let (Some(exit), Some(ended)) = (self.listed_end(task), &task.ended) {
            row["status"] = json!(exit);
            row["endtime"] = json!(ended.at.0.div_euclid(1000));
            split_user(&mut row, &task.caller);
        } else {
            row["status"] = json!("RUNNING");
            row["saved"] = json!("0");
            row["user"] = json!(task.caller);
        }
        row
    }
}

fn head(task: &Task) -> Value {
    json!({
        "node": task.node,
        "pid": task.pid,
        "pstart": task.pstart,
        "starttime": task.started.0.div_euclid(1000),
        "type": task.kind,
        "id": task.vmid.to_string(),
    })
}

fn split_user(row: &mut Value, caller: &str) {
    row["user"] = json!(user_of(caller));
    if let Some((_, token)) = caller.split_once('!') {
        row["tokenid"] = json!(token);
    }
}

fn is_own(task: &Task, caller: &str) -> bool {
    task.caller == caller
}

fn check_upid(upid: &str) -> Result<(), Halt> {
    let parts: Vec<&str> = upid.split(':').collect();
    let good = parts.len() == 9 && parts.first() == Some(&"UPID") && parts.last() == Some(&"");
    good.then_some(()).ok_or_else(|| Halt::parameter("upid", "unable to parse worker upid"))
}

fn offset(context: &Context, name: &str, fallback: u64) -> usize {
    usize::try_from(context.number(name).unwrap_or(fallback)).unwrap_or(usize::MAX)
}
