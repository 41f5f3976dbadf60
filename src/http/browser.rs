//! Writes that a browser made: only from pages of hosts that are allowed, to a name that is allowed.
//!
//! A page of another site can make a browser send requests to addresses that only the browser's machine
//! reaches, also under a name of its own that it points there (DNS rebinding). Programs send neither
//! `Origin` nor `Sec-Fetch-Site` and are not affected.

use std::net::IpAddr;

use url::Url;
use warp::http::header::{HOST, HeaderName, ORIGIN};
use warp::http::uri::Authority;
use warp::http::{HeaderMap, Uri};

use super::codes::Code;
use super::errors::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Hosts that pages may be on and that the service may be called by, besides this machine's own names.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// These besides loopback; each `name` (any port) or `name:port`.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.as_ref().trim().to_ascii_lowercase());
        Self(hosts.filter(|host| !host.is_empty()).collect())
    }

    /// Whether a write with these headers may be carried out.
    pub fn admit_write(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if !headers.contains_key(ORIGIN) && !headers.contains_key(SEC_FETCH_SITE) {
            return Ok(());
        }
        let sites = headers.get_all(SEC_FETCH_SITE);
        if sites.iter().any(|site| site.as_bytes().eq_ignore_ascii_case(b"cross-site")) {
            return refuse("the request comes from a page of another site");
        }
        let hosts: Vec<_> = headers.get_all(HOST).iter().collect();
        let [host] = hosts[..] else { return refuse("the request does not name one host") };
        let named = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let is_allowed = |authority: &Authority| {
            !authority.as_str().contains('@') && self.allows(authority.host(), authority.port_u16())
        };
        if !named.as_ref().is_some_and(is_allowed) || uri.authority().is_some_and(|it| !is_allowed(it)) {
            return refuse("the host is not among POOL_ALLOWED_HOSTS");
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
            let host =
                origin.as_ref().and_then(|origin| Some((origin.host_str()?, origin.port_or_known_default())));
            if !host.is_some_and(|(host, port)| self.allows(host, port)) {
                return refuse("the page's host is not among POOL_ALLOWED_HOSTS");
            }
        }
        Ok(())
    }

    fn allows(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let with_port = port.map(|port| format!("{host}:{port}"));
        is_loopback(host)
            || self.0.iter().any(|allowed| allowed == host || Some(allowed) == with_port.as_ref())
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn refuse(why: &str) -> Result<(), Problem> {
    Err(Problem::new(Code::CrossSite, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_writes_only_within_allowed_hosts() {
        let allowed = AllowedHosts::new(["pve.example.com", " Other.example:8443 "]);
        let cases: &[(&str, Option<&str>, Option<&str>, bool)] = &[
            // Programs.
            ("127.0.0.1:8007", None, None, true),
            ("anything.example", None, None, true),
            // The live page, here and behind a proxy.
            ("127.0.0.1:8007", Some("http://127.0.0.1:8007"), Some("same-origin"), true),
            ("localhost:8007", Some("http://localhost:3000"), Some("same-site"), true),
            ("[::1]:8007", Some("http://[::1]:8007"), None, true),
            ("pve.example.com", Some("https://pve.example.com"), Some("same-origin"), true),
            ("PVE.example.com.:443", Some("https://PVE.example.com"), None, true),
            ("other.example:8443", Some("https://other.example:8443"), None, true),
            ("127.0.0.1:8007", None, Some("none"), true),
            // Another site's page.
            ("127.0.0.1:8007", Some("https://evil.example"), Some("cross-site"), false),
            ("127.0.0.1:8007", Some("https://evil.example"), None, false),
            ("127.0.0.1:8007", Some("null"), None, false),
            ("127.0.0.1:8007", None, Some("cross-site"), false),
            ("127.0.0.1:8007", None, Some("Cross-Site"), false),
            ("pve.example.com", Some("https://pve.example.com.evil.example"), None, false),
            ("pve.example.com", Some("https://evil.example/?pve.example.com"), None, false),
            ("other.example:8443", Some("https://other.example"), None, false),
            ("localhost.evil.example", Some("http://localhost.evil.example"), None, false),
            // Its own name, pointed here.
            ("evil.example:8007", Some("http://evil.example:8007"), Some("same-origin"), false),
            ("evil.example:8007", None, Some("same-origin"), false),
            ("evil@127.0.0.1:8007", Some("http://127.0.0.1:8007"), None, false),
        ];
        for (host, origin, site, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            let mut add = |name, value: Option<&str>| {
                value.map(|value| headers.insert(name, value.parse().unwrap()));
            };
            add(ORIGIN, *origin);
            add(SEC_FETCH_SITE, *site);
            let admitted = allowed.admit_write(&Uri::from_static("/allocate"), &headers);
            assert_eq!(admitted.is_ok(), *expected, "host {host} origin {origin:?} site {site:?}");
        }
    }

    #[test]
    fn a_browser_without_a_host_or_with_two_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, "http://localhost".parse().unwrap());
        let write = |headers: &HeaderMap, uri: &str| {
            AllowedHosts::default().admit_write(&uri.parse().unwrap(), headers).is_ok()
        };
        assert!(!write(&headers, "/allocate"));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(write(&headers, "/allocate"));
        assert!(!write(&headers, "http://evil.example/allocate"));
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(!write(&headers, "/allocate"));
    }
}
