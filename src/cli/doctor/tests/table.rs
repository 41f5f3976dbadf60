//! The second part of the published page of faults: `UPDATE=1 cargo test doctor` writes it.
//!
//! The first part is what the whole program says of faults that were really there: `tests/it/doctor`. What a test
//! cannot do to the machine that it runs on (another user, a full, slow or remote disk) is here what the checks
//! make of what the system would tell them. Files of another user, full and read-only disks are also made for the
//! whole program, by root: `.ci/disk`.

use std::io::{Error, ErrorKind};
use std::path::Path;

use super::*;
use account::Barrier;

/// The row of a fault, with all that was found.
fn row(fault: &str, findings: &[Finding]) -> String {
    let worst = findings.iter().max_by_key(|finding| finding.level).expect("a finding");
    let json = |finding: &Finding| serde_json::to_value(finding).expect("JSON");
    let skipped = findings.iter().filter(|it| it.level == Level::Skip && *it != worst);
    let skipped: Vec<_> = skipped.map(json).collect();
    page::row(fault, &json(worst), &skipped.iter().collect::<Vec<_>>())
}

/// Faults, and what the checks make of them.
fn faults() -> Vec<(&'static str, Vec<Finding>)> {
    let file = Path::new("/etc/sandbox-pool/env");
    let dir = Path::new("/var/lib/sandbox-pool");
    let of = |path: &str, mode, is_dir| Barrier { path: path.into(), owner: 0, mode, is_dir };
    let failed = |kind: ErrorKind, disk: Option<&Finding>| {
        here::written(dir, dir, Err(Error::from(kind)), disk, None, file)
    };
    let space = |bytes, inodes| {
        let disk = here::space(dir, bytes, Some(inodes), file);
        let mut findings = match disk.level {
            Level::Fail => failed(ErrorKind::StorageFull, Some(&disk)),
            Level::Ok | Level::Warn | Level::Skip => Vec::new(),
        };
        findings.push(disk);
        findings
    };
    let key = "/etc/sandbox-pool/billing.key";
    let barred =
        |check, setting, path: &str, by| vec![settings::barred(check, setting, Path::new(path), &by)];
    vec![
        ("settings that only root may read, and somebody else who looks", vec![settings::roots_alone(file)]),
        (
            "a file that a setting names is root's",
            barred("settings", "PVE_API_TOKEN_FILE", "/srv/token", of("/srv/token", 0o600, false)),
        ),
        ("a webhook's key is root's", barred("webhooks", "WEBHOOKS_FILE", key, of(key, 0o600, false))),
        (
            "a webhook's key is in a directory of root's",
            barred("webhooks", "WEBHOOKS_FILE", "/root/billing.key", of("/root", 0o700, true)),
        ),
        (
            "the directory of settings is root's",
            barred("webhooks", "WEBHOOKS_FILE", key, of("/etc/sandbox-pool", 0o700, true)),
        ),
        ("PVE tells no time", vec![pve::clock(None)]),
        (
            "the log is root's",
            vec![here::unusable(
                dir,
                &of("/var/lib/sandbox-pool/log-00000000000000000001.jsonl", 0o600, false),
            )],
        ),
        ("the data directory is in one of root's", vec![here::unusable(dir, &of("/var/lib", 0o700, true))]),
        (
            "the service cannot make its data directory",
            vec![here::unmade(Path::new("/srv/pool"), &of("/srv", 0o755, true))],
        ),
        ("the data directory may not be written", failed(ErrorKind::PermissionDenied, None)),
        ("a file system that is read-only", failed(ErrorKind::ReadOnlyFilesystem, None)),
        ("a quota that is used up", failed(ErrorKind::QuotaExceeded, None)),
        ("disk nearly full", space(512 << 20, 1000)),
        ("disk full", space(20 << 20, 1000)),
        ("no inode left", space(5 << 30, 0)),
        ("a slow disk", vec![here::syncs(12.0)]),
        ("the data directory on another machine", vec![here::kind(dir, here::Kind::Network, file)]),
        ("a port of root's", vec![here::privileged("127.0.0.1:80".parse().unwrap(), file)]),
    ]
}

#[test]
fn the_published_page_has_what_is_said_of_faults_that_a_test_cannot_make() {
    let mut part = format!(
        "{}\nA test cannot do these to the machine that it runs on: this is what doctor makes of what the system \
         would tell it.\n{}",
        page::SECOND_PART,
        page::HEAD
    );
    for (name, findings) in faults() {
        assert_eq!(
            wrong(&findings).len(),
            usize::from(findings.iter().any(|it| it.level > Level::Skip)),
            "{name}"
        );
        part += &row(name, &findings);
    }
    page::publish(&part);
}

/// Each check at each level that the code gives it, where it is written out.
fn given() -> BTreeSet<(String, String)> {
    let sources = [
        include_str!("../here.rs"),
        include_str!("../pve.rs"),
        include_str!("../settings.rs"),
        include_str!("../template.rs"),
    ];
    let mut given = BTreeSet::new();
    for (made, word) in [("Finding::fail(", "FAIL"), ("Finding::warn(", "WARN"), ("Finding::skip(", "skip")] {
        for text in sources.iter().flat_map(|source| source.split(made).skip(1)) {
            if let Some(text) = text.trim_start().strip_prefix('"') {
                given.insert((text.split('"').next().unwrap().to_owned(), word.to_owned()));
            }
        }
    }
    assert!(given.len() > 20, "{given:?}");
    given
}

#[test]
fn each_check_is_on_the_page_at_each_level_that_it_can_have() {
    if std::env::var_os("UPDATE").is_some() {
        return; // The page is being written.
    }
    let published = std::fs::read_to_string(page::PAGE).unwrap();
    let rows: Vec<&str> = published.lines().filter(|line| line.starts_with("| ")).collect();
    let is_shown = |check: &str, word: &str| {
        rows.iter().any(|row| {
            let (found, skipped) = row.split_once("<br>not looked at: ").unwrap_or((row, ""));
            let is_skipped = word == "skip" && skipped.contains(&format!("`{check}`"));
            is_skipped || [' ', '`'].iter().any(|end| found.contains(&format!("| {word} `{check}{end}")))
        })
    };
    let missing: Vec<_> = given().into_iter().filter(|(check, word)| !is_shown(check, word)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
