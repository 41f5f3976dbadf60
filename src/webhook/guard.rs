//! Which addresses an endpoint may be at: none inside this machine or its networks, unless allowed by name.
//!
//! Literal addresses are checked in the URL, resolved ones in the resolver that the client connects by, so
//! that what was checked is what is connected to. Port 8006 is PVE's own and never sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// PVE's API listens here, on each node; no endpoint is there.
const PVE_PORT: u16 = 8006;

/// IPv4 networks that are nobody's public address, as network and prefix length.
const RESERVED_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, reserved and broadcast.
    ([224, 0, 0, 0], 3),
];

/// Parts of 2000::/3, the only public space of IPv6, that are not: IETF protocols with Teredo and ORCHID,
/// documentation, 6to4, and documentation again. What lies outside of it is refused as a whole: loopback,
/// v4-mapped, NAT64, unique local, link-local, multicast.
const RESERVED_V6: [(u128, u32); 4] =
    [(0x2001_0000 << 96, 23), (0x2001_0db8 << 96, 32), (0x2002_0000 << 96, 16), (0x3fff_0000 << 96, 20)];

/// Why an address is not sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Neither http nor https.
    #[error("expected an http or https URL with a host")]
    NotWeb,
    /// A name or password in the URL.
    #[error("expected a URL without a user: it would be sent to whoever answers there")]
    User,
    /// The port of PVE's API.
    #[error("port 8006 is PVE's own and never sent to")]
    PvePort,
    /// An address that is not public and not allowed.
    #[error("{0} is not a public address, and WEBHOOK_ALLOW_CIDRS does not allow it")]
    Private(IpAddr),
    /// Plain http beyond the allowed networks.
    #[error("plain http is only for networks in WEBHOOK_ALLOW_CIDRS")]
    Plain,
    /// A name without an address that may be sent to.
    #[error("{host} has no address that may be sent to: {}", .of.as_ref().map_or("none at all".to_owned(), ToString::to_string))]
    NoAddress {
        /// The name.
        host: String,
        /// What is wrong with the first that it has.
        of: Option<Box<Blocked>>,
    },
}

/// The networks that are allowed in spite of being private.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allow: Vec<IpNet>,
}

impl Guard {
    /// Allows these networks besides public addresses.
    pub fn new(allow: impl IntoIterator<Item = IpNet>) -> Self {
        Self { allow: allow.into_iter().collect() }
    }

    /// Whether a URL may be sent to, as far as it says so itself; a name is checked when it is resolved.
    pub fn check(&self, url: &Url) -> Result<(), Blocked> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Blocked::NotWeb);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::User);
        }
        if url.port_or_known_default() == Some(PVE_PORT) {
            return Err(Blocked::PvePort);
        }
        match url.host() {
            None => Err(Blocked::NotWeb),
            Some(Host::Ipv4(address)) => self.check_address(address.into(), is_plain(url)),
            Some(Host::Ipv6(address)) => self.check_address(address.into(), is_plain(url)),
            Some(Host::Domain(_)) if is_plain(url) && self.allow.is_empty() => Err(Blocked::Plain),
            Some(Host::Domain(_)) => Ok(()),
        }
    }

    /// Whether an address may be connected to, with TLS or in plain http.
    pub fn check_address(&self, address: IpAddr, plain: bool) -> Result<(), Blocked> {
        let inner = address.to_canonical();
        let allowed = self.allow.iter().any(|network| network.contains(&inner) || network.contains(&address));
        match (allowed, plain) {
            (false, _) if inner != address || !is_public(inner) => Err(Blocked::Private(address)),
            (false, true) => Err(Blocked::Plain),
            (true, _) | (false, false) => Ok(()),
        }
    }
}

/// Whether everything on the way can read what is sent.
pub(super) fn is_plain(url: &Url) -> bool {
    url.scheme() == "http"
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !RESERVED_V4.iter().any(|(network, prefix)| (bits ^ u32::from_be_bytes(*network)) >> (32 - prefix) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    bits >> 125 == 1 && !RESERVED_V6.iter().any(|(network, prefix)| (bits ^ network) >> (128 - prefix) == 0)
}
