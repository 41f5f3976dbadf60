//! What an operator asks of a running service: `status`, `allocate`, `release`, `remove`, `template`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use super::client::{CallError, Client};
use super::place::EnvFile;
use super::{say, table, wait};
use crate::clock::Clock;
use crate::config::{ClientConfig, Secret};
use crate::domain::ids::Vmid;
use crate::log::Moment;

/// From one picture of the pool to the next.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// The service that is asked.
#[derive(Debug, Args)]
pub struct Service {
    /// Address of the service [default: where its settings say that it listens]
    #[arg(long, value_name = "URL", env = "PVE_POOL_URL")]
    url: Option<String>,
    /// Show what it answers as JSON, each thing on one line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    env_file: EnvFile,
}

/// The whole pool.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    service: Service,
    /// Show it again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// The pool as it was behind an event, or at an instant such as 2026-11-24T09:00:00Z
    #[arg(long, value_name = "SEQ|TIME", conflicts_with = "watch")]
    at: Option<Moment>,
}

/// A container to be had.
#[derive(Debug, Args)]
pub struct Allocate {
    #[command(flatten)]
    service: Service,
    /// VMID of the template
    template: Vmid,
    /// Name of the sandbox, which becomes the hostname; asked for again, it is the same container [default: a new name]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// The caller's own words about it, such as teamId=t; may be given several times
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Release it by itself after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    ttl: Option<u64>,
    /// Hand it out without starting it
    #[arg(long)]
    no_start: bool,
}

/// A container that leaves.
#[derive(Debug, Args)]
pub struct Leave {
    #[command(flatten)]
    service: Service,
    /// VMID of the container
    vmid: Vmid,
    /// Only if this instance holds it
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
}

/// Commands about a template.
#[derive(Debug, Subcommand)]
pub enum Template {
    /// Show its sizes, its containers and its troubles.
    Get(OfTemplate),
    /// Set its sizes, and put a drained one to use; what is not given is as configured.
    Set(SetTemplate),
    /// Hand nothing more out of it, and destroy what nobody holds.
    Drain(OfTemplate),
    /// Replace its ready containers by new clones, after it was changed.
    Refresh(OfTemplate),
}

/// A template.
#[derive(Debug, Args)]
pub struct OfTemplate {
    #[command(flatten)]
    service: Service,
    /// VMID of the template
    vmid: Vmid,
}

/// A template and its sizes.
#[derive(Debug, Args)]
pub struct SetTemplate {
    #[command(flatten)]
    of: OfTemplate,
    /// Below this its refill goes before that of templates that have reached theirs
    #[arg(long, value_name = "NUMBER")]
    min: Option<u32>,
    /// What refill restores
    #[arg(long, value_name = "NUMBER")]
    target: Option<u32>,
    /// Never more than this, not counting those that somebody holds
    #[arg(long, value_name = "NUMBER")]
    max: Option<u32>,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs a conversation with a service.
pub(super) fn converse<T>(talk: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(talk)
}

impl Service {
    /// Its URL, and a token that it takes.
    pub(super) fn place(&self) -> anyhow::Result<(Url, Option<Secret>)> {
        let config = ClientConfig::load(&self.env_file.sources(BTreeMap::new())?)?;
        let url = self
            .url
            .clone()
            .filter(|url| !url.is_empty())
            .unwrap_or_else(|| format!("http://{}", config.address));
        let url = url
            .parse()
            .with_context(|| format!("{url} is no URL; --url wants one like http://127.0.0.1:8007"))?;
        Ok((url, config.token))
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let (url, token) = self.place()?;
        Client::new(&url, token.as_ref())
    }

    /// Makes one call and shows its answer, as JSON or in words.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        words: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        self.ask_with_news(method, path, body, &async |_| String::new(), words)
    }

    /// The same; `news` asks how it is going, while it takes its time.
    fn ask_with_news(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        news: &impl AsyncFn(&Client) -> String,
        words: impl FnOnce(&Value) -> String,
    ) -> anyhow::Result<ExitCode> {
        converse(async {
            let client = self.client()?;
            let answer = wait::answer(client.call(method, path, body), async || news(&client).await).await?;
            self.show(&answer, words)?;
            Ok(ExitCode::SUCCESS)
        })
    }

    pub(super) fn show(&self, answer: &Value, words: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        if self.json { say::json(answer) } else { say::line(&words(answer)) }
    }
}

/// A path with the parameters that are given.
pub(super) fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

impl Status {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { service, watch, at } = self;
        let at = at.map(|at| match at {
            Moment::Event(seq) => seq.to_string(),
            Moment::Instant(at) => at.to_string(),
        });
        let path = with_query("/status", &[("at", at)]);
        if !watch {
            return service.ask(Method::GET, &path, None, table::status);
        }
        converse(async {
            let client = service.client()?;
            loop {
                match client.get(&path).await {
                    Ok(pool) if service.json => say::json(&pool)?,
                    // Clears the terminal, as `watch` does.
                    Ok(pool) => say::line(&format!("\x1b[H\x1b[2J{}", table::status(&pool)))?,
                    // A restart of the service is a pause for whoever watches.
                    Err(error @ CallError::NoAnswer { .. }) => say::line(&format!("{error}"))?,
                    Err(error) => return Err(error.into()),
                }
                Clock::system().sleep(WATCH_EVERY).await;
            }
        })
    }
}

