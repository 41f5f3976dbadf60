//! A first look without Proxmox VE: a simulated one and the service in one process.
//!
//! It owns what is shown in the terminal. The service does here what it does anywhere else; only its PVE is
//! simulated and its data directory fresh.

mod burst;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use crate::app::{self, Service};
use crate::clock::{self, Clock};
use crate::config::{Config, Secret, Sources};
use crate::domain::ids::Vmid;
use crate::engine::Engine;
use crate::pve::Pve;
use crate::sim::{self, DEMO_SECRET, DEMO_TOKEN, Demo, Sim, http as sim_http};
use anyhow::Context as _;

/// The template that the demo's pool is filled from.
pub const TEMPLATE: Vmid = Vmid(Demo::TEMPLATE);

/// A token of the simulated PVE for those who look at what the pool did; what it asks is not the pool's doing.
const AUDITOR_TOKEN: &str = "auditor@pve!eyes";
const AUDITOR_SECRET: &str = "5a1b0c3d-0000-4000-8000-00000000eyes";

/// A token of PVE.
#[derive(Clone, Debug)]
pub struct Token {
    name: String,
    secret: Secret,
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, secret) = text
            .split_once('=')
            .filter(|(name, _)| name.contains('!'))
            .ok_or("expected USER@REALM!ID=SECRET")?;
        Ok(Self { name: name.to_owned(), secret: Secret::new(secret) })
    }
}

