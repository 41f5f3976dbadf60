//! The program as its operator meets it: a real process, its words and its exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;

use sandbox_pool::sim::{DEMO_SECRET, DEMO_TOKEN};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// The program with an environment of its own, and with a proxy that is not there: it never asks one.
pub fn program(settings: &[(&str, &str)], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox-pool"));
    command
        .env_clear()
        .envs(["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")));
    command.envs(settings.iter().copied()).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A URL at which nobody listens as long as this process lives: its port is taken, and calls to it are refused.
pub fn nowhere() -> &'static str {
    static NOWHERE: LazyLock<(TcpSocket, String)> = LazyLock::new(|| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = socket.local_addr().expect("an address");
        (socket, format!("http://{address}"))
    });
    &NOWHERE.1
}

/// A process that is killed with its handle.
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("a process");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let stderr = BufReader::new(child.stderr.take().expect("its errors"));
        Self { child, stdout, stderr }
    }

    /// Reads what it prints until a line has these words, and returns that line.
    pub fn until_it_prints(&mut self, words: &str) -> String {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let read = self.stdout.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended before it printed `{words}`: {}", self.errors());
        }
        line
    }

    /// Reads what it logs until a line has these words, and returns all that it read.
    pub fn until_it_logs(&mut self, words: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(words)) {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended before it logged `{words}`: {lines:#?}");
            lines.push(line);
        }
        lines
    }

    /// A simulated PVE, and its address.
    pub fn simulator(dir: &Path) -> (Self, String) {
        let mut command = program(&[], dir);
        command.args(["sim", "--listen", "127.0.0.1:0"]);
        let mut simulator = Self::start(command);
        let line = simulator.until_it_prints("PVE_API_URL=");
        (simulator, address_in(&line))
    }

    /// A service that listens on a port of the system's choice, and its address.
    pub fn service(settings: &[(&str, &str)], dir: &Path) -> (Self, String) {
        let mut command = program(settings, dir);
        command.env("POOL_LISTEN", "127.0.0.1:0");
        let mut service = Self::start(command);
        let lines = service.until_it_logs("serving on http://");
        (service, address_in(lines.last().expect("a line")))
    }

    /// Ends it as a crash does.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("a signal");
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        let _ = self.stderr.read_to_string(&mut text);
        text
    }

    /// Tells it to stop and says how it ended.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        let mut rest = String::new();
        let _ = self.stderr.read_to_string(&mut rest);
        self.child.wait().expect("its end").code()
    }
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The address in a line with a URL.
fn address_in(line: &str) -> String {
    let (_, rest) = line.split_once("http://").unwrap_or_else(|| panic!("no address in {line}"));
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    rest[..end.unwrap_or(rest.len())].to_owned()
}

pub fn demo(listen: &str, data_dir: &Path) -> Command {
    let dir = data_dir.to_str().expect("a path");
    let mut command = program(&[("POOL_LISTEN", listen), ("TMPDIR", dir)], data_dir);
    command.args(["demo", "--data-dir", dir]);
    command
}

#[test]
fn every_wrong_setting_is_told_at_once_with_exit_code_2() {
    let dir = TempDir::new().expect("a directory");
    std::fs::write(dir.path().join("hooks.toml"), "[[endpoint]]\nname = \"a\"\n").expect("a file");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    std::fs::write(dir.path().join("ca.pem"), no_certificate).expect("a file");
    let data = dir.path().join("data");
    let settings = [
        ("POOL_TARGET_SIZE", "-1"),
        ("POOL_LISTEN", "nowhere"),
        ("CLONE_MODE", "half"),
        ("PVE_API_URL", "ftp://pve"),
        ("PVE_CA_FILE", "ca.pem"),
        ("WEBHOOKS_FILE", "hooks.toml"),
        ("POOL_DATA_DIR", data.to_str().expect("a path")),
    ];
    let told = |settings: &[(&str, &str)], wrong: &[&str]| {
        let output = program(settings, dir.path()).output().expect("an end");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        for setting in wrong {
            assert!(
                text(&output).contains(&format!("\n  {setting}")),
                "{setting} is not in: {}",
                text(&output)
            );
        }
    };
    let wrong =
        ["POOL_TARGET_SIZE", "POOL_LISTEN", "CLONE_MODE", "PVE_API_URL", "PVE_API_TOKEN", "PVE_CA_FILE"];
    told(&settings, &[&wrong[..], &["WEBHOOKS_FILE"]].concat());
    // The same where nothing else is wrong: no log was begun.
    let token = format!("{DEMO_TOKEN}={DEMO_SECRET}");
    let pve = [("PVE_API_URL", "https://127.0.0.1:9"), ("PVE_API_TOKEN", token.as_str())];
    told(&[&pve[..], &settings[4..]].concat(), &["PVE_CA_FILE", "WEBHOOKS_FILE"]);
    assert!(!data.exists());
}

#[test]
fn an_open_address_without_a_token_is_refused_with_both_ways_out() {
    let dir = TempDir::new().expect("a directory");
    let token = format!("{DEMO_TOKEN}={DEMO_SECRET}");
    let settings = [
        ("PVE_API_URL", "https://127.0.0.1:8006"),
        ("PVE_API_TOKEN", token.as_str()),
        ("POOL_LISTEN", "0.0.0.0:8007"),
    ];
    let output = program(&settings, dir.path()).output().expect("an end");
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output);
    assert!(errors.contains("POOL_API_TOKEN") && errors.contains("POOL_ALLOW_UNAUTHENTICATED"), "{errors}");
    assert!(!errors.contains(DEMO_SECRET));
}

