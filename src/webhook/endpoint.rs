//! Endpoints as they are configured: a TOML file of them, or one from the environment.
//!
//! ```toml
//! [[endpoint]]
//! name = "billing"                      # in events, answers and metrics; never changes
//! url = "https://hooks.example.com/pool"
//! secret_file = "/etc/sandbox-pool/billing.key"  # one key a line, the newest first; each of them signs
//! types = ["Allocated", "Released"]     # left out: everything but the events about webhooks
//! templates = [9009]                    # left out: all
//! timeout_seconds = 15
//! ```
//!
//! Keys stay in here. What is wrong is reported without the text of the file, which may hold some.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use standardwebhooks::Webhook as Key;
use url::Url;

use super::guard::{Blocked, Guard};
use crate::config::{Secret, WebhookConfig};
use crate::domain::event::Event;
use crate::domain::ids::{EndpointName, Vmid};

/// Name of the endpoint that `WEBHOOK_URL` describes.
pub const SHORT_FORM: &str = "default";

/// Endpoints at once: each has a task, a cursor in State and series in metrics.
const MAX_ENDPOINTS: usize = 50;

/// Keys of an endpoint at once: the old one, the new one, and one too many.
const MAX_KEYS: usize = 3;

/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Longest time that can be configured for an answer.
const LONGEST_TIMEOUT_SECONDS: u64 = 60;

/// One endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name.
    pub name: EndpointName,
    /// Where to send.
    pub url: Url,
    /// What to sign with, `whsec_…`, the newest first.
    pub secrets: Vec<Secret>,
    /// Which events to send; none for all but those about webhooks.
    pub types: Option<BTreeSet<&'static str>>,
    /// Of which templates; empty for all.
    pub templates: BTreeSet<Vmid>,
    /// How long it may take to answer.
    pub timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("at", &self.origin())
            .finish_non_exhaustive()
    }
}

