//! Puts single values into their types. PURE; what is not understood is `None`, and the caller says what was expected.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

use crate::domain::ids::Vmid;
use crate::domain::settings::SizeOverrides;

/// Largest number of containers that a size may name; a safeguard against a slipped finger.
pub(super) const MOST_CONTAINERS: u32 = 100_000;
/// Of one template, to be kept ready: each that is missing is a clone that is queued.
pub const MOST_READY: u32 = 10_000;

pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Whole seconds, and whether a fraction was rounded up to them.
pub(super) fn seconds(text: &str) -> Option<(u32, bool)> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u32 = whole.parse().ok()?;
    let rounded = fraction.bytes().any(|byte| byte != b'0');
    Some((whole.checked_add(u32::from(rounded))?, rounded))
}

/// Bytes, with K, M, G or T (KiB and so on) as powers of 1024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// An address and port; `localhost` is 127.0.0.1.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

/// Parts between commas or line ends, without white space and empty ones.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty())
}

/// `9009,9010:target=2:max=4`.
pub(super) fn templates(text: &str) -> Option<BTreeMap<Vmid, SizeOverrides>> {
    let mut templates = BTreeMap::new();
    for part in list(text) {
        let mut fields = part.split(':').map(str::trim);
        let template: Vmid = fields.next()?.parse().ok()?;
        let mut sizes = SizeOverrides::default();
        for field in fields {
            let (name, number) = field.split_once('=')?;
            let slot = match name.trim() {
                "min" => &mut sizes.min,
                "target" => &mut sizes.target,
                "max" => &mut sizes.max,
                _ => return None,
            };
            let number = number.trim().parse().ok().filter(|number| *number <= MOST_READY)?;
            if slot.replace(number).is_some() {
                return None;
            }
        }
        if templates.insert(template, sizes).is_some() {
            return None;
        }
    }
    Some(templates)
}

/// `USER@REALM!ID=SECRET`, with or without the header's `PVEAPIToken=` before it.
pub(super) fn pve_token(text: &str) -> Option<&str> {
    let token = text.strip_prefix("PVEAPIToken=").unwrap_or(text);
    let (id, secret) = token.split_once('=')?;
    let (user_at_realm, name) = id.split_once('!')?;
    let (user, realm) = user_at_realm.rsplit_once('@')?;
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"!=:/".contains(&byte))
    };
    // PVE cuts the header at a semicolon.
    let is_whole = is_token(secret) && !token.contains(';');
    (is_whole && [user, realm, name].into_iter().all(word)).then_some(token)
}

/// Whether `text` can stand in a header as it is.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// SHA-256 as 64 hex digits with or without colons; made into upper case with colons, as PVE shows it.
pub(super) fn fingerprint(text: &str) -> Option<String> {
    let hex: String = text.chars().filter(|c| *c != ':').collect::<String>().to_ascii_uppercase();
    let whole = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = whole && text.len() == if text.contains(':') { 95 } else { 64 };
    let pair = |i: usize| &hex[i..i + 2];
    whole.then(|| (0..64).step_by(2).map(pair).collect::<Vec<_>>().join(":"))
}

/// An http or https URL without user, query or fragment.
pub(super) fn web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && plain).then_some(url)
}

/// The address of the API, without a slash or `/api2/json` at its end.
pub(super) fn api_url(text: &str) -> Option<Url> {
    let mut url = web_url(text).filter(|url| url.query().is_none())?;
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/api2/json").unwrap_or(path).to_owned();
    url.set_path(&path);
    Some(url)
}

/// Whether what is sent to the URL stays on this machine.
pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// A host name or address, with or without a port, in lower case.
pub(super) fn host(text: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{text}/")).ok()?;
    let bare = url.path() == "/" && url.username().is_empty() && url.password().is_none();
    let clean = !text.contains(['/', '@', '?', '#', '*', '\\']);
    (bare && clean && url.has_host()).then(|| text.to_ascii_lowercase())
}

