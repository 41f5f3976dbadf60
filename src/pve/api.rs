//! The calls that the pool makes, each typed, each sent once.
//!
//! A UPID means that PVE took the work on, not that it will succeed. A caller that goes away while a write is
//! under way leaves its outcome unknown, as a time-out does.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::Stopwatch;
use futures_util::future::{try_join, try_join_all};
use serde_json::Value;

use super::answer::{self, Row};
use super::error::Error;
use super::http::escape;
use super::lanes::Lanes;
use super::observe::{Called, Observer, Outcome, call_name};
use super::rows::{CtConfig, CtRow, CtStatus, GuestKind, GuestRow, NodeRow, StorageRow, TaskRow};
use super::task::{self, Task, TaskState};
use super::{Method, Request, Transport};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Hostname, Node, Upid, Vmid};
use crate::domain::time::Timestamp;

/// Rows that a list of tasks may have: one template makes one clone at a time.
const MAX_TASKS: u32 = 100;
/// Lines of a task's log that one call may ask for.
const MAX_LOG_LINES: u32 = 1000;

/// PVE, by way of whatever transport; cheap to clone.
#[derive(Clone)]
pub struct Pve {
    transport: Arc<dyn Transport>,
    lanes: Arc<Lanes>,
    observer: Option<Observer>,
}

/// A clone to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloneRequest {
    /// VMID of the new container.
    pub newid: Vmid,
    /// Its hostname; the template's would be inherited.
    pub hostname: Hostname,
    /// Its description; the template's would be inherited.
    pub description: String,
    /// Copy the volumes instead of linking them to the template's.
    pub full: bool,
    /// Resource pool to put it into.
    pub pool: Option<String>,
}

/// What to change in a container's configuration; what is `None` or false is left as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its hostname.
    pub hostname: Option<Hostname>,
    /// Its description.
    pub description: Option<String>,
    /// The configuration's digest as it was read: refused if it has changed since.
    pub digest: Option<String>,
    /// Do not start it with its node.
    pub clear_onboot: bool,
    /// Allow that it is destroyed.
    pub clear_protection: bool,
}