impl Allocate {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let metadata: BTreeMap<_, _> = self.metadata.into_iter().collect();
        let body = json!({
            "template_vmid": self.template.0,
            "instance_id": self.instance,
            "metadata": metadata,
            "ttl_seconds": self.ttl,
        });
        let path = format!("/allocate?start={}", !self.no_start);
        let news = async |client: &Client| {
            let template = client.get(&format!("/templates/{}", self.template)).await.unwrap_or_default();
            in_line(&template, self.instance.as_deref())
        };
        self.service.ask_with_news(Method::POST, &path, Some(&body), &news, |it| {
            let from = if it["allocated_from_pool"] == Value::Bool(true) { "ready" } else { "made for it" };
            format!("{}  {}  on {} ({from})", it["vmid"], text(&it["hostname"]), text(&it["node"]))
        })
    }
}

/// Where whoever asked stands, if it waits, and for about how long; how many wait, if nobody knows its name.
fn in_line(template: &Value, instance: Option<&str>) -> String {
    let waiting = template["waiting_count"].as_u64().unwrap_or(0);
    if waiting == 0 {
        return String::new();
    }
    let clones = &template["creating_count"];
    let mut text = format!("{waiting} in line, {clones} being cloned");
    let place = instance.and_then(|name| {
        template["waiters"].as_array()?.iter().zip(1..).find(|(it, _)| it["instance_id"] == name)
    });
    if let Some((_, place)) = place {
        text = format!("number {place} of {text}");
        // The clone that is under way for the first has a part of it behind itself already.
        if let Some(clone) = table::duration(&template["clone_ms"]) {
            let start = table::duration(&template["start_ms"]).unwrap_or_default();
            text += &wait::to_go(clone * place + start);
        }
    }
    if let Some(why) = template["backoff"]["reason"].as_str() {
        text = format!("{text}; its clones fail: {why}");
    }
    text
}

impl Leave {
    pub(super) fn release(self) -> anyhow::Result<ExitCode> {
        let path = format!("/release/{}", self.vmid);
        self.leave(Method::POST, &path)
    }

    pub(super) fn remove(self) -> anyhow::Result<ExitCode> {
        let path = format!("/containers/{}", self.vmid);
        self.leave(Method::DELETE, &path)
    }

    fn leave(self, method: Method, path: &str) -> anyhow::Result<ExitCode> {
        let path = with_query(path, &[("instance_id", self.instance)]);
        self.service.ask(method, &path, None, |it| format!("{}  {}", it["vmid"], text(&it["status"])))
    }
}

impl Template {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = |of: &OfTemplate| format!("/templates/{}", of.vmid);
        match self {
            Self::Get(of) => converse(async {
                let client = of.service.client()?;
                let template = client.get(&path(&of)).await?;
                if of.service.json {
                    say::json(&template)?;
                } else {
                    let pool = client.get("/status?containers=false").await?;
                    let trouble = table::trouble(&pool["service"]).map(|it| format!("! {it}\n"));
                    say::line(&(trouble.unwrap_or_default() + &table::template(&template)))?;
                }
                Ok(ExitCode::SUCCESS)
            }),
            Self::Set(SetTemplate { of, min, target, max }) => {
                let given = [("min", min), ("target", target), ("max", max)];
                let sizes: Map<String, Value> = given
                    .into_iter()
                    .filter_map(|(name, size)| Some((name.to_owned(), size?.into())))
                    .collect();
                of.service.ask(Method::PUT, &path(&of), Some(&sizes.into()), table::template)
            }
            Self::Drain(of) => of.service.ask(Method::DELETE, &path(&of), None, table::template),
            Self::Refresh(of) => {
                of.service.ask(Method::POST, &format!("{}/refresh", path(&of)), None, table::template)
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_its_place_and_about_how_long() {
        let mut template = json!({
            "waiting_count": 3,
            "creating_count": 1,
            "waiters": [{"instance_id": "a"}, {"instance_id": "b"}, {"instance_id": "c"}],
        });
        assert_eq!(in_line(&template, Some("b")), "number 2 of 3 in line, 1 being cloned");
        template["clone_ms"] = json!(5000);
        template["start_ms"] = json!(2000);
        assert_eq!(
            in_line(&template, Some("b")),
            "number 2 of 3 in line, 1 being cloned, about 12 seconds to go"
        );
        assert_eq!(in_line(&template, Some("z")), "3 in line, 1 being cloned", "it is being started");
        assert_eq!(in_line(&template, None), "3 in line, 1 being cloned");
        template["backoff"] = json!({"reason": "no space left"});
        assert!(in_line(&template, None).ends_with("; its clones fail: no space left"));
        assert_eq!(in_line(&json!({"waiting_count": 0}), Some("a")), "");
    }
}