/// Whether `wrong` is `right` but for one character left out, put in, changed, or two exchanged.
pub(super) fn is_near(right: &str, wrong: &str) -> bool {
    let (right, wrong) = (right.as_bytes(), wrong.as_bytes());
    let head = right.iter().zip(wrong).take_while(|(one, other)| one == other).count();
    let (right, wrong) = (&right[head..], &wrong[head..]);
    let tail = right.iter().rev().zip(wrong.iter().rev()).take_while(|(one, other)| one == other).count();
    match (&right[..right.len() - tail], &wrong[..wrong.len() - tail]) {
        ([one, other], exchanged) => exchanged == [*other, *one],
        (right, wrong) => right.len() <= 1 && wrong.len() <= 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction() {
        for (text, expected) in [
            ("5", Some((5, false))),
            ("5.0", Some((5, false))),
            ("2.5", Some((3, true))),
            ("0.1", Some((1, true))),
            ("-1", None),
            ("+1", None),
            (".5", None),
            ("1e3", None),
            ("five", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn bytes_may_have_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64K", Some(65_536)),
            ("64 MiB", Some(67_108_864)),
            ("2gb", Some(2_147_483_648)),
            ("-1", None),
            ("M", None),
            ("1.5M", None),
            ("99999999999T", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn templates_may_have_own_sizes() {
        let sizes = SizeOverrides { min: None, target: Some(2), max: Some(4) };
        let expected = BTreeMap::from([(Vmid(9009), SizeOverrides::default()), (Vmid(9010), sizes)]);
        assert_eq!(templates("9009, 9010:target=2:max=4"), Some(expected));
        assert_eq!(templates(" "), Some(BTreeMap::new()));
        for bad in
            ["99", "x", "9009:target", "9009:target=-1", "9009:size=2", "9009,9009", "9009:max=1:max=2"]
        {
            assert_eq!(templates(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pve_token_has_four_parts() {
        for good in ["root@pam!cmux=12345678-1234-1234-1234-123456789abc", "svc.pool@pve!a=b", "a@b@ldap!c=d"]
        {
            assert_eq!(pve_token(good), Some(good));
            assert_eq!(pve_token(&format!("PVEAPIToken={good}")), Some(good));
        }
        for bad in [
            "",
            "secret",
            "root@pam=x",
            "root!cmux=x",
            "root@pam!cmux",
            "root@pam!cmux=",
            "root@pam!=x",
            "r@p!c=a b",
        ] {
            assert_eq!(pve_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_made_as_pve_shows_it() {
        let shown = ["AB"; 32].join(":");
        assert_eq!(fingerprint(&"ab".repeat(32)), Some(shown.clone()));
        assert_eq!(fingerprint(&shown), Some(shown.clone()));
        for bad in ["", "AB:CD", &"ab".repeat(31), &"xy".repeat(32), &format!("{shown}:")] {
            assert_eq!(fingerprint(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_api_url_loses_its_tail() {
        for (text, expected) in [
            ("https://pve:8006", Some("https://pve:8006/")),
            ("https://pve:8006/api2/json/", Some("https://pve:8006/")),
            ("https://pve/proxied/", Some("https://pve/proxied")),
            ("pve:8006", None),
            ("ftp://pve", None),
            ("https://root:pw@pve", None),
            ("https://pve/?a=b", None),
        ] {
            assert_eq!(api_url(text).map(String::from).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for good in ["pve.example.com", "PVE.example.com:8443", "10.0.0.1", "[::1]:8007"] {
            assert_eq!(host(good), Some(good.to_ascii_lowercase()));
        }
        for bad in ["", "https://pve", "pve/pool", "*.example.com", "a b"] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_slip_is_near() {
        for near in [
            "POOL_TARGT_SIZE",
            "POOL_TARGETT_SIZE",
            "POOL_TARGET_SIZ",
            "POOL_TRAGET_SIZE",
            "POOL_TARGET-SIZE",
        ] {
            assert!(is_near("POOL_TARGET_SIZE", near), "{near}");
        }
        for far in ["POOL_SIZE", "POOL_MAX_SIZE", ""] {
            assert!(!is_near("POOL_TARGET_SIZE", far), "{far}");
        }
    }
}
