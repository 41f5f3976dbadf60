//! The performance table, measured: sandboxes cloned directly, as a caller without the pool would, and the
//! same from the pool.
//!
//! Times depend on the simulation's durations; what is promised is who succeeds and from where.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use serde::Deserialize;

use super::{TEMPLATE, fill, ready, say};
use crate::clock::Stopwatch;
use crate::domain::ids::{Hostname, Node, Upid, Vmid};
use crate::engine::Engine;
use crate::pve::{CloneRequest, Error, Pve, TaskState};
use crate::sim::{Demo, Sim};

/// Requests at once, as the table has them.
const SCENARIOS: [(&str, u32); 3] =
    [("Single request", 1), ("5 concurrent requests", 5), ("Burst of 10 requests", 10)];

/// VMIDs of direct clones, away from the pool's.
const FIRST_DIRECT: u32 = 5000;

/// How one sandbox came about.
struct Sandbox {
    took: Duration,
    result: Result<Origin, String>,
}

struct Origin {
    vmid: u32,
    from_pool: bool,
}

/// The answer of `POST /allocate`, as far as it matters here.
#[derive(Deserialize)]
struct Allocated {
    vmid: u32,
    allocated_from_pool: bool,
}

/// The token of a caller that clones for itself.
const DIRECT_TOKEN: (&str, &str) = ("direct@pve!caller", "direct-secret");

/// Measures the table and says which promises did not hold.
pub(super) async fn measure(
    sim: &Sim,
    engine: &Engine,
    address: SocketAddr,
    target: u32,
) -> anyhow::Result<Vec<String>> {
    let pve = direct_caller(sim);
    let mut broken = Vec::new();
    let mut rows = Vec::new();
    for (name, count) in SCENARIOS {
        say(&format!("\n{name}: cloned directly …"))?;
        let direct = without_pool(&pve, count).await;
        say(&format!("{name}: from the pool …"))?;
        let pooled = with_pool(address, name, count).await?;
        judge(name, &pooled, target, &mut broken);
        rows.push((name, summary(&direct), summary(&pooled)));
        give_back(address, &pooled).await?;
        if ready(engine) < target {
            say("The pool refills by itself:")?;
        }
        fill(engine, target).await?;
    }
    let violations = sim.violations();
    if !violations.is_empty() {
        broken.push(format!("{} violations of PVE's rules: {violations:?}", violations.len()));
    }
    say(&table(&rows))?;
    Ok(broken)
}

/// A client of the simulated PVE that has nothing to do with the pool.
fn direct_caller(sim: &Sim) -> Pve {
    let (token, secret) = DIRECT_TOKEN;
    sim.with(|model| {
        model.add_token(token, secret, true);
        model.grant_pool_role(token, &["pool"]);
    });
    Pve::new(Arc::new(sim.transport(token, secret)))
}

/// Every request clones for itself: all but one meet the template's lock.
async fn without_pool(pve: &Pve, count: u32) -> Vec<Sandbox> {
    let node = Node::from("pve1");
    let sandboxes = join_all((0..count).map(|nth| direct(pve, &node, Vmid(FIRST_DIRECT + nth)))).await;
    for sandbox in &sandboxes {
        if let Ok(origin) = &sandbox.result {
            let vmid = Vmid(origin.vmid);
            // What a direct clone leaves behind is the simulation's own, and ends with it.
            let _ = destroy(pve, &node, vmid).await;
        }
    }
    sandboxes
}

async fn direct(pve: &Pve, node: &Node, vmid: Vmid) -> Sandbox {
    let watch = Stopwatch::start();
    let outcome = async {
        let request = CloneRequest {
            newid: vmid,
            hostname: Hostname(format!("direct-{vmid}")),
            description: String::new(),
            full: false,
            pool: None,
        };
        end(pve, &pve.clone_ct(node, Vmid(Demo::OTHER_TEMPLATE), &request).await?).await?;
        end(pve, &pve.start(node, vmid).await?).await
    };
    let result: Result<(), Error> = outcome.await;
    let origin = Origin { vmid: vmid.0, from_pool: false };
    Sandbox { took: watch.elapsed(), result: result.map(|()| origin).map_err(|error| error.message) }
}

async fn destroy(pve: &Pve, node: &Node, vmid: Vmid) -> Result<(), Error> {
    end(pve, &pve.stop(node, vmid, false).await?).await?;
    end(pve, &pve.destroy(node, vmid).await?).await
}

/// Waits for a task's end.
async fn end(pve: &Pve, upid: &Upid) -> Result<(), Error> {
    loop {
        match pve.task(upid).await? {
            TaskState::Running => tokio::time::sleep(Duration::from_millis(100)).await,
            TaskState::Ended(outcome) => return outcome.map(|_| ()),
        }
    }
}

async fn with_pool(address: SocketAddr, name: &str, count: u32) -> anyhow::Result<Vec<Sandbox>> {
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).build().context("no HTTP client")?;
    let prefix = name.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let requests = (0..count).map(|nth| allocate(&client, address, format!("{prefix}-{nth}")));
    Ok(join_all(requests).await)
}

