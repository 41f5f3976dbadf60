//! What the service's unit keeps from it, whatever modes files have: `deploy/sandbox-pool.service`, and what an
//! operator changed of it by `systemctl edit`.

use std::path::Path;

use super::account::Account;
use super::finding::quoted;

/// What systemd makes for the service, and the one place that it may write to.
pub(super) const STATE_DIRECTORY: &str = "/var/lib/sandbox-pool";

/// Directories that are kept from it, and by which directive.
const PRIVATE: [(&str, &str); 5] = [
    ("/home", "ProtectHome"),
    ("/root", "ProtectHome"),
    ("/run/user", "ProtectHome"),
    ("/tmp", "PrivateTmp"),
    ("/var/tmp", "PrivateTmp"),
];

/// Where units are, and changes to them; what is later goes before.
const UNITS: [&str; 3] = ["usr/lib/systemd/system", "run/systemd/system", "etc/systemd/system"];

/// The directive that is about a directory which is somebody's own: a home, or temporary files.
pub(super) fn private(seen: &Path) -> Option<&'static str> {
    PRIVATE.iter().find(|(dir, _)| seen.starts_with(dir)).map(|(_, directive)| *directive)
}

/// The directive that hides a path from the service.
pub(super) fn hides(service: &Account, path: &Path) -> Option<&'static str> {
    let directive = private(&service.seen(path))?;
    let said = directives(service, directive);
    let is_seen =
        said.last().is_some_and(|value| ["false", "no", "off", "0", "read-only"].contains(&&**value));
    (!is_seen).then_some(directive)
}

/// Whether it lets the service write below a directory.
pub(super) fn lets_write(service: &Account, dir: &Path) -> bool {
    let seen = service.seen(dir);
    let is_below = |above: &str| seen.starts_with(above.trim_start_matches(['-', '+']));
    let is_strict = directives(service, "ProtectSystem").last().is_none_or(|value| value == "strict");
    let paths = directives(service, "ReadWritePaths");
    !is_strict
        || is_made_by_systemd(service, dir)
        || paths.iter().any(|value| is_below(value) || value.split_whitespace().any(is_below))
}

/// Whether systemd makes it, or what is above it, and it is the service's then.
pub(super) fn is_made_by_systemd(service: &Account, dir: &Path) -> bool {
    // It may be a link, which systemd follows.
    let state = service.root.join(STATE_DIRECTORY.trim_start_matches('/'));
    dir.starts_with(state) || service.seen(dir).starts_with(STATE_DIRECTORY)
}

/// What has it let the service write to a directory.
pub(super) fn to_let_write(dir: &Path) -> String {
    format!(
        "systemctl edit sandbox-pool   # [Service], ReadWritePaths={}; then: systemctl restart sandbox-pool",
        quoted(dir)
    )
}

/// The values that a directive has in the unit and in what changes it, without quotes.
fn directives(service: &Account, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for dir in UNITS.map(|dir| service.root.join(dir)) {
        let changes = std::fs::read_dir(dir.join("sandbox-pool.service.d")).into_iter().flatten().flatten();
        let mut files: Vec<_> = changes.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        files.sort();
        files.insert(0, dir.join("sandbox-pool.service"));
        for text in files.iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
            let of_it = |line: &str| {
                Some(line.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?.replace(['"', '\''], ""))
            };
            for value in text.lines().filter_map(of_it).map(|value| value.trim().to_owned()) {
                // An empty one takes back all before it.
                if value.is_empty() {
                    values.clear();
                } else {
                    values.push(value);
                }
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_has_what_is_said_of_it() {
        let unit = include_str!("../../../deploy/sandbox-pool.service");
        let state = STATE_DIRECTORY.strip_prefix("/var/lib/").unwrap();
        let made = format!("StateDirectory={state}");
        let hidden = PRIVATE.map(|(_, directive)| format!("{directive}=true"));
        for line in hidden.iter().chain([&made, &"ProtectSystem=strict".to_owned()]) {
            assert!(unit.lines().any(|it| it == line), "{line}");
        }
        assert!(unit.contains("\nLoadCredential=pve-ca:/etc/pve/pve-root-ca.pem\n"));
    }
}
