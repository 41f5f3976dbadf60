//! Reads a [`Config`] out of its sources: what each setting must look like, and what must go together.
//!
//! PURE: it touches the outside only through [`Sources`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::error::{ConfigError, ConfigErrors, Warning};
use super::read::{Given, Reader};
use super::source::{Origin, Sources};
use super::{
    CaFile, Config, HttpConfig, LogConfig, LogFormat, LoggingConfig, PveConfig, Secret, WebhookConfig,
    WebhookEndpoint, WebhooksFile, pool, value,
};

/// Where PVE keeps the CA of its cluster.
const PVE_CA: &str = "/etc/pve/pve-root-ca.pem";
/// A shorter token is likely a word; it works, with a warning.
const GOOD_TOKEN_BYTES: usize = 16;

pub(super) fn load(sources: &Sources<'_>) -> Result<(Config, Vec<Warning>), ConfigErrors> {
    let mut reader = Reader::new(sources);
    let config = read(&mut reader);
    reader.finish(config)
}

/// Reads every setting, whatever is wrong with those before it.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Config> {
    let pve = pve(reader);
    let settings = pool::settings(reader);
    let replenish_interval = reader.seconds("REPLENISH_INTERVAL_SECONDS", 1..=86_400);
    let http = http(reader);
    let listen = listen(reader, &http);
    let data_dir = data_dir(reader);
    let log = log(reader);
    let webhooks = webhooks(reader);
    let logging = logging(reader);
    Some(Config {
        settings,
        pve: pve?,
        listen: listen?,
        data_dir: data_dir?,
        replenish_interval: Duration::from_secs(u64::from(replenish_interval)),
        http,
        log,
        webhooks,
        logging,
    })
}

fn pve(reader: &mut Reader<'_>) -> Option<PveConfig> {
    let url = pve_url(reader);
    let token = pve_token(reader);
    let verify = reader.switch("PVE_VERIFY_TLS");
    if !verify {
        reader.warn(
            "PVE_VERIFY_TLS",
            "PVE_VERIFY_TLS=false: whoever answers in PVE's place gets its token; PVE_CA_FILE or \
             PVE_FINGERPRINT makes verifying possible",
            "who has the token may do with the pool's containers whatever the pool may",
        );
    }
    let ca = ca(reader);
    let fingerprint = reader.parse(
        "PVE_FINGERPRINT",
        "a SHA-256 fingerprint: 32 bytes in hex, with or without colons",
        value::fingerprint,
    );
    Some(PveConfig { url: url?, token: token?, verify, ca, fingerprint })
}

fn pve_url(reader: &mut Reader<'_>) -> Option<Url> {
    let expected = "an http or https URL without user or query, such as https://127.0.0.1:8006";
    let url = reader.parse("PVE_API_URL", expected, value::api_url)?;
    if url.scheme() == "http" && !value::is_local(&url) {
        let given = reader.given("PVE_API_URL");
        reader.refuse(
            "PVE_API_URL",
            given,
            "https: beyond this machine http would show the token to everybody on the way",
        );
        return None;
    }
    Some(url)
}

fn pve_token(reader: &mut Reader<'_>) -> Option<Secret> {
    let name = "PVE_API_TOKEN";
    let expected = "a token of the form USER@REALM!ID=SECRET, such as root@pam!cmux=12345678-…";
    let Some((secret, origin)) = reader.secret(name, "PVE_API_TOKEN_FILE") else {
        if !reader.is_given(name, "PVE_API_TOKEN_FILE") {
            reader.refuse(
                name,
                None,
                format!("{expected} (or PVE_API_TOKEN_FILE with the file that holds it)"),
            );
        }
        return None;
    };
    let token = value::pve_token(secret.expose()).map(Secret::new);
    if token.is_none() {
        reader.refuse(name, Some(hidden(origin)), expected);
    }
    token
}

fn ca(reader: &mut Reader<'_>) -> Option<CaFile> {
    let name = "PVE_CA_FILE";
    if reader.given(name).is_some() {
        let (path, pem) = reader.file(name)?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            let given = reader.given(name);
            reader.refuse(name, given, "a file with a certificate in PEM");
        } else if let Err(wrong) = (reader.sources.checks.ca)(&path) {
            let given = reader.given(name);
            reader.refuse(name, given, format!("a file with certificates in PEM: {wrong}"));
        }
        return Some(CaFile { path, pem });
    }
    if let Some((path, pem)) = reader.credential("pve-ca") {
        if let Err(wrong) = (reader.sources.checks.ca)(&path) {
            reader.refuse(
                name,
                None,
                format!("certificates in PEM, here or in the credential pve-ca: {wrong}"),
            );
        }
        return Some(CaFile { path, pem });
    }
    let path = PathBuf::from(PVE_CA);
    (reader.sources.read_file)(&path).ok().map(|pem| CaFile { path, pem })
}

