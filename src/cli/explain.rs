//! `sandbox-pool explain`: the story of an instance or a container, from a service that runs or from its files.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::ask::{Service, with_query};
use super::place::unread;
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::explain::{Subject, Teller, Unknown};
use crate::http::codes::Code;
use crate::log;
use crate::tail::harmless;

/// A question about the past.
#[derive(Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    service: Service,
    /// Read the log in this directory instead of asking the service, whether one runs or not
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What it is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct About {
    /// The instance whose allocations are told
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// The container that is told of, and others that had its VMID before
    #[arg(long, value_name = "VMID")]
    vmid: Option<Vmid>,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { about, service, data_dir } = self;
        let Some(dir) = data_dir else {
            let vmid = about.vmid.map(|vmid| vmid.to_string());
            let path = with_query("/explain", &[("instance", about.instance), ("vmid", vmid)]);
            return service.ask(Method::GET, &path, None, words);
        };
        let subject = match (about.instance, about.vmid) {
            (Some(instance), _) => Subject::Instance(InstanceId(instance)),
            (None, Some(vmid)) => Subject::Vmid(vmid),
            (None, None) => return Err(anyhow!("give --instance or --vmid")),
        };
        let mut teller = Teller::new(subject);
        log::read_all(&dir, Seq(0), &mut |envelope| {
            teller.hear(&envelope);
            ControlFlow::Continue(())
        })
        .map_err(unread)?;
        let unknown = |it: Unknown| anyhow!("{}. {}", it.in_words(), Code::NothingKnown.next_step());
        let story = teller.tell().map_err(unknown)?;
        service.show(&serde_json::to_value(&story)?, words)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A story for people: each chapter's summary, and below it what happened when.
fn words(story: &Value) -> String {
    let mut text = String::new();
    let left_out = story["chapters_left_out"].as_u64().unwrap_or(0);
    if left_out > 0 {
        let _ = writeln!(text, "{left_out} older chapters are left out.\n");
    }
    for chapter in story["chapters"].as_array().into_iter().flatten() {
        text += &title(chapter);
        let _ = writeln!(text, "\n  {}\n", word(&chapter["summary"]));
        let (steps, left_out) =
            (chapter["steps"].as_array(), chapter["steps_left_out"].as_u64().unwrap_or(0));
        let steps = steps.map(Vec::as_slice).unwrap_or_default();
        for (index, step) in steps.iter().enumerate() {
            if left_out > 0 && index == steps.len() / 2 {
                let _ = writeln!(text, "  … {left_out} more …");
            }
            let after = step["after_ms"].as_u64().unwrap_or(0);
            let when = if index == 0 { word(&step["at"]) } else { format!("+{}", seconds(after)) };
            let seq = step["seq"].as_u64().unwrap_or(0);
            let _ = writeln!(text, "  {when:>24} {seq:>7}  {}", word(&step["words"]));
        }
        text.push('\n');
    }
    let oldest = story["oldest"].as_u64().unwrap_or(1);
    if oldest > 1 {
        let _ = writeln!(text, "Events before {oldest} are not kept any more.");
    }
    text.truncate(text.trim_end().len());
    text
}

fn title(chapter: &Value) -> String {
    let named = |name: &str| match &chapter[name] {
        Value::Null => None,
        value => Some(word(value)),
    };
    match (named("allocation_id"), named("clone_id"), named("instance_id"), named("vmid")) {
        (_, Some(clone), _, Some(vmid)) => format!("Container {vmid}, clone {clone}\n"),
        (Some(allocation), None, Some(instance), _) => format!("{instance}, allocation {allocation}\n"),
        (None, None, Some(instance), Some(vmid)) => format!("{instance}, container {vmid}\n"),
        (_, _, _, Some(vmid)) => format!("Container {vmid}\n"),
        (_, _, Some(instance), None) => format!("{instance}\n"),
        (_, _, None, None) => String::new(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// A text without anything that a terminal could take for a command.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    }
}
