//! `sandbox-pool doctor`: looks at everything that the service stands on, and says how to mend what is not well.
//!
//! It changes nothing, at PVE or here; a file in the data directory that times its disk is removed again. What
//! depends on something that failed is skipped, so that one fault is named once.

mod finding;
mod here;
mod pve;
mod rights;
mod template;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::place::{INSTALLED, sources};
use super::say;
use crate::causes;
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Flags, Warning, WebhookConfig};
use crate::pve::Pve;
use crate::webhook::Endpoint;

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
        let Self { json, flags } = self;
        let sources = sources(flags.settings, flags.env_file.as_deref())?;
        let report = match Config::load(&sources) {
            Ok((config, warnings)) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let checks = runtime.context("cannot start the runtime")?.block_on(examine(&config))?;
                let settings = settings(&warnings).into_iter().chain(webhooks(&config.webhooks));
                Report::of(settings.chain(checks).collect())
            }
            Err(errors) => Report::of(wrong_settings(&errors)),
        };
        if json {
            say::json(&report)?;
        } else {
            say::line(&report.in_words())?;
        }
        Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn examine(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let transport = crate::app::transport(config)?;
    let asked = Clock::system().now();
    let ahead = transport.time().await.map(|there| {
        // The answer's instant is between the two, and in whole seconds.
        let now = Clock::system().now();
        let half = i64::try_from(now.since(asked).as_millis() / 2).unwrap_or(0);
        there.0 + 500 - (asked.0 + half)
    });
    let mut findings = pve::examine(config, &Pve::new(std::sync::Arc::new(transport)), ahead).await;
    findings.extend(here::data_dir(&config.data_dir, here::Account::of_the_service()));
    findings.push(match here::listen(config.listen) {
        Some(finding) => finding,
        None => here::taken(config.listen, served_by(config.listen).await.as_deref()),
    });
    Ok(findings)
}

/// The version of the service at an address, if it is one of ours.
async fn served_by(address: SocketAddr) -> Option<String> {
    let client = super::client::Client::new(&format!("http://{address}").parse().ok()?, None).ok()?;
    let health = client.get("/health").await.ok()?;
    health["parts"]["log"].is_object().then(|| health["version"].as_str().map(str::to_owned))?
}

fn settings(warnings: &[Warning]) -> Vec<Finding> {
    if warnings.is_empty() {
        return vec![Finding::ok("settings", "can be read")];
    }
    doubted(warnings)
}

fn doubted(warnings: &[Warning]) -> Vec<Finding> {
    let why = "what is not as it was meant does not show before it matters";
    let warned = |warning: &Warning| {
        Finding::warn("settings", warning.to_string(), why)
            .mend(format!("sudoedit {INSTALLED}   # sandbox-pool settings says what there is"))
    };
    warnings.iter().map(warned).collect()
}

/// How a setting gets another value.
fn change(setting: &str) -> String {
    format!("sudoedit {INSTALLED}   # {setting}; sandbox-pool settings says what it may be")
}

/// Why wrong settings matter.
const NO_START: &str = "the service does not start with it";

/// The webhook endpoints, if there are any.
fn webhooks(config: &WebhookConfig) -> Option<Finding> {
    let (setting, mend) = match (&config.file, &config.endpoint) {
        (Some(file), _) => {
            let path = file.path.display();
            ("WEBHOOKS_FILE", format!("editor {path}   # deploy/webhooks.example.toml has every key"))
        }
        (None, Some(_)) => ("WEBHOOK_URL", change("WEBHOOK_URL")),
        (None, None) => return None,
    };
    let finding = match Endpoint::load(config, &|path| std::fs::read_to_string(path)) {
        Ok(endpoints) => Finding::ok("webhooks", format!("{} endpoints", endpoints.len())),
        Err(error) => Finding::fail("webhooks", causes::chain(&error), NO_START).mend(mend),
    };
    Some(finding.of(setting))
}

fn wrong_settings(errors: &ConfigErrors) -> Vec<Finding> {
    let wrong = |error: &crate::config::ConfigError| {
        let text = error.to_string();
        let found = text.strip_prefix(&format!("{}: ", error.setting)).unwrap_or(&text);
        Finding::fail("settings", found, NO_START).of(error.setting).mend(change(error.setting))
    };
    errors.errors.iter().map(wrong).chain(doubted(&errors.ignored)).collect()
}