fn http(reader: &mut Reader<'_>) -> HttpConfig {
    let api_tokens = tokens(reader, "POOL_API_TOKEN", "POOL_API_TOKEN_FILE");
    let read_tokens = tokens(reader, "POOL_READ_TOKEN", "POOL_READ_TOKEN_FILE");
    let may_be_open = api_tokens.is_empty() && !reader.is_given("POOL_API_TOKEN", "POOL_API_TOKEN_FILE");
    if may_be_open && !read_tokens.is_empty() {
        let why =
            "tokens that may write, because POOL_READ_TOKEN is set: else whoever has none could still write";
        reader.refuse("POOL_API_TOKEN", None, why);
    }
    let all = |text: &str| value::list(text).map(value::host).collect::<Option<Vec<_>>>();
    let hosts = "hosts separated by commas, such as pve.example.com,10.0.0.5:8443";
    let allowed_hosts = reader.parse("POOL_ALLOWED_HOSTS", hosts, all).unwrap_or_default();
    let max_connections = reader.number("POOL_MAX_CONNECTIONS", 1..=1_000_000);
    let max_streams = reader.number("POOL_MAX_STREAMS", 0..=1_000_000);
    if max_streams >= max_connections {
        let text = format!(
            "POOL_MAX_STREAMS={max_streams} is not below POOL_MAX_CONNECTIONS={max_connections}: event streams \
             can keep every other caller out",
        );
        reader.warn("POOL_MAX_STREAMS", text, "who is kept out gets no sandbox");
    }
    HttpConfig {
        api_tokens,
        read_tokens,
        allow_unauthenticated: reader.switch("POOL_ALLOW_UNAUTHENTICATED"),
        allowed_hosts,
        max_connections: count(max_connections),
        max_streams: count(max_streams),
        max_body_bytes: reader.bytes("POOL_MAX_BODY_BYTES", 1024),
        max_metadata_bytes: reader.bytes("POOL_MAX_METADATA_BYTES", 0),
        header_timeout: Duration::from_secs(u64::from(
            reader.seconds("POOL_HEADER_TIMEOUT_SECONDS", 1..=3600),
        )),
    }
}

pub(super) fn tokens(reader: &mut Reader<'_>, name: &'static str, file_name: &'static str) -> Vec<Secret> {
    let Some((secret, origin)) = reader.secret(name, file_name) else { return Vec::new() };
    let tokens: Vec<&str> = value::list(secret.expose()).collect();
    if tokens.is_empty() || !tokens.iter().all(|token| value::is_token(token)) {
        let expected = "tokens of visible ASCII characters, separated by commas or lines";
        reader.refuse(name, Some(hidden(origin)), expected);
    } else if tokens.iter().any(|token| token.len() < GOOD_TOKEN_BYTES) {
        let text =
            format!("{name} has a token of less than {GOOD_TOKEN_BYTES} characters, which can be guessed");
        reader.warn(name, text, "who guesses it may do what its holder may");
    }
    tokens.into_iter().map(Secret::new).collect()
}

/// Refuses to be reachable from other machines without a token, unless told so in so many words.
fn listen(reader: &mut Reader<'_>, http: &HttpConfig) -> Option<SocketAddr> {
    let expected = "an IP address and port, such as 127.0.0.1:8007 or [::]:8007";
    let listen = reader.parse("POOL_LISTEN", expected, value::address)?;
    if is_guarded(listen, http) {
        return Some(listen);
    }
    if reader.is_given("POOL_API_TOKEN", "POOL_API_TOKEN_FILE") {
        return None;
    }
    if !http.allow_unauthenticated {
        let given = reader.given("POOL_LISTEN");
        reader.refuse("POOL_LISTEN", given, WAYS_TO_LISTEN);
        return None;
    }
    let text = format!(
        "everybody who reaches {listen} may take and destroy containers of the pool: no POOL_API_TOKEN"
    );
    reader.warn("POOL_ALLOW_UNAUTHENTICATED", text, "somebody's work may be destroyed by a stranger");
    Some(listen)
}

/// What must be so for an address that others reach.
const WAYS_TO_LISTEN: &str = "a loopback address as long as nobody is authenticated; set POOL_API_TOKEN (or \
                              POOL_API_TOKEN_FILE), or POOL_ALLOW_UNAUTHENTICATED=true to let everybody in";

/// Whether nobody is let in who may not be, whatever is allowed.
fn is_guarded(listen: SocketAddr, http: &HttpConfig) -> bool {
    listen.ip().to_canonical().is_loopback() || !http.api_tokens.is_empty()
}

/// The same rule for a socket that somebody else bound; it stands in the place of `POOL_LISTEN`.
pub(super) fn over_socket(config: Config, address: SocketAddr) -> Result<Config, ConfigErrors> {
    if is_guarded(address, &config.http) || config.http.allow_unauthenticated {
        return Ok(Config { listen: address, ..config });
    }
    let given = Some((address.to_string(), Origin::Socket));
    let error = ConfigError { setting: "POOL_LISTEN", given, expected: WAYS_TO_LISTEN.to_owned() };
    Err(ConfigErrors { errors: vec![error], ignored: Vec::new() })
}