/// Settings that make the simulated cluster the service's PVE, as they would stand in the environment.
pub fn settings(data_dir: &Path) -> [(&'static str, String); 4] {
    [
        ("PVE_API_URL", "http://127.0.0.1:8006".to_owned()),
        ("PVE_API_TOKEN", format!("{DEMO_TOKEN}={DEMO_SECRET}")),
        ("POOL_DATA_DIR", data_dir.display().to_string()),
        ("POOL_TEMPLATES", TEMPLATE.to_string()),
    ]
}

/// Gives a demo those settings. What is set for a real service names its PVE, its log, its receivers and its
/// tokens, and none of that is the demo's; flags are meant for it.
pub fn simulated(sources: &mut Sources<'_>, data_dir: &Path) {
    let of_a_service = |name: &str| {
        ["PVE_", "WEBHOOK", "POOL_API_TOKEN", "POOL_READ_TOKEN"].iter().any(|prefix| name.starts_with(prefix))
    };
    sources.env.retain(|name, _| !of_a_service(name));
    sources.dotenv.values.retain(|name, _| !of_a_service(name));
    sources.env.extend(settings(data_dir).map(|(name, value)| (name.to_owned(), value)));
}

/// A directory for one demo, removed when dropped.
pub struct FreshDir(PathBuf);

impl FreshDir {
    /// Makes one among the machine's temporary files.
    pub fn new() -> io::Result<Self> {
        let name = format!("sandbox-pool-demo-{:08x}", clock::chance().u32(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for FreshDir {
    fn drop(&mut self) {
        // A directory that stays behind costs a few kilobytes of temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Fills the pool in sight, then shows what to try and stays up, or measures the bursts and ends.
pub async fn run(config: Config, burst: bool) -> anyhow::Result<()> {
    let listener = app::listen(config.listen).await?;
    let address = listener.local_addr().context("the address cannot be read")?;
    let sim = simulator(1);
    let pve = Pve::new(Arc::new(sim.demo_transport()));
    let service = Service::start(&config, app::world(listener, pve)).await?;
    let (target, most) = (config.settings.sizes.target, config.settings.max_total);
    let target = if most == 0 { target } else { target.min(most) };
    say(&format!(
        "A simulated Proxmox VE with template {TEMPLATE}, and a pool that keeps {target} clones of it:"
    ))?;
    let engine = service.engine().clone();
    let script = async {
        fill(&engine, target).await?;
        if burst {
            return burst::measure(&sim, &engine, address, target).await.map(Some);
        }
        say(&invitation(address))?;
        std::future::pending().await
    };
    let mut outcome = Ok(None);
    let stop = async {
        tokio::select! {
            ended = script => outcome = ended,
            () = app::told_to_stop() => {}
        }
    };
    service.run_until(stop).await?;
    match outcome? {
        Some(broken) if !broken.is_empty() => anyhow::bail!("promises broken: {}", broken.join("; ")),
        None if burst => anyhow::bail!("broken off before it was measured"),
        Some(_) | None => Ok(()),
    }
}

/// Runs the simulated PVE alone, its work so many times faster, with trouble for so many calls of a hundred. At its
/// end it tells what its client did that a good one does not, and fails for it.
pub async fn simulate(
    listen: SocketAddr,
    seed: u64,
    hurry: u32,
    trouble: f64,
    token: Option<Token>,
) -> anyhow::Result<()> {
    if !listen.ip().is_loopback() {
        anyhow::bail!(
            "the simulated PVE lets in a token that everybody knows: --listen wants an address of this machine alone, such as 127.0.0.1:8006"
        );
    }
    let listener = app::listen(listen).await?;
    let address = listener.local_addr().context("the address cannot be read")?;
    let sim = simulator(seed);
    sim.with(|model| {
        model.durations_mut().hurry(hurry);
        for rule in sim::everyday(trouble) {
            model.add_fault(rule);
        }
        model.add_token(AUDITOR_TOKEN, AUDITOR_SECRET, false);
        model.grant(AUDITOR_TOKEN, "/vms", &["VM.Audit"]);
        if let Some(Token { name, secret }) = &token {
            model.add_installed_token(name, secret.expose());
        }
    });
    say(&format!(
        "A simulated Proxmox VE. Point the service at it:\n\n  \
         PVE_API_URL=http://{address} PVE_API_TOKEN='{DEMO_TOKEN}={DEMO_SECRET}' \\\n  \
         POOL_TEMPLATES={TEMPLATE} POOL_DATA_DIR=$(mktemp -d) sandbox-pool\n"
    ))?;
    sim_http::serve(listener, sim.clone(), app::told_to_stop()).await.context("the simulated PVE ended")?;
    let violations = sim.violations();
    for violation in &violations {
        say(&format!("{} {:?} {}", violation.at, violation.rule, violation.text))?;
    }
    anyhow::ensure!(
        violations.is_empty(),
        "its client did what a good one never does, {} times",
        violations.len()
    );
    Ok(())
}

/// A simulated PVE that may run for long: nobody asks it what calls there were.
fn simulator(seed: u64) -> Sim {
    let sim = Sim::demo(Clock::system().now(), seed);
    sim.with(|model| model.remember_calls(0));
    sim
}

/// Shows the pool filling until it is full.
async fn fill(engine: &Engine, target: u32) -> anyhow::Result<()> {
    let mut watch = engine.watch();
    let mut shown = None;
    loop {
        let ready = ready(engine);
        if shown != Some(ready) {
            let (full, rest) =
                ("■".repeat(ready as usize), "□".repeat(target.saturating_sub(ready) as usize));
            say(&format!("  {full}{rest} {ready} of {target} ready"))?;
            shown = Some(ready);
        }
        if ready >= target {
            return Ok(());
        }
        watch.changed().await.context("the service ended")?;
    }
}

/// Ready containers of the demo's template.
fn ready(engine: &Engine) -> u32 {
    engine.published().state.template(TEMPLATE).map_or(0, |template| template.counts.ready)
}

fn invitation(address: SocketAddr) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "sandbox-pool".to_owned());
    format!(
        "\nTry it from another terminal:\n\n  \
         curl -X POST 'http://{address}/allocate?start=true' -H 'Content-Type: application/json' \\\n       \
         -d '{{\"template_vmid\":{TEMPLATE},\"instance_id\":\"pvelxc-1a2b3c4d\",\"metadata\":{{\"teamId\":\"t\",\"userId\":\"u\"}}}}'\n  \
         curl http://{address}/status\n  \
         curl -X POST 'http://{address}/warm/{TEMPLATE}?count=8'\n  \
         curl -X POST http://{address}/release/201\n  \
         curl -X DELETE http://{address}/containers/202\n\n\
         or without curl:\n\n  \
         {program} status --url http://{address}\n  \
         {program} allocate {TEMPLATE} --url http://{address}\n\n\
         Ctrl-C ends it."
    )
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{text}").context("cannot write to standard output")
}
