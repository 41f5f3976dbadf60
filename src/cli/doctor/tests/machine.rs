//! Faults of this machine and of the settings.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::*;
use account::READ;

const LOG: &str = "log-00000000000000000001.jsonl";

/// A directory as the service makes its own.
fn private_dir() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn set(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Whoever runs this, and somebody else; both see a directory as `/`.
fn accounts(root: &Path) -> (Account, Account) {
    let mine = std::fs::metadata(root).unwrap();
    let of = |user, group| Account { user, groups: vec![group], root: root.canonicalize().unwrap() };
    (of(mine.uid(), mine.gid()), of(mine.uid() + 1, mine.gid() + 1))
}

/// What is found of a data directory itself.
fn of_data_dir(service: &Account, dir: &Path) -> Finding {
    let found = here::data_dir(dir, Some(service), Path::new(FILE));
    found.into_iter().find(|it| it.check == "data-dir").unwrap()
}

/// A machine with nothing but a data directory with a log, of whoever runs this: its `/`, and that directory.
fn machine() -> (tempfile::TempDir, PathBuf) {
    let root = private_dir();
    set(root.path(), 0o755);
    let dir = root.path().canonicalize().unwrap().join("var/lib/sandbox-pool");
    std::fs::create_dir_all(&dir).unwrap();
    set(&dir, 0o700);
    std::fs::write(dir.join(LOG), "").unwrap();
    (root, dir)
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
    let (root, dir) = machine();
    let (own, other) = accounts(root.path());
    let log = dir.join(LOG);
    assert_eq!(of_data_dir(&own, &dir).level, Level::Ok);
    let finding = of_data_dir(&other, &dir);
    assert_eq!(finding.level, Level::Fail);
    assert!(finding.mend[0].starts_with("chown -h sandbox-pool: "), "{finding:?}");
    set(&dir, 0o707);
    let finding = of_data_dir(&other, &dir);
    assert!(finding.found.contains("log-00000000000000000001.jsonl is of user"), "{finding:?}");
    assert_eq!(of_data_dir(&own, &dir).level, Level::Warn, "everybody may look into it");
    set(&dir, 0o770);
    set(&log, 0o660);
    let groups = vec![other.groups[0], own.groups[0]];
    assert_eq!(of_data_dir(&Account { groups, ..other.clone() }, &dir).level, Level::Ok, "its group may");
    set(&dir, 0o700);
    set(dir.parent().unwrap(), 0o700);
    let finding = of_data_dir(&other, &dir);
    assert_eq!(finding.mend, [format!("chmod o+x {}", dir.parent().unwrap().display())]);
}

#[test]
fn only_the_services_own_files_are_looked_at_and_named() {
    let (root, dir) = machine();
    let (own, other) = accounts(root.path());
    // Whatever else is there: what a file system has, a copy, and what a doctor left that was interrupted.
    std::fs::create_dir(dir.join("lost+found")).unwrap();
    for name in ["backup.tar", "log-1.jsonl.old", "doctor-12.tmp"] {
        std::fs::write(dir.join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", dir.join("counted.json")).unwrap();
    std::fs::write(dir.join("lock"), "").unwrap();
    set(&dir, 0o777);
    set(&dir.join("lock"), 0o400);
    let finding = of_data_dir(&other, &dir);
    let (lock, log) = (dir.join("lock").display().to_string(), dir.join(LOG).display().to_string());
    assert_eq!(
        finding.mend,
        [format!("chown -h sandbox-pool: {lock} {log} && runuser -u sandbox-pool -- chmod u=rwX,go= {lock}")]
    );
    assert!(finding.found.ends_with("nor 1 more of its files"), "{finding:?}");
    for name in ["lock", LOG] {
        set(&dir.join(name), 0o666);
    }
    set(&dir, 0o700);
    assert_eq!(of_data_dir(&own, &dir).level, Level::Ok);
}

#[test]
fn the_services_own_files_are_those_that_it_writes() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let kept = ["older", "newer"].into_iter().flat_map(|log| std::fs::read_dir(tests.join(log)).unwrap());
    let kept: Vec<_> = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(kept.len() > 2, "{kept:?}");
    let torn = ["torn-00000000000000000021-3.bin", "torn-00000000000000000001-header.bin"];
    for name in kept.iter().map(String::as_str).chain(["lock", "counted.json"]).chain(torn) {
        assert!(ownership::is_own(name), "{name}");
    }
    for name in ["log-.jsonl", "log-1.jsonl.old", "snapshot-a.json", "log-1.json", "next.tmp", "blocks"] {
        assert!(!ownership::is_own(name), "{name}");
    }
    // Without a log, a lock is another program's.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lock"), "").unwrap();
    let theirs = ownership::Directory::at(dir.path());
    assert!(theirs.is_shared && theirs.own.is_empty());
    std::fs::write(dir.path().join("log-00000000000000000001.jsonl"), "").unwrap();
    let ours = ownership::Directory::at(dir.path());
    assert!(!ours.is_shared && ours.own.len() == 2);
    assert!(ownership::Directory::at(Path::new("/srv")).is_shared);
}

#[test]
fn a_directory_for_many_things_is_left_to_whoever_has_it() {
    let (root, _) = machine();
    let (_, other) = accounts(root.path());
    let srv = root.path().canonicalize().unwrap().join("srv");
    std::fs::create_dir_all(srv.join("www")).unwrap();
    let own = srv.join("sandbox-pool").display().to_string();
    let install = format!("install -d -o sandbox-pool -g sandbox-pool -m 0700 {own}");
    let finding = of_data_dir(&other, &srv);
    assert_eq!(finding.mend[0], install);
    assert!(finding.mend[1].contains(&format!("POOL_DATA_DIR={own};")), "{finding:?}");
    std::fs::write(srv.join(LOG), "").unwrap();
    let log = srv.join(LOG).display().to_string();
    assert_eq!(of_data_dir(&other, &srv).mend[0], format!("{install} && mv -n {log} {own}/"));
    // Right below / it is so although nothing else is there; elsewhere an empty one is taken for the log's.
    std::fs::remove_dir(srv.join("www")).unwrap();
    std::fs::remove_file(srv.join(LOG)).unwrap();
    assert_eq!(of_data_dir(&other, &srv).mend[0], install);
    std::fs::create_dir(srv.join("pool")).unwrap();
    set(&srv.join("pool"), 0o755);
    let path = srv.join("pool").display().to_string();
    let mend = format!("chown -h sandbox-pool: {path} && runuser -u sandbox-pool -- chmod u=rwX,go= {path}");
    assert_eq!(of_data_dir(&other, &srv.join("pool")).mend[0], mend);
}

#[test]
fn what_the_unit_keeps_from_the_service_is_named() {
    let (root, dir) = machine();
    let (own, other) = accounts(root.path());
    let at = |path: &str| root.path().canonicalize().unwrap().join(path);
    let private = |path: &str| {
        std::fs::create_dir_all(at(path)).unwrap();
        set(&at(path), 0o700);
    };
    for (path, directive) in
        [("root/data", "ProtectHome"), ("home/ann/data", "ProtectHome"), ("tmp/data", "PrivateTmp")]
    {
        private(path);
        for service in [&own, &other] {
            let finding = of_data_dir(service, &at(path));
            assert_eq!(finding.level, Level::Fail);
            assert!(finding.found.contains(directive), "{finding:?}");
            assert!(finding.mend[0].starts_with("editor ") && finding.mend.len() == 1, "{finding:?}");
        }
    }
    // A link goes where it goes.
    std::os::unix::fs::symlink(at("root/data"), at("elsewhere")).unwrap();
    assert_eq!(of_data_dir(&own, &at("elsewhere")).level, Level::Fail);
    private("srv/my pool");
    let finding = of_data_dir(&own, &at("srv/my pool"));
    assert_eq!(finding.level, Level::Warn);
    let path = at("srv/my pool").display().to_string();
    assert!(finding.mend[0].contains(&format!("ReadWritePaths='{path}'; then")), "{finding:?}");
    let finding = of_data_dir(&own, &at("srv/new"));
    assert!(finding.level == Level::Fail && finding.mend.len() == 2, "{finding:?}");
    assert!(finding.mend[0].starts_with("install -d -o sandbox-pool "), "{finding:?}");
    // In the service's own directory it makes what it needs.
    assert_eq!(of_data_dir(&own, &dir.join("more/of/it")).level, Level::Ok);

    let changes = at("etc/systemd/system/sandbox-pool.service.d");
    std::fs::create_dir_all(&changes).unwrap();
    std::fs::write(changes.join("override.conf"), "[Service]\nReadWritePaths='/srv/my pool'\n").unwrap();
    assert_eq!(of_data_dir(&own, &at("srv/my pool")).level, Level::Ok);
    // An empty one takes back those before it.
    std::fs::write(changes.join("reset.conf"), "[Service]\nReadWritePaths=\n").unwrap();
    assert_eq!(of_data_dir(&own, &at("srv/my pool")).level, Level::Warn);
    std::fs::remove_file(changes.join("reset.conf")).unwrap();
    let open = "[Service]\nProtectHome = false\nReadWritePaths=/srv -/root/data\n";
    std::fs::write(changes.join("override.conf"), open).unwrap();
    assert_eq!(of_data_dir(&own, &at("srv/my pool")).level, Level::Ok);
    assert_eq!(of_data_dir(&own, &at("root/data")).level, Level::Ok);
    // A home is not opened all the same.
    set(&at("root"), 0o700);
    let finding = of_data_dir(&other, &at("root/data"));
    assert!(finding.level == Level::Fail && finding.mend[0].starts_with("editor "), "{finding:?}");
}

#[test]
fn a_file_that_the_service_cannot_be_given_is_copied_or_left_to_the_unit() {
    let root = private_dir();
    set(root.path(), 0o755);
    let (own, other) = accounts(root.path());
    let at = |path: &str| root.path().canonicalize().unwrap().join(path);
    let said = |service, setting: &str, path: &str, mode| {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), "").unwrap();
        set(&at(path), mode);
        let env = BTreeMap::from([(setting.to_owned(), at(path).display().to_string())]);
        let unread = settings::unread(&Sources::of_environment(env), Some(service));
        unread.into_iter().map(|finding| finding.mend[0].clone()).collect::<Vec<_>>()
    };
    let copied = |path: &str, setting, name| {
        let from = at(path).display().to_string();
        [format!(
            "install -o root -g sandbox-pool -m 0640 {from} /etc/sandbox-pool/{name}   # and have {setting} name it"
        )]
    };
    let ca = "etc/pve/pve-root-ca.pem";
    assert!(said(&other, "PVE_CA_FILE", ca, 0o640)[0].contains("leave PVE_CA_FILE out"));
    assert_eq!(said(&own, "PVE_CA_FILE", ca, 0o640), [""; 0]);
    assert_eq!(
        said(&other, "WEBHOOKS_FILE", "etc/pve/hooks", 0o640),
        copied("etc/pve/hooks", "WEBHOOKS_FILE", "hooks")
    );
    for path in ["root/ca.pem", "home/ann/ca.pem"] {
        assert_eq!(said(&own, "PVE_CA_FILE", path, 0o644), copied(path, "PVE_CA_FILE", "ca.pem"));
    }
    let taken = |path: &str| [format!("chown root:sandbox-pool {0} && chmod 0640 {0}", at(path).display())];
    assert_eq!(said(&other, "PVE_CA_FILE", "srv/ca.pem", 0o600), taken("srv/ca.pem"));
}

