//! What a caller of a service must know of its settings: where it listens and a token that it takes.
//!
//! The settings are the service's own, so that its environment file serves both. What is wrong with the others
//! is none of a caller's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::error::ConfigErrors;
use super::read::Reader;
use super::secret::Secret;
use super::source::Sources;
use super::{load, value};

/// How a service is reached.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it listens, as seen from the same machine.
    pub address: SocketAddr,
    /// A token of its; the first that may write, else the first that may read.
    pub token: Option<Secret>,
}

impl ClientConfig {
    /// Reads it, or says what is wrong with it.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::new(sources);
        let expected = "an IP address and port, such as 127.0.0.1:8007 or [::]:8007";
        let address = reader.parse("POOL_LISTEN", expected, value::address).map(reachable);
        let mut tokens = load::tokens(&mut reader, "POOL_API_TOKEN", "POOL_API_TOKEN_FILE");
        tokens.extend(load::tokens(&mut reader, "POOL_READ_TOKEN", "POOL_READ_TOKEN_FILE"));
        let token = tokens.into_iter().next();
        reader.finish(address.map(|address| Self { address, token })).map(|(config, _)| config)
    }
}

/// The directory of the event log, without the settings that only a service needs.
pub fn data_dir(sources: &Sources<'_>) -> Result<PathBuf, ConfigErrors> {
    let mut reader = Reader::new(sources);
    let dir = load::data_dir(&mut reader);
    reader.finish(dir).map(|(dir, _)| dir)
}

/// Who listens everywhere is reached here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