/// What is wrong with the endpoints that are configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A file cannot be read.
    #[error("{what} {} cannot be read", path.display())]
    File {
        /// Which file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it must be.
    #[error("WEBHOOKS_FILE {}, line {line}: {message}", path.display())]
    Toml {
        /// Its path.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong, without the line's text.
        message: String,
    },
    /// One endpoint is not what it must be.
    #[error("webhook endpoint {name}: {field}: expected {expected}")]
    Field {
        /// The endpoint, or its place.
        name: String,
        /// What of it.
        field: &'static str,
        /// What would have been right.
        expected: String,
    },
    /// An endpoint may not be sent to.
    #[error("webhook endpoint {name}: url: {blocked}")]
    Url {
        /// The endpoint.
        name: String,
        /// Why.
        blocked: Blocked,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    endpoint: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    url: String,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    secrets: Vec<String>,
    types: Option<Vec<String>>,
    #[serde(default)]
    templates: Vec<u32>,
    timeout_seconds: Option<u64>,
}

impl Endpoint {
    /// The endpoints of a configuration. Reads key files, and nothing else.
    pub fn load(
        config: &WebhookConfig,
        read_file: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Vec<Self>, EndpointError> {
        let guard = Guard::new(config.allow_cidrs.iter().copied());
        let mut endpoints = Vec::new();
        if let Some(short) = &config.endpoint {
            endpoints.push(Self {
                name: SHORT_FORM.into(),
                url: short.url.clone(),
                secrets: vec![short.secret.clone()],
                types: None,
                templates: BTreeSet::new(),
                timeout: TIMEOUT,
            });
        }
        if let Some(file) = &config.file {
            for entry in parse(&file.path, file.text.expose())? {
                endpoints.push(entry.read(read_file)?);
            }
        }
        let wrong = |name: &EndpointName, field, expected: &str| EndpointError::Field {
            name: name.to_string(),
            field,
            expected: expected.to_owned(),
        };
        let mut names = BTreeSet::new();
        for endpoint in &endpoints {
            let name = &endpoint.name;
            if !names.insert(name.clone()) {
                return Err(wrong(name, "name", "a name that no other endpoint has"));
            }
            if names.len() > MAX_ENDPOINTS {
                return Err(wrong(name, "endpoint", &format!("at most {MAX_ENDPOINTS} endpoints")));
            }
            guard
                .check(&endpoint.url)
                .map_err(|blocked| EndpointError::Url { name: name.to_string(), blocked })?;
        }
        Ok(endpoints)
    }

    /// Scheme, host and port; what follows may be as good as a key.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The last characters of each key, to tell them apart by.
    pub fn secret_hints(&self) -> Vec<String> {
        let hint = |secret: &Secret| {
            let text = secret.expose().trim_end_matches('=');
            format!("whsec_…{}", text.get(text.len().saturating_sub(4)..).unwrap_or_default())
        };
        self.secrets.iter().map(hint).collect()
    }

    /// What to sign with.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.secrets.iter().filter_map(|secret| Key::new(secret.expose()).ok())
    }

    /// Whether it takes the events of some templates only.
    pub(super) fn asks_for_templates(&self) -> bool {
        !self.templates.is_empty()
    }

    /// Whether an event is sent here; `template` is the one that its container is of, where that is known.
    ///
    /// Events about webhooks are sent only where their types are asked for, never to the endpoint that they
    /// are about, and checkpoints not at all: a delivery must not lead to the next one.
    pub(super) fn wants(&self, event: &Event, template: Option<Vmid>) -> bool {
        let type_name = event.type_name();
        let by_type = match (&self.types, event.endpoint()) {
            (None, about) => about.is_none(),
            (Some(types), about) => types.contains(type_name) && about != Some(&self.name),
        };
        let template = event.template().or(template);
        // Of a container that nobody knows any more it is better to hear too much.
        by_type
            && (self.templates.is_empty()
                || template.is_none_or(|template| self.templates.contains(&template)))
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, EndpointError> {
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
        EndpointError::Toml { path: path.to_owned(), line, message: error.message().to_owned() }
    })?;
    Ok(file.endpoint)
}

impl Entry {
    fn read(self, read_file: &dyn Fn(&Path) -> std::io::Result<String>) -> Result<Endpoint, EndpointError> {
        let name = self.name.clone();
        let wrong = |field, expected: &str| EndpointError::Field {
            name: name.chars().take(64).collect(),
            field,
            expected: expected.to_owned(),
        };
        if !is_name(&self.name) {
            return Err(wrong("name", "at most 63 lower-case letters, digits, hyphens and underscores"));
        }
        let url = self.url.parse().map_err(|_| wrong("url", "an https URL"))?;
        let secrets = self.secrets(read_file)?;
        let types = match &self.types {
            None => None,
            Some(types) => Some(known_types(types).map_err(|expected| wrong("types", &expected))?),
        };
        let templates = self.templates.iter().map(|number| Vmid::new(*number)).collect::<Option<_>>();
        let templates = templates.ok_or_else(|| wrong("templates", "VMIDs from 100 to 999999999"))?;
        let timeout = self.timeout_seconds.map_or(TIMEOUT, Duration::from_secs);
        if !(1..=LONGEST_TIMEOUT_SECONDS).contains(&timeout.as_secs()) {
            return Err(wrong("timeout_seconds", &format!("1 to {LONGEST_TIMEOUT_SECONDS} seconds")));
        }
        Ok(Endpoint { name: EndpointName(self.name), url, secrets, types, templates, timeout })
    }

    fn secrets(
        &self,
        read_file: &dyn Fn(&Path) -> std::io::Result<String>,
    ) -> Result<Vec<Secret>, EndpointError> {
        let mut texts = self.secrets.clone();
        if let Some(path) = &self.secret_file {
            let text = read_file(path).map_err(|source| EndpointError::File {
                what: "secret_file",
                path: path.clone(),
                source,
            })?;
            texts.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        }
        if !(1..=MAX_KEYS).contains(&texts.len()) || !texts.iter().all(|text| is_key(text)) {
            return Err(EndpointError::Field {
                name: self.name.clone(),
                field: "secret_file or secrets",
                expected: format!("1 to {MAX_KEYS} keys: whsec_ followed by 24 to 64 bytes in base64"),
            });
        }
        Ok(texts.into_iter().map(Secret::new).collect())
    }
}

/// The types, as the catalogue has them.
pub fn known_types(given: &[String]) -> Result<BTreeSet<&'static str>, String> {
    if given.is_empty() {
        return Err("at least one type".to_owned());
    }
    let never = "WebhookCheckpointed";
    let known =
        |given: &String| Event::TYPES.iter().find(|known| *known == given && **known != never).copied();
    given
        .iter()
        .map(|given| {
            let shown: String = given.chars().take(64).collect();
            known(given).ok_or_else(|| format!("types of events/README.md that are sent, not `{shown}`"))
        })
        .collect()
}

fn is_name(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.as_bytes().iter().all(plain)
}

fn is_key(text: &str) -> bool {
    let key = text.strip_prefix("whsec_").filter(|key| Key::new(key).is_ok());
    // Four characters of base64 are three bytes.
    key.is_some_and(|key| (24..=64).contains(&(key.trim_end_matches('=').len() * 3 / 4)))
}