#[test]
fn only_the_installed_settings_are_for_the_services_user() {
    let of = |env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sources::of_environment(env.collect())
    };
    let is_the_services = |sources: &Sources<'_>, file| settings::are_the_services(sources, Path::new(file));
    assert!(is_the_services(&of(&[]), FILE));
    assert!(is_the_services(&of(&[("POOL_DATA_DIR", "")]), FILE));
    for file in ["./my.env", ".env"] {
        assert!(!is_the_services(&of(&[]), file), "{file}");
    }
    assert!(!is_the_services(&of(&[("POOL_DATA_DIR", "/root/data")]), FILE), "an instance of his own");
    let flags = BTreeMap::from([("POOL_DATA_DIR", "/root/data".to_owned())]);
    assert!(!is_the_services(&Sources { flags, ..of(&[]) }, FILE));
}

#[test]
fn a_path_is_one_word_of_a_command() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["plain-1._", "my pool", "$(touch x)", "it's", "a;b", "ü", "*", "a\\b\"c"] {
        let path = dir.path().join(name);
        std::fs::write(&path, name).unwrap();
        let command = format!("cat {}", finding::quoted(&path));
        let said = std::process::Command::new("sh").arg("-c").arg(&command).output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), name, "{command}");
    }
    assert_eq!(finding::quoted(Path::new("/etc/sandbox-pool/env")), "/etc/sandbox-pool/env");
}

