//! Logs of other builds: one of before is gone on with, one of a newer build is refused and left as it is.
//!
//! `tests/older` was written by an earlier build: a start, a clone, a hand-out, a release, a clean stop.
//! `tests/newer` is the same with one event behind it of a type that no build has, under another build's name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::program::{Running, nowhere, program, text};

/// A copy to work on.
fn copied(name: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    copy(name, dir.path());
    dir
}

/// Has a kept log in a directory.
pub fn copy(name: &str, into: &Path) {
    for entry in fs::read_dir(kept(name)).expect("a directory") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, into.join(path.file_name().expect("a name"))).expect("a copy");
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let named = |path: PathBuf| (path.file_name().expect("a name").to_string_lossy().into_owned(), path);
    let is_log = |(name, _): &(String, PathBuf)| name != "lock";
    files.map(named).filter(is_log).map(|(name, path)| (name, fs::read(path).expect("a file"))).collect()
}

fn settings(dir: &TempDir) -> [(&'static str, String); 4] {
    [
        ("POOL_LISTEN", "127.0.0.1:0".to_owned()),
        ("PVE_API_URL", nowhere().to_owned()),
        ("PVE_API_TOKEN", "a@pve!b=c".to_owned()),
        ("POOL_DATA_DIR", dir.path().display().to_string()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn the_log_of_an_older_build_is_gone_on_with() {
    let dir = copied("older");
    let before = files(&kept("older"));
    let (service, address) = Running::service(&borrowed(&settings(&dir)), dir.path());
    let url = format!("http://{address}");
    let asked = |arguments: &[&str]| {
        let output = program(&[], dir.path()).args(arguments).args(["--url", &url]).output().expect("an end");
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let template = asked(&["template", "get", "9009", "--json"]);
    assert!(template.contains("\"target_size\":0"), "a size that was set is known: {template}");
    assert_eq!(service.terminate(), Some(0));
    let name = "log-00000000000000000001.jsonl";
    let (old, new) = (&before[name], &files(dir.path())[name]);
    let records =
        |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (old, new) = (records(old), records(new));
    assert_eq!(new[..20], old[..20], "what it wrote is as it was");
    assert!(new.len() > old.len());
}

#[test]
fn the_log_of_a_newer_build_is_refused_by_its_name_and_left_as_it_is() {
    let dir = copied("newer");
    let output = program(&borrowed(&settings(&dir)), dir.path()).output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output);
    for words in ["build 9.0.0 wrote it, start that one or a newer", "unknown event type `PoolMirrored`"] {
        assert!(errors.contains(words), "{errors}");
    }
    assert_eq!(files(dir.path()), files(&kept("newer")));
    let dir_text = dir.path().display().to_string();
    let output =
        program(&[], dir.path()).args(["log", "verify", "--data-dir", &dir_text]).output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("build 9.0.0") && !text(&output).contains("not whole"),
        "{}",
        text(&output)
    );
}
