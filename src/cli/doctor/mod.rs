//! `sandbox-pool doctor`: looks at everything that the service stands on, and says how to mend what is not well.
//!
//! It changes nothing, at PVE or here; a file in the data directory that times its disk is removed again. What
//! depends on something that failed is skipped, so that one fault is named once.

mod finding;
mod account;
mod event_log;
mod unit;
mod settings;
mod here;
mod ownership;
mod pve;
mod rights;
mod template;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::place::{INSTALLED, sources};
use super::{say, wait};
use crate::app;
use crate::clock::Clock;
use crate::config::{Checks, Config, Flags, Sources};
use crate::pve::Pve;
use account::Account;

pub use finding::{Finding, Level, Report};

/// What to examine.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Show what was found as JSON, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let report = Report::of(look(self.flags)?);
        if self.json {
            say::json(&report)?;
        } else {
            say::line(&report.in_words())?;
        }
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Looks at the settings, and with them at everything else.
fn look(flags: Flags) -> anyhow::Result<Vec<Finding>> {
    let given = flags.env_file.clone();
    let sources = match sources(flags.settings, flags.env_file.as_deref()) {
        Ok(sources) => sources,
        Err(errors) => return Ok(alone(settings::wrong(&errors, Path::new(INSTALLED)))),
    };
    // A CA is needed to ask anything; webhooks have a check of their own, which stops no other.
    let checks = Checks { ca: app::CHECKS.ca, ..Checks::default() };
    let mut sources = Sources { checks, ..sources };
    let kept = settings::kept(&sources);
    if kept.is_some() {
        // A finding says it, with what mends it.
        sources.dotenv.complaints.clear();
    }
    let file = given.unwrap_or_else(|| settings::file(&sources));
    let (config, warnings) = match Config::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let kept = kept.map(|file| vec![settings::roots_alone(file)]);
            return Ok(alone(kept.unwrap_or_else(|| settings::wrong(&errors, &file))));
        }
    };
    let is_the_services = settings::are_the_services(&sources, &file);
    let service = if is_the_services { Account::of_the_service() } else { None };
    let mut unread = settings::unread(&sources, service.as_ref());
    unread.extend(kept.map(settings::passed_over));
    let mut findings = settings::settings(&warnings, unread, &file);
    findings.extend(settings::webhooks(&config.webhooks, service.as_ref(), &file));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        findings.extend(wait::answer(at_pve(&config, &file), async || "looking at PVE".to_owned()).await);
        findings.extend(here::data_dir(&config.data_dir, service.as_ref(), &file));
        findings.push(event_log::examine(&config.data_dir));
        findings.push(match here::listen(config.listen, service.is_some(), &file) {
            Some(finding) => finding,
            None => here::taken(config.listen, served_by(config.listen).await.as_deref()),
        });
    });
    Ok(findings)
}

/// Without settings nothing else can be looked at.
fn alone(mut findings: Vec<Finding>) -> Vec<Finding> {
    let others = ["pve-address", "data-dir", "log", "listen"];
    findings.extend(others.map(|check| Finding::skip(check, "not looked at: the settings cannot be used")));
    findings
}

/// What is found at PVE, with the time there, which its answers tell.
async fn at_pve(config: &Config, file: &Path) -> Vec<Finding> {
    let transport = match app::transport(config) {
        Ok(transport) => transport,
        Err(error) => return pve::no_way(&error),
    };
    let asked = Clock::system().now();
    let ahead = transport.time().await.map(|there| {
        // The answer's instant is between the two, and in whole seconds.
        let now = Clock::system().now();
        let half = i64::try_from(now.since(asked).as_millis() / 2).unwrap_or(0);
        there.0 + 500 - (asked.0 + half)
    });
    pve::examine(config, &Pve::new(std::sync::Arc::new(transport)), file, ahead).await
}

/// How long whoever has the address may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// The version of the service at an address, if it is one of ours.
async fn served_by(address: SocketAddr) -> Option<String> {
    let client = super::client::Client::new(&format!("http://{address}").parse().ok()?, None).ok()?;
    let health = tokio::time::timeout(PATIENCE, client.get("/health")).await.ok()?.ok()?;
    health["parts"]["log"].is_object().then(|| health["version"].as_str().map(str::to_owned))?
}
