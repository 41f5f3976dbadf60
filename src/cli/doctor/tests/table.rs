//! The published table of what is said of each fault: `UPDATE=1 cargo test doctor` writes it.

use std::path::Path;

use super::at_pve::CASES;
use super::trust::distrusted;
use super::*;
use crate::config::{WebhookConfig, WebhooksFile};

/// Characters of 32 bytes in hex with colons between them.
const FINGERPRINT: usize = 95;

/// One line of the table.
fn line(name: &str, finding: &Finding) -> String {
    // A certificate of a test has another fingerprint each time.
    let shown = |word: &str| match word.split_once(|c: char| c != ':' && !c.is_ascii_hexdigit()) {
        Some((hex, rest)) if hex.len() == FINGERPRINT => format!("AB:CD:…{rest}"),
        None if word.len() == FINGERPRINT => "AB:CD:…".to_owned(),
        Some(_) | None => word.to_owned(),
    };
    let found = finding.found.split_whitespace().map(shown).collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let mend = finding.mend.iter().map(|command| format!("`{}`", command.replace('|', "\\|")));
    let subject = if finding.subject.is_empty() { String::new() } else { format!(" {}", finding.subject) };
    let mend = mend.collect::<Vec<_>>().join("<br>");
    format!("| {name} | `{}{subject}`: {found} | {mend} |\n", finding.check)
}

/// What may be wrong on the machine and with the settings.
async fn of_the_machine() -> Vec<(&'static str, Finding)> {
    let dir = Path::new("/var/lib/sandbox-pool");
    let address = "127.0.0.1:8007".parse().unwrap();
    let segment = dir.join("log-00000000000000000001.jsonl");
    let text = crate::config::Secret::new("[[endpoint]]\nnam = 'billing'\n");
    let file = WebhooksFile { path: "/etc/sandbox-pool/webhooks.toml".into(), text };
    let hooks = WebhookConfig { file: Some(file), ..config(&[]).webhooks };
    let wrong = crate::config::ConfigError {
        setting: "POOL_TARGET_SIZE",
        given: Some(("many".to_owned(), crate::config::Origin::Environment)),
        expected: "a whole number".to_owned(),
    };
    let wrong = ConfigErrors { errors: vec![wrong], ignored: Vec::new() };
    vec![
        ("a certificate that nobody vouches for", distrusted(&[]).await),
        (
            "another certificate than the pinned one",
            distrusted(&[("PVE_FINGERPRINT", &"ab".repeat(32))]).await,
        ),
        ("clocks twenty seconds apart", pve::clock(Some(-20_000))),
        ("clocks an hour apart", pve::clock(Some(3_600_000))),
        ("the log is root's", here::unusable(dir, &segment, 0, 0o600)),
        ("disk nearly full", here::space(512 << 20, 1000)),
        ("disk full", here::space(20 << 20, 1000)),
        ("a slow disk", here::syncs(12.0)),
        ("the data directory in memory", here::kind(dir, here::Kind::Memory)),
        ("the data directory on another machine", here::kind(dir, here::Kind::Network)),
        ("somebody else has the address", here::taken(address, None)),
        ("a wrong setting", wrong_settings(&wrong).remove(0)),
        ("a wrong file of webhooks", webhooks(&hooks).unwrap()),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_published_table_has_what_is_said_of_each_fault() {
    let mut table = "# What doctor says\n\n\
        Each single fault, as the simulated Proxmox VE or this machine can have it, and the finding that it leads \
        to. A test keeps this true.\n\n| What is wrong | What is found | What mends it |\n|---|---|---|\n"
        .to_owned();
    for (name, break_it, settings, _) in CASES {
        let sim = healthy();
        break_it(&sim);
        let findings = examined(&sim, settings, Some(0)).await;
        // Of equals the last: what comes first is what the later one was found by.
        table += &line(name, findings.iter().max_by_key(|finding| finding.level).expect("a finding"));
    }
    for (name, finding) in of_the_machine().await {
        table += &line(name, &finding);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/doctor.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), table);
}
