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
use ownership::Directory;
use settings::Kept;

/// The row of a fault, with all that was found.
fn row(fault: &str, findings: &[Finding]) -> String {
    let worst = findings.iter().max_by_key(|finding| finding.level).expect("a finding");
    let json = |finding: &Finding| serde_json::to_value(finding).expect("JSON");
    let skipped = findings.iter().filter(|it| it.level == Level::Skip && *it != worst);
    let skipped: Vec<_> = skipped.map(json).collect();
    page::row(fault, &json(worst), &skipped.iter().collect::<Vec<_>>())
}

/// Where data are usually.
const DATA: &str = "/var/lib/sandbox-pool";

/// Faults, and what the checks make of them.
type Faults = Vec<(&'static str, Vec<Finding>)>;

/// Something of root's.
fn of_root(path: &str, mode: u32, is_dir: bool) -> Barrier {
    Barrier { path: path.into(), owner: 0, mode, is_dir }
}

/// Of the settings, and of files that they name.
fn of_settings() -> Faults {
    let kept = |check, setting, path: &str, by| {
        vec![settings::barred(check, setting, Path::new(path), Path::new(path), &by)]
    };
    let barred = |check, setting, path, by| kept(check, setting, path, Kept::Barred(by));
    let (key, ca) = ("/etc/sandbox-pool/billing.key", "/etc/pve/pve-root-ca.pem");
    let of_pve = "/etc/pve/hooks.toml";
    vec![
        (
            "settings that only root may read, and somebody else who looks",
            vec![settings::roots_alone(Path::new(FILE))],
        ),
        (
            "the same, with settings of his own in the environment",
            vec![settings::passed_over(Path::new(FILE))],
        ),
        (
            "a file that a setting names is root's",
            barred("settings", "PVE_API_TOKEN_FILE", "/srv/token", of_root("/srv/token", 0o600, false)),
        ),
        ("a webhook's key is root's", barred("webhooks", "WEBHOOKS_FILE", key, of_root(key, 0o600, false))),
        (
            "a webhook's key is in a directory of root's",
            barred("webhooks", "WEBHOOKS_FILE", "/opt/billing.key", of_root("/opt", 0o700, true)),
        ),
        (
            "the directory of settings is root's",
            barred("webhooks", "WEBHOOKS_FILE", key, of_root("/etc/sandbox-pool", 0o700, true)),
        ),
        (
            "a file in somebody's home",
            kept("settings", "PVE_CA_FILE", "/home/ann/my ca.pem", Kept::Hidden("ProtectHome")),
        ),
        ("the CA of this node", barred("settings", "PVE_CA_FILE", ca, of_root(ca, 0o640, false))),
        (
            "another file that Proxmox VE keeps",
            barred("settings", "WEBHOOKS_FILE", of_pve, of_root(of_pve, 0o640, false)),
        ),
    ]
}

/// Of the data directory, with what is in it.
fn of_data_dir() -> Faults {
    let (dir, file) = (Path::new(DATA), Path::new(FILE));
    let (elsewhere, many) = (Path::new("/srv/my pool"), Path::new("/srv"));
    let unusable = |directory: &Directory, barred: &[Barrier]| {
        let (first, others) = barred.split_first().expect("one");
        vec![ownership::unusable(directory, first, others, file)]
    };
    let at = |dir: &Path| Directory { path: dir.into(), ..Directory::default() };
    let logs = [1, 7].map(|number| of_root(&format!("{DATA}/log-{number:020}.jsonl"), 0o600, false));
    let no = |kind| Err(Error::from(kind));
    let failed = |kind| here::written(dir, dir, no(kind), None, None, file);
    vec![
        ("the log is root's", unusable(&Directory { is_writable: true, ..at(dir) }, &logs)),
        ("the data directory is root's", unusable(&at(elsewhere), &[of_root("/srv/my pool", 0o755, true)])),
        (
            "the data directory is one for many things",
            unusable(
                &Directory { own: vec!["/srv/lock".into()], is_shared: true, ..at(many) },
                &[of_root("/srv", 0o755, true)],
            ),
        ),
        (
            "the data directory is in one of root's",
            vec![ownership::behind(&of_root("/var/lib", 0o700, true), false, file)],
        ),
        (
            "the data directory is in somebody's home",
            vec![ownership::hidden(Path::new("/root/data"), "ProtectHome", file)],
        ),
        (
            "the service cannot make its data directory",
            vec![ownership::unmade(elsewhere, Some(&of_root("/srv", 0o755, true)), false)],
        ),
        ("the unit does not let the service write there", vec![ownership::read_only(elsewhere)]),
        (
            "the data directory cannot be listed",
            vec![here::unlistable(dir, &Error::from(ErrorKind::PermissionDenied))],
        ),
        ("the data directory may not be written", failed(ErrorKind::PermissionDenied)),
        (
            "the data directory may not be made",
            here::written(dir, Path::new("/var/lib"), no(ErrorKind::PermissionDenied), None, None, file),
        ),
        ("a file system that is read-only", failed(ErrorKind::ReadOnlyFilesystem)),
        ("a quota that is used up", failed(ErrorKind::QuotaExceeded)),
    ]
}

/// Of disk, clock and address.
fn of_machine() -> Faults {
    let (dir, file) = (Path::new(DATA), Path::new(FILE));
    let space = |bytes, inodes| {
        let disk = here::space(dir, bytes, Some(inodes), file);
        let full = Err(Error::from(ErrorKind::StorageFull));
        let mut findings = match disk.level {
            Level::Fail => here::written(dir, dir, full, Some(&disk), None, file),
            Level::Ok | Level::Warn | Level::Skip => Vec::new(),
        };
        findings.push(disk);
        findings
    };
    vec![
        ("PVE tells no time", vec![pve::clock(None)]),
        ("disk nearly full", space(512 << 20, 1000)),
        ("disk full", space(20 << 20, 1000)),
        ("no inode left", space(5 << 30, 0)),
        ("a slow disk", vec![here::syncs(12.0)]),
        (
            "the data directory in memory",
            vec![here::kind(Path::new("/dev/shm/pool"), here::Kind::Memory, file)],
        ),
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
    for (name, findings) in [of_settings(), of_data_dir(), of_machine()].into_iter().flatten() {
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
        include_str!("../event_log.rs"),
        include_str!("../here.rs"),
        include_str!("../ownership.rs"),
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