#[test]
fn the_services_user_is_found_in_the_tables_of_users_and_groups() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nsandbox-pool:x:997:996::/nonexistent:/usr/sbin/nologin\n";
    let group =
        "root:x:0:\nssl-cert:x:110:postgres,sandbox-pool\nadm:x:4:sandbox-pools\nsandbox-pool:x:996:\n";
    let expected = Account { user: 997, groups: vec![996, 110], root: "/".into() };
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
        assert!(level != Level::Ok || finding.found == "1 endpoint", "{finding:?}");
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
    assert!(barrier.is_dir && *barrier.path == *dir.path().canonicalize().unwrap());
    assert_eq!(own.barrier(&key, READ), None);
}

#[test]
fn after_a_change_of_the_settings_the_service_is_to_be_started_anew() {
    let file = Path::new(FILE);
    let ends = |finding| Report::of(vec![finding]).in_words().ends_with(": systemctl restart sandbox-pool");
    assert!(ends(here::privileged("127.0.0.1:80".parse().unwrap(), file)));
    assert!(ends(settings::barred(
        "webhooks",
        "WEBHOOKS_FILE",
        Path::new("/root/key"),
        Path::new("/root/key"),
        &settings::Kept::Hidden("ProtectHome")
    )));
    assert!(!ends(settings::roots_alone(file)));
    assert!(!ends(here::syncs(12.0)));
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
    findings.extend(pve::examine(&config, &pve, file, Some(0)).await);
    let disk = here::space(dir.path(), 1 << 40, Some(1 << 20), file);
    findings.extend(here::written(dir.path(), dir.path(), Ok(500.0), Some(&disk), None, file));
    findings.push(disk);
    let words = Report::of(findings).in_words();
    assert!(words.ends_with("\nAll is well."), "{words}");
    assert!(words.contains("RELEASE_POLICY=reuse"), "what holds by default is said all the same: {words}");
}