pub(super) fn data_dir(reader: &mut Reader<'_>) -> Option<PathBuf> {
    if let Some(path) = reader.path("POOL_DATA_DIR") {
        return Some(path);
    }
    let env = &reader.sources.env;
    let absolute = |name: &str| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd gives several directories with colons between them; ours has one.
    let state = env.get("STATE_DIRECTORY").and_then(|list| list.split(':').next()).map(PathBuf::from);
    let state = state.filter(|path| path.is_absolute());
    let system = || reader.sources.is_root.then(|| PathBuf::from("/var/lib/sandbox-pool"));
    let below = |home: PathBuf| home.join("sandbox-pool");
    let found = state
        .or_else(system)
        .or_else(|| absolute("XDG_STATE_HOME").map(below))
        .or_else(|| absolute("HOME").map(|home| below(home.join(".local/state"))));
    if found.is_none() {
        reader.refuse("POOL_DATA_DIR", None, "a directory, because neither STATE_DIRECTORY nor HOME is set");
    }
    found
}

fn log(reader: &mut Reader<'_>) -> LogConfig {
    let segment_bytes = reader.bytes("LOG_SEGMENT_BYTES", 1 << 20);
    let retention_days = reader.number("LOG_RETENTION_DAYS", 0..=36_500);
    let retention_bytes = reader.bytes("LOG_RETENTION_BYTES", 0);
    if (1..segment_bytes).contains(&retention_bytes) {
        let text = format!(
            "LOG_RETENTION_BYTES={retention_bytes} is less than LOG_SEGMENT_BYTES={segment_bytes}: the file being \
             written is always kept",
        );
        reader.warn("LOG_RETENTION_BYTES", text, "the log takes more of the disk than it was meant to");
    }
    LogConfig {
        segment_bytes,
        retention_days: (retention_days > 0).then_some(retention_days),
        retention_bytes: (retention_bytes > 0).then_some(retention_bytes),
    }
}

fn webhooks(reader: &mut Reader<'_>) -> WebhookConfig {
    let file =
        reader.file("WEBHOOKS_FILE").map(|(path, text)| WebhooksFile { path, text: Secret::new(text) });
    let url = reader.parse("WEBHOOK_URL", "an http or https URL without a user", value::web_url);
    let secret = webhook_secret(reader);
    let endpoint = match (url, secret) {
        (Some(url), Some(secret)) => Some(WebhookEndpoint { url, secret }),
        (Some(_), None) => {
            if !reader.is_given("WEBHOOK_SECRET", "WEBHOOK_SECRET_FILE") {
                let why =
                    "a key to sign with, because WEBHOOK_URL is set (or WEBHOOK_SECRET_FILE with its file)";
                reader.refuse("WEBHOOK_SECRET", None, why);
            }
            None
        }
        (None, Some(_)) => {
            let text = "WEBHOOK_SECRET has no effect without WEBHOOK_URL";
            reader.warn("WEBHOOK_URL", text, "no event is sent to where it was meant to go");
            None
        }
        (None, None) => None,
    };
    let networks = |text: &str| value::list(text).map(network).collect::<Option<Vec<_>>>();
    let expected = "networks separated by commas, such as 10.0.0.0/8,192.168.1.5";
    let allow_cidrs = reader.parse("WEBHOOK_ALLOW_CIDRS", expected, networks).unwrap_or_default();
    let config = WebhookConfig { file, endpoint, allow_cidrs };
    if let Err(wrong) = (reader.sources.checks.webhooks)(&config) {
        let name = if config.file.is_some() { "WEBHOOKS_FILE" } else { "WEBHOOK_URL" };
        let given = reader.given(name);
        reader.refuse(name, given, format!("webhook endpoints that can be used: {wrong}"));
    }
    config
}

fn webhook_secret(reader: &mut Reader<'_>) -> Option<Secret> {
    let name = "WEBHOOK_SECRET";
    let (secret, origin) = reader.secret(name, "WEBHOOK_SECRET_FILE")?;
    let key =
        secret.expose().strip_prefix("whsec_").filter(|key| standardwebhooks::Webhook::new(key).is_ok());
    // Four characters of base64 are three bytes.
    let bytes = key.map(|key| key.trim_end_matches('=').len() * 3 / 4);
    if !bytes.is_some_and(|bytes| (24..=64).contains(&bytes)) {
        reader.refuse(name, Some(hidden(origin)), "whsec_ followed by 24 to 64 bytes in base64");
    }
    Some(secret)
}

fn logging(reader: &mut Reader<'_>) -> LoggingConfig {
    let format = |text: &str| match text.to_ascii_lowercase().as_str() {
        "human" => Some(LogFormat::Human),
        "json" => Some(LogFormat::Json),
        _ => None,
    };
    let filter = |text: &str| EnvFilter::try_new(text).is_ok().then(|| text.to_owned());
    let levels = "error, warn, info, debug, trace, or a filter such as info,sandbox_pool::pve=debug";
    LoggingConfig {
        format: reader.parse("POOL_LOG_FORMAT", "human or json", format).unwrap_or(LogFormat::Human),
        filter: reader.parse("POOL_LOG_LEVEL", levels, filter).unwrap_or_default(),
    }
}

/// A network, or one address as the network of its own.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// What stands for a secret's text in a message.
fn hidden(origin: Origin) -> Given {
    Given { text: String::new(), origin }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