/// A demo without containers, and its address.
fn empty_demo(data_dir: &Path) -> (Running, String) {
    let mut command = demo("127.0.0.1:0", data_dir);
    command.args(["--target-size", "0"]);
    let mut demo = Running::start(command);
    let line = demo.until_it_prints("/status");
    (demo, address_in(&line))
}

#[test]
fn a_second_demo_on_the_same_port_or_directory_says_who_is_there() {
    let dir = TempDir::new().expect("a directory");
    let (first, listen) = empty_demo(dir.path());
    let output = demo(&listen, dir.path()).output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(&listen), "{}", text(&output));
    let output = demo("127.0.0.1:0", dir.path()).output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(&first.child.id().to_string()), "{}", text(&output));
    assert_eq!(first.terminate(), Some(0));
}

#[test]
fn a_demo_leaves_a_real_services_settings_alone() {
    let dir = TempDir::new().expect("a directory");
    let real = dir.path().join("real");
    let settings = [
        ("POOL_LISTEN", "127.0.0.1:0"),
        ("TMPDIR", dir.path().to_str().expect("a path")),
        ("POOL_DATA_DIR", real.to_str().expect("a path")),
        ("PVE_NODE", "elsewhere"),
        ("WEBHOOKS_FILE", "/nonexistent/webhooks.toml"),
    ];
    let mut command = program(&settings, dir.path());
    command.args(["demo", "--target-size", "1", "--min-size", "0"]);
    let mut demo = Running::start(command);
    demo.until_it_prints("1 of 1 ready");
    assert!(!real.exists());
    assert_eq!(demo.terminate(), Some(0));
}

#[test]
fn the_curl_lines_of_a_demo_name_the_port_that_it_was_given() {
    let dir = TempDir::new().expect("a directory");
    let (demo, address) = empty_demo(dir.path());
    TcpStream::connect(address).expect("it listens there");
    assert_eq!(demo.terminate(), Some(0));
}

/// A service that keeps one container ready at a simulated PVE.
fn pool_of_one(pve: &str, data_dir: &Path, dir: &Path) -> Command {
    let (url, token) = (format!("http://{pve}"), format!("{DEMO_TOKEN}={DEMO_SECRET}"));
    let settings = [
        ("PVE_API_URL", url.as_str()),
        ("PVE_API_TOKEN", token.as_str()),
        ("POOL_LISTEN", "127.0.0.1:0"),
        ("POOL_DATA_DIR", data_dir.to_str().expect("a path")),
        ("POOL_TEMPLATES", "9009"),
        ("POOL_TARGET_SIZE", "1"),
    ];
    program(&settings, dir)
}

#[test]
fn a_killed_process_is_followed_by_one_that_goes_on() {
    let dir = TempDir::new().expect("a directory");
    let (_simulator, pve) = Running::simulator(dir.path());
    let data_dir = dir.path().join("data");
    let mut first = Running::start(pool_of_one(&pve, &data_dir, dir.path()));
    first.until_it_logs("CloneSubmitted");
    drop(first);
    let mut second = Running::start(pool_of_one(&pve, &data_dir, dir.path()));
    second.until_it_logs("CloneSucceeded");
    assert_eq!(second.terminate(), Some(0));
    let log = std::fs::read_dir(&data_dir)
        .expect("the data directory")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| std::fs::read_to_string(path).expect("a text"))
        .expect("a log");
    assert_eq!(log.matches("\"type\":\"CloneStarted\"").count(), 1, "the clone was made once");
    assert!(log.trim_end().lines().last().expect("a line").contains("ServiceStopped"));
}

#[test]
fn each_event_is_one_line_of_the_programs_log() {
    let dir = TempDir::new().expect("a directory");
    let (_simulator, pve) = Running::simulator(dir.path());
    let data_dir = dir.path().join("data");
    let mut command = pool_of_one(&pve, &data_dir, dir.path());
    command.env("POOL_LOG_FORMAT", "json");
    let mut service = Running::start(command);
    let mut lines = service.until_it_logs("CloneSucceeded");
    service.signal(rustix::process::Signal::TERM);
    lines.extend(service.until_it_logs("ServiceStopped"));
    drop(service);
    let told = lines.iter().filter_map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        Some((line["seq"].as_u64()?, line["message"].as_str()?.to_owned()))
    });
    let command = program(&[], dir.path())
        .args(["events", "--json", "--data-dir"])
        .arg(&data_dir)
        .output()
        .expect("the events");
    let events = String::from_utf8(command.stdout).expect("text");
    let happened = events.lines().map(|line| {
        let event: Value = serde_json::from_str(line).expect("an event");
        (event["seq"].as_u64().expect("its seq"), event["type"].as_str().expect("its type").to_owned())
    });
    let happened: Vec<_> = happened.collect();
    assert!(happened.len() > 5, "{happened:?}");
    assert_eq!(told.collect::<Vec<_>>(), happened);
}
