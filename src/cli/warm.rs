//! `warm`: a template is filled, and whoever waits sees how far it is.

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::ask::{Service, converse, with_query};
use super::client::Client;
use super::{say, table, wait};
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
    /// Wait until they are ready, and show how far it is; exit code 1 if they will not be. While PVE is away it waits
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
                service.show(&warming, |it| in_words(it, count))?;
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

/// What a request to fill led to.
fn in_words(warming: &Value, count: Option<u32>) -> String {
    let number = |field: &str| warming[field].as_u64().unwrap_or(0);
    let (queued, current, target) = (number("queued"), number("current"), number("target"));
    let most = match count {
        Some(count) if target < u64::from(count) => ", the most that the template may have",
        _ => "",
    };
    let clones = if queued == 1 { "clone" } else { "clones" };
    match queued {
        0 if current >= target => format!("nothing to do: {current} are ready or being made{most}"),
        _ => format!("{queued} {clones} queued, from {current} to {target}{most}"),
    }
}

/// Waits until a template has so many ready containers, or will not have them.
async fn filled(client: &Client, template: Vmid, target: u64) -> anyhow::Result<bool> {
    let (mut bar, mut told) = (None, None);
    loop {
        let pool = client.get("/status?containers=false").await?;
        let state = &pool["templates"][template.to_string()];
        let ready = state["ready_count"].as_u64().unwrap_or(0);
        let bar = bar.get_or_insert_with(|| wait::bar(ready, target, table::duration(&state["clone_ms"])));
        bar.set_position(ready);
        let trouble = table::trouble(&pool["service"]);
        if trouble != told {
            bar.suspend(|| trouble.as_deref().map(say::remark));
            told = trouble;
        }
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
