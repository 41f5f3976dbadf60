//! The program's settings: one table of them, and the [`Config`] that is read from flags, environment and files.
//!
//! Reading is a pure function of [`Sources`] and reports everything that is wrong at once. What the rules
//! read goes into [`Settings`] and from there into the log; secrets, addresses and limits stay here.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::domain::settings::Settings;

mod client;
pub mod docs;
pub mod env_file;
mod error;
mod flags;
mod load;
mod pool;
mod read;
mod reload;
mod secret;
mod source;
pub mod table;
#[cfg(test)]
mod tests;
mod value;

pub use client::{ClientConfig, data_dir};
pub use error::{ConfigError, ConfigErrors, Warning};
pub use flags::{DemoFlags, Flags};
pub use secret::Secret;
pub use source::{Checks, Origin, ReadFile, Sources};
pub use value::MOST_READY;

/// Everything that the program was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the rules read.
    pub settings: Settings,
    /// How PVE is reached.
    pub pve: PveConfig,
    /// Address to serve on.
    pub listen: SocketAddr,
    /// Where the event log is.
    pub data_dir: PathBuf,
    /// How often the pool is compared with PVE.
    pub replenish_interval: Duration,
    /// Who may do what over HTTP, and how much of it.
    pub http: HttpConfig,
    /// Files of the event log.
    pub log: LogConfig,
    /// Where events are sent.
    pub webhooks: WebhookConfig,
    /// What the program says about itself.
    pub logging: LoggingConfig,
}

impl Config {
    /// Reads a configuration, or says everything that is wrong with it.
    pub fn load(sources: &Sources<'_>) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        load::load(sources)
    }

    /// The same over a socket that was bound by somebody else, or why nobody may be served there.
    pub fn over_socket(self, address: SocketAddr) -> Result<Self, ConfigErrors> {
        load::over_socket(self, address)
    }
}

/// How PVE is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PveConfig {
    /// Address of the API, without `/api2/json`.
    pub url: Url,
    /// `USER@REALM!ID=SECRET`.
    pub token: Secret,
    /// Whether PVE's certificate is verified.
    pub verify: bool,
    /// CA certificates to trust beside the system's.
    pub ca: Option<CaFile>,
    /// SHA-256 of PVE's own certificate, `AB:CD:…`, trusted whoever signed it.
    pub fingerprint: Option<String>,
}

/// CA certificates and where they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaFile {
    /// Their file, for messages.
    pub path: PathBuf,
    /// The file's text, PEM.
    pub pem: String,
}

/// Who may do what over HTTP, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Bearer tokens that may do everything; none lets everybody who reaches the address do so.
    pub api_tokens: Vec<Secret>,
    /// Bearer tokens that may only read.
    pub read_tokens: Vec<Secret>,
    /// Whether everybody may be let in beyond this machine, without a token.
    pub allow_unauthenticated: bool,
    /// Hosts beside this machine's own under which a browser may send writes; lower case, some with a port.
    pub allowed_hosts: Vec<String>,
    /// Connections open at once.
    pub max_connections: usize,
    /// Event streams open at once.
    pub max_streams: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: u64,
    /// Bytes of an allocation's metadata.
    pub max_metadata_bytes: u64,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Duration,
}

/// Files of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Bytes at which a new segment begins.
    pub segment_bytes: u64,
    /// Days that old segments are kept; `None` for ever.
    pub retention_days: Option<u32>,
    /// Bytes beyond which the oldest segments go; `None` for never.
    pub retention_bytes: Option<u64>,
}

/// Where events are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// The file that describes endpoints.
    pub file: Option<WebhooksFile>,
    /// The endpoint that the environment names.
    pub endpoint: Option<WebhookEndpoint>,
    /// Private networks that may be sent to.
    pub allow_cidrs: Vec<IpNet>,
}

/// A file that describes endpoints, keys included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhooksFile {
    /// Its path, for messages.
    pub path: PathBuf,
    /// Its text, TOML.
    pub text: Secret,
}

/// One endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// Where to send.
    pub url: Url,
    /// What to sign with, `whsec_…`.
    pub secret: Secret,
}

impl fmt::Debug for WebhookEndpoint {
    /// Shows the host alone: with many services the rest of the URL is as good as a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEndpoint").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// What the program says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfig {
    /// Its form.
    pub format: LogFormat,
    /// How much of it: tracing's filter directives.
    pub filter: String,
}

/// Form of what the program says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}
