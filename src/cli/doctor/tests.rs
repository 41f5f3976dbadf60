//! Each single fault is named, by exactly the check that is about it, with a command that mends it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Sources, env_file};
use crate::domain::time::Timestamp;
use crate::sim::{CtSpec, DEMO_TOKEN, Effect, FaultRule, On, Sim, Storage};

/// 2026-11-24T09:00:00Z.
const EPOCH: Timestamp = Timestamp(1_795_510_800_000);
const TEMPLATE: u32 = 9020;

/// A cluster with nothing wrong, and the pool's token with its least rights.
fn healthy() -> Sim {
    let sim = Sim::demo(EPOCH, 1);
    let interface = "name=eth0,bridge=vmbr0,ip=dhcp";
    sim.add_ct(CtSpec::new(TEMPLATE, "debian").template().set("net0", interface));
    sim
}

fn config(settings: &[(&str, &str)]) -> Config {
    let mut env: BTreeMap<String, String> = crate::demo::settings(&PathBuf::from("/nowhere"))
        .map(|(name, value)| (name.to_owned(), value))
        .into();
    env.insert("POOL_TEMPLATES".to_owned(), TEMPLATE.to_string());
    env.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let sources = Sources {
        flags: BTreeMap::new(),
        env,
        dotenv: env_file::parse(""),
        dotenv_path: PathBuf::from(".env"),
        is_root: false,
        read_file: &|path| std::fs::read_to_string(path),
    };
    Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// What is not well, as `check subject`; every such finding has a reason and a command.
fn wrong(findings: &[Finding]) -> BTreeSet<String> {
    let bad = findings.iter().filter(|finding| finding.level >= Level::Warn);
    bad.map(|finding| {
        assert!(!finding.why.is_empty() && !finding.mend.is_empty(), "{finding:?}");
        format!("{} {}", finding.check, finding.subject).trim_end().to_owned()
    })
    .collect()
}

async fn examined(sim: &Sim, settings: &[(&str, &str)], ahead: pve::Ahead) -> Vec<Finding> {
    let pve = Pve::new(Arc::new(sim.demo_transport()));
    pve::examine(&config(settings), &pve, ahead).await
}

/// One fault, its settings, and the one finding that it must lead to.
type Case = (&'static str, fn(&Sim), &'static [(&'static str, &'static str)], &'static str);

fn edit_storage(sim: &Sim, edit: fn(&mut Storage)) {
    sim.with(|model| model.edit_storage("pool", edit));
}

const CASES: &[Case] = &[
    ("front end down", |sim| sim.front_end_down(), &[], "pve-address"),
    ("token disabled", |sim| sim.set_token_enabled(DEMO_TOKEN, false), &[], "pve-token"),
    ("node down for its guests", |sim| sim.daemon_down("pve1"), &[], "node pve1"),
    ("no such node", |_| {}, &[("PVE_NODE", "pve7")], "node pve7"),
    ("no template", |sim| sim.outside_destroy(TEMPLATE), &[], "template 9020"),
    ("a virtual machine", |_| {}, &[("POOL_TEMPLATES", "200")], "template 200"),
    ("no template but a container", |_| {}, &[("POOL_TEMPLATES", "101")], "template 101"),
    ("template locked", |sim| sim.outside_lock(TEMPLATE, "backup"), &[], "template 9020"),
    ("no linked clones", |sim| edit_storage(sim, |it| it.linkable = false), &[], "template 9020"),
    (
        "no linked clones, and no others wanted",
        |sim| edit_storage(sim, |it| it.linkable = false),
        &[("CLONE_MODE", "linked")],
        "template 9020",
    ),
    ("storage full", |sim| edit_storage(sim, |it| it.full = true), &[], "storage pool"),
    ("storage disabled", |sim| edit_storage(sim, |it| it.enabled = false), &[], "storage pool"),
    (
        "storage not for containers",
        |sim| edit_storage(sim, |it| it.content = "iso".to_owned()),
        &[],
        "storage pool",
    ),
    (
        "no list of nodes",
        |sim| {
            let effect = Effect::FailBefore { status: 500, reason: "no".to_owned() };
            sim.add_fault(FaultRule::always(On::call("GET", "/nodes"), effect));
        },
        &[],
        "node",
    ),
    (
        "no list of guests",
        |sim| {
            for path in ["/cluster/resources", "/nodes/*/lxc", "/nodes/*/qemu"] {
                let effect = Effect::FailBefore { status: 500, reason: "no".to_owned() };
                sim.add_fault(FaultRule::always(On::call("GET", path), effect));
            }
        },
        &[],
        "template",
    ),
    (
        "template elsewhere",
        |sim| {
            sim.with(|model| {
                model.add_node("pve2");
                model.outside_migrate(TEMPLATE, "pve2");
            });
        },
        &[("PVE_NODE", "pve1")],
        "template 9020",
    ),
    (
        "node down",
        |sim| {
            sim.with(|model| {
                model.add_node("pve2");
                model.set_node_up("pve2", false);
            });
        },
        &[("PVE_NODE", "pve2"), ("POOL_TEMPLATES", "")],
        "node pve2",
    ),
    (
        "a resource pool that the token has no rights in",
        |_| {},
        &[("PVE_RESOURCE_POOL", "other")],
        "privileges /pool/other",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_healthy_cluster_has_nothing_to_mend() {
    for settings in [&[][..], &[("PVE_NODE", "pve1")], &[("CLONE_MODE", "full")], &[("POOL_TEMPLATES", "")]] {
        let findings = examined(&healthy(), settings, Some(300)).await;
        assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_single_fault_is_named_and_nothing_else() {
    let mut misnamed = Vec::new();
    for (name, break_it, settings, check) in CASES {
        let sim = healthy();
        break_it(&sim);
        let findings = examined(&sim, settings, Some(0)).await;
        if wrong(&findings) != BTreeSet::from([(*check).to_owned()]) {
            let bad = findings.into_iter().filter(|finding| finding.level != Level::Ok);
            misnamed.push((name, bad.collect::<Vec<_>>()));
        }
    }
    assert!(misnamed.is_empty(), "{misnamed:#?}");
}

/// `UPDATE=1 cargo test doctor` writes it.
#[tokio::test(start_paused = true)]
async fn the_published_table_has_what_is_said_of_each_fault() {
    let mut table = "# What doctor says\n\n\
        Each single fault, as the simulated Proxmox VE can have it, and the finding that it leads to. A test keeps \
        this true.\n\n| What is wrong | What is found | What mends it |\n|---|---|---|\n"
        .to_owned();
    for (name, break_it, settings, _) in CASES {
        let sim = healthy();
        break_it(&sim);
        let findings = examined(&sim, settings, Some(0)).await;
        let worst = findings.iter().max_by_key(|finding| finding.level).expect("a finding");
        let found = worst.found.replace('|', "\\|").replace('\n', " ");
        let mend = worst.mend.iter().map(|command| format!("`{}`", command.replace('|', "\\|")));
        let mend = mend.collect::<Vec<_>>().join("<br>");
        table.extend(["| ", name, " | `", worst.check, "`: ", &found, " | ", &mend, " |\n"]);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/doctor.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), table);
}

#[tokio::test(start_paused = true)]
async fn each_right_that_is_missing_is_named_with_its_path() {
    let at_vms = ["VM.Allocate", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt"];
    let cases = at_vms.map(|privilege| ("/vms", privilege, "privileges /vms".to_owned()));
    let others = [
        ("/vms", "VM.Clone", format!("privileges /vms/{TEMPLATE}")),
        ("/storage/pool", "Datastore.AllocateSpace", "privileges /storage/pool".to_owned()),
        ("/storage/pool", "Datastore.Audit", "privileges /storage/pool".to_owned()),
        ("/sdn/zones/localnetwork/vmbr0", "SDN.Use", "privileges /sdn/zones/localnetwork/vmbr0".to_owned()),
    ];
    for (path, privilege, check) in cases.into_iter().chain(others) {
        let sim = healthy();
        sim.revoke(DEMO_TOKEN, path, &[privilege]);
        let findings = examined(&sim, &[], Some(0)).await;
        assert_eq!(wrong(&findings), BTreeSet::from([check]), "{privilege}: {findings:#?}");
        let named = findings.iter().find(|finding| finding.level == Level::Fail).unwrap();
        assert_eq!(named.found, format!("missing {privilege}"));
        assert!(named.mend.iter().any(|command| command.contains(&format!("'{DEMO_TOKEN}'"))));
    }
    // What may not be seen at all is missing at both paths, and nothing else is guessed at.
    let sim = healthy();
    sim.revoke(DEMO_TOKEN, "/vms", &["VM.Audit"]);
    let both = ["privileges /vms".to_owned(), format!("privileges /vms/{TEMPLATE}")];
    assert_eq!(wrong(&examined(&sim, &[], Some(0)).await), both.into());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_at_pve() {
    let sim = healthy();
    examined(&sim, &[], None).await;
    assert!(sim.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_told() {
    for (ahead, level) in [
        (None, Level::Skip),
        (Some(4_000), Level::Ok),
        (Some(-20_000), Level::Warn),
        (Some(3_600_000), Level::Fail),
    ] {
        let findings = examined(&healthy(), &[], ahead).await;
        assert_eq!(findings.iter().find(|finding| finding.check == "clock").unwrap().level, level);
    }
}

#[test]
fn the_machine_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let checks = |dir: &std::path::Path| {
        let findings = here::data_dir(dir);
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

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_named() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let config = config(&[("PVE_API_URL", &url)]);
    let transport = crate::app::transport(&config).unwrap();
    let findings = pve::examine(&config, &Pve::new(Arc::new(transport)), None).await;
    assert_eq!(wrong(&findings), BTreeSet::from(["pve-tls".to_owned()]), "{findings:#?}");
    let trust = findings.iter().find(|finding| finding.check == "pve-tls").unwrap();
    assert!(trust.found.contains("fingerprint"), "what could be pinned is shown: {}", trust.found);
    server.abort();
}
