//! Faults of the machine: the data directory, and the address to listen on.

use std::fs;

use std::path::{Path, PathBuf};

use super::ground::{listener, mode};
use super::{Case, case};
use crate::older;

/// Has a kept log in a data directory; where its events are.
fn copy(kept: &str, into: &Path) -> PathBuf {
    older::copy(kept, into);
    into.join("log-00000000000000000001.jsonl")
}

pub const CASES: &[Case] = &[
    case("a data directory that everybody may read", "data-dir", |it| mode(&it.data(), 0o755)),
    case("a data directory that is a file", "data-dir", |it| {
        fs::remove_dir(it.data()).expect("an end");
        fs::write(it.data(), "").expect("a file");
    }),
    case("a data directory below a file", "data-dir", |it| {
        fs::remove_dir(it.data()).expect("an end");
        fs::write(it.data(), "").expect("a file");
        it.set_path("POOL_DATA_DIR", &it.data().join("log"));
    }),
    case("a log of a newer build", "log", |it| {
        copy("newer", &it.data());
    }),
    case("a damaged log", "log", |it| {
        let log = copy("older", &it.data());
        let mut bytes = fs::read(&log).expect("bytes");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&log, bytes).expect("a file");
    }),
    case("a log without its end", "log", |it| {
        let log = copy("older", &it.data());
        let lines = fs::read_to_string(&log).expect("lines");
        let some: String = lines.split_inclusive('\n').take(5).collect();
        fs::write(&log, some).expect("a file");
    }),
    case("somebody else has the address", "listen", |it| {
        let somebody = listener();
        let address = somebody.local_addr().expect("an address");
        it.set("POOL_LISTEN", address.to_string());
        it.show(address.to_string(), "127.0.0.1:8007");
        it.show(format!("'sport = :{}'", address.port()), "'sport = :8007'");
        let somebody = tokio::net::TcpListener::from_std(somebody).expect("a listener");
        tokio::spawn(async move { while somebody.accept().await.is_ok() {} });
    }),
    case("an address of another machine", "listen", |it| {
        it.set("POOL_LISTEN", "192.0.2.1:8007");
        it.set("POOL_API_TOKEN", "0123456789abcdef0123");
    }),
];