async fn allocate(client: &reqwest::Client, address: SocketAddr, instance_id: String) -> Sandbox {
    let watch = Stopwatch::start();
    let body = serde_json::json!({ "template_vmid": TEMPLATE, "instance_id": instance_id });
    let outcome = async {
        let request = client.post(format!("http://{address}/allocate?start=true"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let response = request.send().await.map_err(|error| error.to_string())?;
        let ok = response.status().is_success();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !ok {
            return Err(text);
        }
        serde_json::from_str::<Allocated>(&text).map_err(|error| error.to_string())
    };
    let result = outcome.await.map(|a| Origin { vmid: a.vmid, from_pool: a.allocated_from_pool });
    Sandbox { took: watch.elapsed(), result }
}

async fn give_back(address: SocketAddr, sandboxes: &[Sandbox]) -> anyhow::Result<()> {
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([]).build().context("no HTTP client")?;
    let held = sandboxes.iter().filter_map(|sandbox| sandbox.result.as_ref().ok());
    let removals =
        held.map(|origin| client.delete(format!("http://{address}/containers/{}", origin.vmid)).send());
    for response in join_all(removals).await {
        response.and_then(reqwest::Response::error_for_status).context("a sandbox cannot be removed")?;
    }
    Ok(())
}

/// All succeed, each with a container of its own; as many as were ready come from the pool, before any other.
fn judge(name: &str, sandboxes: &[Sandbox], target: u32, broken: &mut Vec<String>) {
    let origins: Vec<&Origin> = sandboxes.iter().filter_map(|sandbox| sandbox.result.as_ref().ok()).collect();
    for error in sandboxes.iter().filter_map(|sandbox| sandbox.result.as_ref().err()) {
        broken.push(format!("{name}: {error}"));
    }
    let distinct: BTreeSet<u32> = origins.iter().map(|origin| origin.vmid).collect();
    if distinct.len() != origins.len() {
        broken.push(format!("{name}: two sandboxes got one container"));
    }
    let from_pool = origins.iter().filter(|origin| origin.from_pool).count();
    let expected = sandboxes.len().min(target as usize);
    if from_pool != expected {
        broken.push(format!("{name}: {from_pool} came from the pool, not {expected}"));
    }
    let took = |from_pool: bool| {
        let of = move |sandbox: &&Sandbox| sandbox.result.as_ref().is_ok_and(|it| it.from_pool == from_pool);
        sandboxes.iter().filter(of).map(|sandbox| sandbox.took)
    };
    if let (Some(last), Some(first)) = (took(true).max(), took(false).min())
        && last > first
    {
        broken.push(format!(
            "{name}: one came from the pool after {last:.1?}, a clone was there after {first:.1?}"
        ));
    }
}

fn summary(sandboxes: &[Sandbox]) -> String {
    let times = |wanted: &dyn Fn(&Origin) -> bool| -> Vec<Duration> {
        let of = |sandbox: &Sandbox| sandbox.result.as_ref().is_ok_and(wanted).then_some(sandbox.took);
        sandboxes.iter().filter_map(of).collect()
    };
    let mut parts = Vec::new();
    let (pooled, cloned) = (times(&|origin| origin.from_pool), times(&|origin| !origin.from_pool));
    if !pooled.is_empty() {
        parts.push(format!("{} at once in {}", pooled.len(), span(&pooled)));
    }
    if !cloned.is_empty() {
        parts.push(format!("{} cloned in {}", cloned.len(), span(&cloned)));
    }
    let failed: Vec<&String> = sandboxes.iter().filter_map(|sandbox| sandbox.result.as_ref().err()).collect();
    if let Some(first) = failed.first() {
        parts.push(format!("{} failed: {first}", failed.len()));
    }
    parts.join(", ")
}

fn span(times: &[Duration]) -> String {
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    let (least, most) = (seconds(times.iter().min()), seconds(times.iter().max()));
    if most - least < 0.1 { format!("{most:.1} s") } else { format!("{least:.1}–{most:.1} s") }
}

fn table(rows: &[(&str, String, String)]) -> String {
    let head = "\n| Scenario | Without Pool | With Pool |\n|---|---|---|".to_owned();
    let lines = rows.iter().map(|(name, direct, pooled)| format!("| {name} | {direct} | {pooled} |"));
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(seconds: u64, vmid: u32, from_pool: bool) -> Sandbox {
        Sandbox { took: Duration::from_secs(seconds), result: Ok(Origin { vmid, from_pool }) }
    }

    #[test]
    fn what_breaks_a_promise_is_told() {
        let good = || vec![sandbox(2, 201, true), sandbox(2, 202, true), sandbox(5, 203, false)];
        let judged = |change: fn(&mut Vec<Sandbox>)| {
            let (mut sandboxes, mut broken) = (good(), Vec::new());
            change(&mut sandboxes);
            judge("Burst", &sandboxes, 2, &mut broken);
            broken
        };
        assert_eq!(judged(|_| {}), Vec::<String>::new());
        assert_eq!(judged(|it| it[2].result = Err("503".to_owned())), ["Burst: 503"]);
        assert_eq!(judged(|it| it[0] = sandbox(2, 202, true)), ["Burst: two sandboxes got one container"]);
        assert_eq!(judged(|it| it[0] = sandbox(5, 201, false)), ["Burst: 1 came from the pool, not 2"]);
        let late = ["Burst: one came from the pool after 6.0s, a clone was there after 5.0s"];
        assert_eq!(judged(|it| it[1] = sandbox(6, 202, true)), late);
    }
}