impl Pve {
    /// PVE behind `transport`.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, lanes: Arc::default(), observer: None }
    }

    /// The same, telling `observer` of each call that was made.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// PVE's version, `9.2.11`. Needs no right but a valid token.
    pub async fn version(&self) -> Result<String, Error> {
        self.row(None, "/version", &[]).await?.needed_text("version")
    }

    /// The nodes of the cluster.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, Error> {
        self.rows(None, "/nodes", &[]).await?.iter().map(NodeRow::read).collect()
    }

    /// Every guest that the token may see, containers and virtual machines.
    ///
    /// Where the cluster's list cannot be had, the nodes' own ones are read, and those of nodes that are not
    /// online are missing.
    pub async fn guests(&self) -> Result<Vec<GuestRow>, Error> {
        match self.guests_of_cluster().await {
            Err(error) if has_no_list(error.kind) => {
                tracing::debug!(%error, "the cluster's list of guests cannot be had");
                self.guests_by_node().await
            }
            outcome => outcome,
        }
    }

    /// The containers of a node that the token may see, up to date.
    pub async fn containers(&self, node: &Node) -> Result<Vec<CtRow>, Error> {
        let path = format!("/nodes/{}/lxc", escape(node.as_str()));
        self.rows(Some(node), &path, &[]).await?.iter().map(CtRow::read).collect()
    }

    /// Whether no guest of the cluster has the VMID, seen or unseen. Needs no right and reserves nothing.
    pub async fn vmid_free(&self, vmid: Vmid) -> Result<bool, Error> {
        let params = [("vmid", vmid.to_string())];
        match self.send(None, Method::Get, "/cluster/nextid".to_owned(), &params).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == FaultKind::VmidTaken => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A container's configuration as it is in force.
    pub async fn config(&self, node: &Node, vmid: Vmid) -> Result<CtConfig, Error> {
        let path = format!("{}/config", ct(node, vmid));
        self.row(Some(node), &path, &[("current", "1".to_owned())]).await.map(|row| CtConfig::read(&row))
    }

    /// A container's status.
    pub async fn status(&self, node: &Node, vmid: Vmid) -> Result<CtStatus, Error> {
        let path = format!("{}/status/current", ct(node, vmid));
        CtStatus::read(&self.row(Some(node), &path, &[]).await?)
    }

    /// Changes a container's configuration; it is in force when this returns.
    pub async fn set_config(&self, node: &Node, vmid: Vmid, change: &ConfigChange) -> Result<(), Error> {
        let mut params = Vec::new();
        if let Some(hostname) = &change.hostname {
            params.push(("hostname", hostname.to_string()));
        }
        if let Some(description) = &change.description {
            params.push(("description", description.clone()));
        }
        if change.clear_onboot {
            params.push(("onboot", "0".to_owned()));
        }
        if change.clear_protection {
            params.push(("protection", "0".to_owned()));
        }
        if let Some(digest) = &change.digest {
            params.push(("digest", digest.clone()));
        }
        let path = format!("{}/config", ct(node, vmid));
        self.send(Some(node), Method::Put, path, &params).await.map(drop)
    }

    /// Begins a clone; PVE refuses it while another clone of the template runs.
    pub async fn clone_ct(&self, node: &Node, template: Vmid, request: &CloneRequest) -> Result<Upid, Error> {
        let mut params = vec![
            ("newid", request.newid.to_string()),
            ("hostname", request.hostname.to_string()),
            ("description", request.description.clone()),
            ("full", bit(request.full)),
        ];
        if let Some(pool) = &request.pool {
            params.push(("pool", pool.clone()));
        }
        self.begin(node, Method::Post, format!("{}/clone", ct(node, template)), &params).await
    }

    /// Begins a start.
    pub async fn start(&self, node: &Node, vmid: Vmid) -> Result<Upid, Error> {
        self.begin(node, Method::Post, format!("{}/status/start", ct(node, vmid)), &[]).await
    }

    /// Begins a hard stop. `overrule_shutdown` cancels a shutdown that holds the container's lock; releases
    /// before 2024 refuse the parameter.
    pub async fn stop(&self, node: &Node, vmid: Vmid, overrule_shutdown: bool) -> Result<Upid, Error> {
        let params = [("overrule-shutdown", bit(true))];
        let params = if overrule_shutdown { &params[..] } else { &[] };
        self.begin(node, Method::Post, format!("{}/status/stop", ct(node, vmid)), params).await
    }

    /// Begins to destroy a container that does not run, with what jobs say about it.
    pub async fn destroy(&self, node: &Node, vmid: Vmid) -> Result<Upid, Error> {
        self.begin(node, Method::Delete, ct(node, vmid), &[("purge", bit(true))]).await
    }

    /// Whether the template's storage can make linked clones of it. A server that does not know the call says so
    /// by refusing the clone, if it cannot.
    pub async fn can_link(&self, node: &Node, vmid: Vmid) -> Result<bool, Error> {
        let path = format!("{}/feature", ct(node, vmid));
        match self.row(Some(node), &path, &[("feature", "clone".to_owned())]).await {
            Ok(row) => Ok(row.is_set("hasFeature")),
            Err(error) if error.kind == FaultKind::Unsupported => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Where a task stands, by the node that its UPID names.
    pub async fn task(&self, upid: &Upid) -> Result<TaskState, Error> {
        let task = Task::of(upid).ok_or_else(|| task::not_a_upid(upid))?;
        let path = format!("/nodes/{}/tasks/{}/status", escape(task.node.as_str()), escape(upid.as_str()));
        task::state(&task, &self.row(Some(&task.node), &path, &[]).await?)
    }

    /// The first lines of a task's log, at most `limit` of them (1 to 1000).
    ///
    /// PVE answers for a task that it does not know, too: with a line that says so.
    pub async fn task_log(&self, upid: &Upid, limit: u32) -> Result<Vec<String>, Error> {
        let task = Task::of(upid).ok_or_else(|| task::not_a_upid(upid))?;
        let path = format!("/nodes/{}/tasks/{}/log", escape(task.node.as_str()), escape(upid.as_str()));
        // 0 would be everything.
        let params = [("limit", limit.clamp(1, MAX_LOG_LINES).to_string())];
        let rows = self.rows(Some(&task.node), &path, &params).await?;
        Ok(rows.iter().map(|row| row.text("t").unwrap_or_default()).collect())
    }

    /// The clones of a template that began at `since` or later by the node's clock, running and ended.
    pub async fn clone_tasks(
        &self,
        node: &Node,
        template: Vmid,
        since: Timestamp,
    ) -> Result<Vec<TaskRow>, Error> {
        let path = format!("/nodes/{}/tasks", escape(node.as_str()));
        let params = [
            ("source", "all".to_owned()),
            ("typefilter", "vzclone".to_owned()),
            ("vmid", template.to_string()),
            ("since", since.0.div_euclid(1000).max(0).to_string()),
            ("limit", MAX_TASKS.to_string()),
        ];
        self.rows(Some(node), &path, &params).await?.iter().map(TaskRow::read).collect()
    }

    /// The tasks about a guest that PVE lists as running, which for some seconds may be over already.
    pub async fn running_tasks(&self, node: &Node, vmid: Vmid) -> Result<Vec<TaskRow>, Error> {
        let path = format!("/nodes/{}/tasks", escape(node.as_str()));
        let params =
            [("source", "active".to_owned()), ("vmid", vmid.to_string()), ("limit", MAX_TASKS.to_string())];
        let rows = self.rows(Some(node), &path, &params).await?;
        let tasks: Result<Vec<TaskRow>, Error> = rows.iter().map(TaskRow::read).collect();
        Ok(tasks?.into_iter().filter(|task| task.running).collect())
    }

    /// The rights that the token has on a path of PVE's access control, `/pool/warm`.
    pub async fn permissions(&self, path: &str) -> Result<BTreeSet<String>, Error> {
        let row = self.row(None, "/access/permissions", &[("path", path.to_owned())]).await?;
        Ok(row.names_under(path))
    }

    /// The resource pools that the token may see, which takes `Pool.Audit` on each.
    pub async fn resource_pools(&self) -> Result<BTreeSet<String>, Error> {
        self.rows(None, "/pools", &[]).await?.iter().map(|row| row.needed_text("poolid")).collect()
    }

    /// The node that a guest is on, as far as the token may see it.
    pub async fn find(&self, vmid: Vmid) -> Result<Option<Node>, Error> {
        Ok(self.guests().await?.into_iter().find(|guest| guest.vmid == vmid).map(|guest| guest.node))
    }

    /// The bridges of a node, and the vnets there, that the token may see or use.
    pub async fn bridges(&self, node: &Node) -> Result<BTreeSet<String>, Error> {
        let path = format!("/nodes/{}/network", escape(node.as_str()));
        let rows = self.rows(Some(node), &path, &[("type", "any_bridge".to_owned())]).await?;
        rows.iter().map(|row| row.needed_text("iface")).collect()
    }

    /// The storages of a node that the token may see.
    pub async fn storages(&self, node: &Node) -> Result<Vec<StorageRow>, Error> {
        let path = format!("/nodes/{}/storage", escape(node.as_str()));
        self.rows(Some(node), &path, &[]).await?.iter().map(StorageRow::read).collect()
    }

    async fn guests_of_cluster(&self) -> Result<Vec<GuestRow>, Error> {
        let rows = self.rows(None, "/cluster/resources", &[("type", "vm".to_owned())]).await?;
        rows.iter().filter_map(|row| GuestRow::read(row).transpose()).collect()
    }

    async fn guests_by_node(&self) -> Result<Vec<GuestRow>, Error> {
        let nodes = self.nodes().await?;
        let lists = nodes.into_iter().filter(|node| node.online).map(|node| async move {
            let of = |kind| self.guests_of_node(node.name.clone(), kind);
            try_join(of(GuestKind::Lxc), of(GuestKind::Qemu)).await
        });
        let lists = try_join_all(lists).await?;
        Ok(lists.into_iter().flat_map(|(lxc, qemu)| lxc.into_iter().chain(qemu)).collect())
    }

    async fn guests_of_node(&self, node: Node, kind: GuestKind) -> Result<Vec<GuestRow>, Error> {
        let list = match kind {
            GuestKind::Lxc => "lxc",
            GuestKind::Qemu => "qemu",
        };
        let path = format!("/nodes/{}/{list}", escape(node.as_str()));
        let rows = self.rows(Some(&node), &path, &[]).await?;
        rows.iter().map(|row| GuestRow::read_on(row, node.clone(), kind)).collect()
    }

    /// A call that begins a task.
    async fn begin(
        &self,
        node: &Node,
        method: Method,
        path: String,
        params: &[(&str, String)],
    ) -> Result<Upid, Error> {
        let call = format!("{method} {path}");
        answer::upid(&call, self.send(Some(node), method, path, params).await?)
    }

    async fn row(&self, node: Option<&Node>, path: &str, params: &[(&str, String)]) -> Result<Row, Error> {
        let data = self.send(node, Method::Get, path.to_owned(), params).await?;
        answer::row(&format!("GET {path}"), data)
    }

    async fn rows(
        &self,
        node: Option<&Node>,
        path: &str,
        params: &[(&str, String)],
    ) -> Result<Vec<Row>, Error> {
        let data = self.send(node, Method::Get, path.to_owned(), params).await?;
        answer::rows(&format!("GET {path}"), data)
    }

    /// The one way to PVE: waits for a place at the node, then sends once.
    async fn send(
        &self,
        node: Option<&Node>,
        method: Method,
        path: String,
        params: &[(&str, String)],
    ) -> Result<Value, Error> {
        let call = format!("{method} {path}");
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let name = call_name(method, &path);
        let _place = self.lanes.enter(node, method).await;
        let begun = Stopwatch::start();
        let outcome = match self.transport.call(Request { method, path, params }).await {
            Ok(answer) => answer::data(&call, &answer),
            Err(unanswered) => Err(Error::unanswered(&call, &unanswered)),
        };
        let took = begun.elapsed();
        if let Some(observer) = &self.observer {
            let outcome = Outcome::of(outcome.as_ref().err().map(|error| error.kind));
            observer(Called { name, write: method != Method::Get, outcome, took });
        }
        let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let code = outcome.as_ref().err().map_or("ok", |error| error.kind.code());
        let status = outcome.as_ref().err().and_then(|error| error.status);
        tracing::debug!(call, outcome = code, status, elapsed_ms, "a call of PVE");
        outcome
    }
}

/// Whether the nodes may know what the cluster's list does not tell.
fn has_no_list(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Unsupported | FaultKind::Forbidden | FaultKind::Unreadable)
}

/// The path of a container.
fn ct(node: &Node, vmid: Vmid) -> String {
    format!("/nodes/{}/lxc/{vmid}", escape(node.as_str()))
}

/// A truth value as PVE's schema wants it.
fn bit(flag: bool) -> String {
    u8::from(flag).to_string()
}
