//! What the tree promises a reader: which room may know which, a first line that says what a file owns, and
//! files that are read in one go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms each room may name. `domain` knows nobody.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("log", &["clock", "domain"]),
    ("engine", &["clock", "domain", "log"]),
    ("pve", &["clock", "domain"]),
    ("sim", &["clock", "domain", "pve"]),
    ("provision", &["clock", "domain", "engine", "pve"]),
    ("reconcile", &["clock", "domain", "engine", "provision", "pve"]),
    ("desk", &["clock", "domain", "engine"]),
    ("explain", &["domain"]),
    ("http", &["clock", "desk", "domain", "engine", "explain", "log", "webhook"]),
    ("metrics", &["clock", "domain", "engine", "log"]),
    ("webhook", &["clock", "config", "domain", "engine", "log"]),
    ("tail", &["clock", "domain", "log"]),
    ("config", &["domain"]),
    ("logging", &["config"]),
    ("notify", &["clock"]),
    ("cli", &["clock", "config", "domain", "engine", "explain", "http", "log", "pve", "tail", "webhook"]),
];

/// Files that are longer than the rest, and why.
const LONG: &[(&str, &str)] = &[
    ("src/domain/command.rs", "all that can be asked and seen, in one list"),
    ("src/domain/event.rs", "the catalogue of events, in one list"),
    ("src/domain/state.rs", "all that is known, in one list"),
];

const LONGEST: usize = 420;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a text")));
            }
        }
    }
    found.sort();
    found
}

fn is_test(name: &str) -> bool {
    name.contains("/tests") || name.contains("/played") || name.contains("disk_memory")
}

#[test]
fn every_file_begins_with_what_it_owns() {
    for (name, text) in sources(&root().join("src")).into_iter().chain(sources(&root().join("tests"))) {
        assert!(text.starts_with("//!"), "{name} does not begin with `//!`");
    }
}

#[test]
fn every_file_is_read_in_one_go() {
    let reasons: BTreeMap<_, _> = LONG.iter().copied().collect();
    for (name, text) in sources(&root().join("src")) {
        let lines = text.lines().count();
        if !is_test(&name) && !reasons.contains_key(name.as_str()) {
            assert!(lines <= LONGEST, "{name} has {lines} lines: split it, or give a reason");
        }
    }
}

#[test]
fn dependencies_point_inwards() {
    let rules: BTreeMap<_, _> = MAY_KNOW.iter().copied().collect();
    for (name, text) in sources(&root().join("src")) {
        let room = name["src/".len()..].split(['/', '.']).next().expect("a room");
        let Some(known) = rules.get(room) else { continue };
        if is_test(&name) {
            continue;
        }
        for named in text.split("crate::").skip(1) {
            let other = named.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next();
            let other = other.unwrap_or_default();
            let allowed = other == room || known.contains(&other) || !rules.contains_key(other);
            assert!(allowed, "{name}: `{room}` must not know `{other}`");
        }
    }
}

#[test]
fn every_dependency_is_used_and_says_what_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let read = |folder: &str| -> String {
        sources(&root().join(folder)).into_iter().map(|(_, text)| text).collect()
    };
    let program = read("src");
    let tests = [&program[..], &read("tests"), &read("benches")].concat();
    for (section, code) in [("[dependencies]\n", &program), ("[dev-dependencies]\n", &tests)] {
        let (_, rest) = manifest.split_once(section).expect("a section");
        let (dependencies, _) = rest.split_once("\n[").expect("what follows them");
        for line in dependencies.lines().filter(|line| !line.is_empty()) {
            let (name, _) = line.split_once(" = ").expect("a name");
            assert!(line.contains(" # "), "{name} does not say what it is for");
            assert!(code.contains(&format!("{}::", name.replace('-', "_"))), "{name} is not used");
        }
    }
}

/// Where a secret becomes text again: to send it, to compare it, to sign with it. Nothing else can print one.
const EXPOSES: &[&str] = &[
    "src/app.rs",
    "src/cli/client.rs",
    "src/cli/doctor/pve.rs",
    "src/cli/events.rs",
    "src/config/load.rs",
    "src/demo.rs",
    "src/webhook/endpoint.rs",
];

#[test]
fn secrets_become_text_in_few_places() {
    let exposes = |(name, text): (String, String)| {
        let is_test = name.contains("/tests");
        (!is_test && text.contains(".expose()")).then_some(name)
    };
    let found: Vec<String> = sources(&root().join("src")).into_iter().filter_map(exposes).collect();
    assert_eq!(found, EXPOSES);
}
