//! Faults of this machine and of the settings.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;
use account::READ;

/// Settings of which nothing is read here.
const FILE: &str = "/etc/sandbox-pool/env";

/// A directory as the service makes its own.
fn private_dir() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn set(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whoever runs this, and somebody else.
fn accounts(dir: &Path) -> (Account, Account) {
    let mine = std::fs::metadata(dir).unwrap();
    let own = Account { user: mine.uid(), groups: vec![mine.gid()] };
    (own, Account { user: mine.uid() + 1, groups: vec![mine.gid() + 1] })
}

#[test]
fn the_machine_is_looked_at() {
    let file = Path::new(FILE);
    let dir = private_dir();
    let checks = |dir: &Path| {
        let findings = here::data_dir(dir, None, file);
        findings.iter().map(|it| (it.check, it.level)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(checks(dir.path())["data-dir"], Level::Ok);
    assert_eq!(checks(&dir.path().join("a/b"))["data-dir"], Level::Ok);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(here::syncs(10.0).level, Level::Warn);
    assert_eq!(here::syncs(200.0).level, Level::Ok);
    for (free, level) in [(1 << 20, Level::Fail), (512 << 20, Level::Warn), (1 << 40, Level::Ok)] {
        assert_eq!(here::space(dir.path(), free, Some(1), file).level, level);
        assert_eq!(here::space(dir.path(), free, None, file).level, level, "inodes are not counted");
        assert_eq!(here::space(dir.path(), free, Some(0), file).level, Level::Fail);
    }
    assert_eq!(here::kind(dir.path(), here::kind_of(0x0102_1994), file).level, Level::Warn);
    assert_eq!(here::kind(dir.path(), here::kind_of(0x6969), file).level, Level::Warn);
    assert_eq!(here::kind(dir.path(), here::kind_of(0xef53), file).level, Level::Ok);
}

#[test]
fn what_the_services_user_may_not_write_is_named_also_to_root() {
    let above = private_dir();
    set(above.path(), 0o755);
    let dir = above.path().join("data");
    std::fs::create_dir(&dir).unwrap();
    set(&dir, 0o700);
    let log = dir.join("log-00000000000000000001.jsonl");
    std::fs::write(&log, "").unwrap();
    let (own, other) = accounts(&dir);
    let said = |service: &Account, dir: &Path| {
        let found = here::data_dir(dir, Some(service), Path::new(FILE));
        found.into_iter().find(|it| it.check == "data-dir").unwrap()
    };
    assert_eq!(said(&own, &dir).level, Level::Ok);
    let finding = said(&other, &dir);
    assert_eq!(finding.level, Level::Fail);
    assert!(finding.mend[0].starts_with("chown -R sandbox-pool: "), "{finding:?}");
    set(&dir, 0o707);
    let finding = said(&other, &dir);
    assert!(finding.found.contains("log-00000000000000000001.jsonl is of user"), "{finding:?}");
    assert_eq!(said(&own, &dir).level, Level::Warn, "everybody may look into it");
    set(&dir, 0o770);
    set(&log, 0o660);
    let member = Account { user: other.user, groups: vec![other.groups[0], own.groups[0]] };
    assert_eq!(said(&member, &dir).level, Level::Ok, "its group may");
    // A directory that is still to be made, in one where the service may not make any.
    let finding = said(&other, &above.path().join("more/of/it"));
    assert_eq!(finding.level, Level::Fail);
    assert!(finding.mend[0].starts_with("install -d -o sandbox-pool "), "{finding:?}");
    assert_eq!(said(&own, &above.path().join("more/of/it")).level, Level::Ok);
    set(above.path(), 0o700);
    let finding = said(&other, &dir);
    assert_eq!(finding.mend, [format!("chmod o+x {}", above.path().canonicalize().unwrap().display())]);
}

#[test]
fn the_services_user_is_found_in_the_tables_of_users_and_groups() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nsandbox-pool:x:997:996::/nonexistent:/usr/sbin/nologin\n";
    let group =
        "root:x:0:\nssl-cert:x:110:postgres,sandbox-pool\nadm:x:4:sandbox-pools\nsandbox-pool:x:996:\n";
    let expected = Account { user: 997, groups: vec![996, 110] };
    assert_eq!(Account::listed(passwd, group), Some(expected));
    assert_eq!(Account::listed("sandbox-pools:x:1:1::/:/bin/sh\n", group), None);
}

#[test]
fn a_webhooks_file_that_is_wrong_is_named_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("webhooks.toml");
    let good = "[[endpoint]]\nname = 'a'\nurl = 'https://hooks.example.com/'\n\
        secrets = ['whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3']\n";
    let webhooks = |config: &Config| settings::webhooks(&config.webhooks, None, Path::new(FILE));
    for (text, level) in [(good, Level::Ok), ("[[endpoint]]\nnam = 'a'\n", Level::Fail)] {
        std::fs::write(&path, text).unwrap();
        let finding = webhooks(&config(&[("WEBHOOKS_FILE", path.to_str().unwrap())])).unwrap();
        assert_eq!((finding.level, finding.subject.as_str()), (level, "WEBHOOKS_FILE"), "{finding:?}");
    }
    assert_eq!(webhooks(&config(&[])), None);
}

#[test]
fn a_file_that_only_root_may_read_is_named_also_to_root() {
    let dir = private_dir();
    set(dir.path(), 0o755);
    let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
    let (hooks, key, ca) = (at("webhooks.toml"), at("billing.key"), at("ca.pem"));
    std::fs::write(&key, "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\n").unwrap();
    std::fs::write(&ca, "").unwrap();
    let endpoint = format!(
        "[[endpoint]]\nname = 'a'\nurl = 'https://hooks.example.com/'\nsecret_file = '{}'\n",
        key.display()
    );
    std::fs::write(&hooks, endpoint).unwrap();
    let paths = [("WEBHOOKS_FILE", hooks.to_str().unwrap()), ("PVE_CA_FILE", ca.to_str().unwrap())];
    let env = paths.map(|(name, path)| (name.to_owned(), path.to_owned()));
    let sources = Sources::of_environment(env.into());
    let config = config(&paths[..1]);
    let (own, other) = accounts(dir.path());
    let said = |service: &Account| {
        let unread = settings::unread(&sources, Some(service));
        let webhooks = settings::webhooks(&config.webhooks, Some(service), Path::new(FILE));
        wrong(&unread.into_iter().chain(webhooks).collect::<Vec<_>>())
    };
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    for (closed, expected) in [
        (None, &[][..]),
        (Some(&ca), &["settings PVE_CA_FILE"]),
        (Some(&hooks), &["settings WEBHOOKS_FILE"]),
        (Some(&key), &["webhooks WEBHOOKS_FILE"]),
    ] {
        for path in [&ca, &hooks, &key] {
            set(path, if Some(path) == closed { 0o600 } else { 0o604 });
        }
        assert_eq!(said(&own), named(&[]));
        assert_eq!(said(&other), named(expected));
    }
    set(dir.path(), 0o700);
    let barrier = other.barrier(&key, READ).unwrap();
    assert!(
        barrier.is_dir && barrier.path == at("").parent().unwrap().join(barrier.path.file_name().unwrap())
    );
    assert_eq!(own.barrier(&key, READ), None);
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_no_service() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Path::new(FILE);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(here::listen(address, true, file), None);
    std::thread::spawn(move || drop(listener.accept()));
    let version = tokio::time::timeout(Duration::from_secs(10), served_by(address)).await.unwrap();
    assert_eq!(here::taken(address, version.as_deref()).level, Level::Fail);
    assert_eq!(here::taken(address, Some("0.1.0")).level, Level::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pool_with_default_settings_is_all_well() {
    let env = crate::demo::settings(Path::new("/nowhere")).map(|(name, value)| (name.to_owned(), value));
    let (config, warnings) = Config::load(&Sources::of_environment(env.into())).unwrap();
    let pve = Pve::new(Arc::new(Sim::demo(EPOCH, 1).demo_transport()));
    let dir = private_dir();
    let file = Path::new(FILE);
    let mut findings = settings::settings(&warnings, Vec::new(), file);
    findings.extend(pve::examine(&config, &pve, Some(0)).await);
    let disk = here::space(dir.path(), 1 << 40, Some(1 << 20), file);
    findings.extend(here::written(dir.path(), dir.path(), Ok(500.0), Some(&disk), None, file));
    findings.push(disk);
    let words = Report::of(findings).in_words();
    assert!(words.ends_with("\nAll is well."), "{words}");
    assert!(words.contains("RELEASE_POLICY=reuse"), "what holds by default is said all the same: {words}");
}
