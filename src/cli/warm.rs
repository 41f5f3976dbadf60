//! `warm`: a template is filled, and whoever waits sees how far it is.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::ask::{Service, converse, with_query};
use super::client::Client;
use super::{table, wait};
use crate::clock::Clock;
use crate::domain::ids::Vmid;

/// A template to be filled.
#[derive(Debug, Args)]
pub struct Warm {
    #[command(flatten)]
    service: Service,
    /// VMID of the template
    template: Vmid,
    /// Ready and creating containers to reach [default: the template's target]
    #[arg(long, value_name = "NUMBER")]
    count: Option<u32>,
    /// Wait until they are ready, and show how far it is; exit code 1 if they will not be
    #[arg(long)]
    wait: bool,
}

impl Warm {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { service, template, count, wait } = self;
        converse(async {
            let client = service.client()?;
            let path = with_query(&format!("/warm/{template}"), &[("count", count.map(|it| it.to_string()))]);
            let warming = client.call(Method::POST, &path, None).await?;
            if !wait || !service.json {
                service.show(&warming, |it| {
                    format!("{} clones queued, from {} to {}", it["queued"], it["current"], it["target"])
                })?;
            }
            if !wait {
                return Ok(ExitCode::SUCCESS);
            }
            let full = filled(&client, template, warming["target"].as_u64().unwrap_or(0)).await?;
            service.show(&client.get(&format!("/templates/{template}")).await?, table::template)?;
            Ok(if full { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        })
    }
}

/// Waits until a template has so many ready containers, or will not have them.
async fn filled(client: &Client, template: Vmid, target: u64) -> anyhow::Result<bool> {
    let mut bar = None;
    loop {
        let pool = client.get("/status?containers=false").await?;
        let state = &pool["templates"][template.to_string()];
        let ready = state["ready_count"].as_u64().unwrap_or(0);
        let bar = bar.get_or_insert_with(|| wait::bar(ready, target, table::duration(&state["clone_ms"])));
        bar.set_position(ready);
        bar.set_message(table::trouble(&pool["service"]).map(|it| format!("; {it}")).unwrap_or_default());
        if ready >= target || nothing_comes(state) {
            bar.finish_and_clear();
            return Ok(ready >= target);
        }
        Clock::system().sleep(wait::LOOK_EVERY).await;
    }
}

/// Whether nobody works on more ready containers: the template backs off or is drained, or the pool is at its limit.
fn nothing_comes(template: &Value) -> bool {
    let none = |field: &str| template[field].as_u64() == Some(0);
    // One that the service does not know any more is a log that was changed for another.
    template.is_null()
        || template["backoff"].is_object()
        || template["drained"] == true
        || (none("queued_clones") && none("creating_count"))
}
