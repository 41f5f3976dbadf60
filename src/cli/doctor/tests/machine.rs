//! Faults of this machine and of the settings.

use std::time::Duration;

use super::*;

/// A directory as the service makes its own.
fn private_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

#[test]
fn the_machine_is_looked_at() {
    let dir = private_dir();
    let checks = |dir: &std::path::Path| {
        let findings = here::data_dir(dir, None);
        findings.iter().map(|it| (it.check, it.level)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(checks(dir.path())["data-dir"], Level::Ok);
    assert_eq!(checks(&dir.path().join("a/b"))["data-dir"], Level::Ok);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(checks(&file)["data-dir"], Level::Fail);
    assert_eq!(here::syncs(10.0).level, Level::Warn);
    assert_eq!(here::syncs(200.0).level, Level::Ok);
    for (free, level) in [(1 << 20, Level::Fail), (512 << 20, Level::Warn), (1 << 40, Level::Ok)] {
        assert_eq!(here::space(free, 1).level, level);
    }
    assert_eq!(here::kind(&file, here::kind_of(0x0102_1994)).level, Level::Warn);
    assert_eq!(here::kind(&file, here::kind_of(0x6969)).level, Level::Warn);
    assert_eq!(here::kind(&file, here::kind_of(0xef53)).level, Level::Ok);
}

#[test]
fn what_the_services_user_may_not_write_is_named_also_to_root() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let dir = private_dir();
    let log = dir.path().join("log-00000000000000000001.jsonl");
    std::fs::write(&log, "").unwrap();
    let mine = std::fs::metadata(dir.path()).unwrap();
    let own = here::Account { user: mine.uid(), group: mine.gid() };
    let other = here::Account { user: own.user + 1, group: own.group + 1 };
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let said = |service| {
        let found = here::data_dir(dir.path(), Some(service));
        found.into_iter().find(|it| it.check == "data-dir").unwrap()
    };
    assert_eq!(said(own).level, Level::Ok);
    let finding = said(other);
    assert_eq!(finding.level, Level::Fail);
    assert!(finding.mend[0].starts_with("chown -R sandbox-pool: "), "{finding:?}");
    set(dir.path(), 0o707);
    let finding = said(other);
    assert!(finding.found.contains("log-00000000000000000001.jsonl is of user"), "{finding:?}");
    assert_eq!(said(own).level, Level::Warn, "everybody may look into it");
    set(dir.path(), 0o770);
    set(&log, 0o660);
    assert_eq!(said(here::Account { user: other.user, ..own }).level, Level::Ok, "its group may");
}

#[test]
fn the_services_user_is_found_in_the_table_of_users() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nsandbox-pool:x:997:996::/nonexistent:/usr/sbin/nologin\n";
    assert_eq!(here::Account::listed(passwd), Some(here::Account { user: 997, group: 996 }));
    assert_eq!(here::Account::listed("sandbox-pools:x:1:1::/:/bin/sh\n"), None);
}

#[test]
fn a_webhooks_file_that_is_wrong_is_named_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("webhooks.toml");
    let good = "[[endpoint]]\nname = 'a'\nurl = 'https://hooks.example.com/'\n\
        secrets = ['whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3']\n";
    for (text, level) in [(good, Level::Ok), ("[[endpoint]]\nnam = 'a'\n", Level::Fail)] {
        std::fs::write(&path, text).unwrap();
        let finding = webhooks(&config(&[("WEBHOOKS_FILE", path.to_str().unwrap())]).webhooks).unwrap();
        assert_eq!((finding.level, finding.subject.as_str()), (level, "WEBHOOKS_FILE"), "{finding:?}");
    }
    assert_eq!(webhooks(&config(&[]).webhooks), None);
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_no_service() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(here::listen(address), None);
    std::thread::spawn(move || drop(listener.accept()));
    let version = tokio::time::timeout(Duration::from_secs(10), served_by(address)).await.unwrap();
    assert_eq!(here::taken(address, version.as_deref()).level, Level::Fail);
    assert_eq!(here::taken(address, Some("0.1.0")).level, Level::Ok);
    let elsewhere = here::listen("192.0.2.1:8007".parse().unwrap()).unwrap();
    assert_eq!(elsewhere.level, Level::Fail);
}
