//! The program under a service manager: what it tells, the socket that it is passed, the order to reload.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use sandbox_pool::sim::{DEMO_SECRET, DEMO_TOKEN};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Running, nowhere, program, text};

/// The manager's end of the notification socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_mins(1))).expect("a limit");
        Self(socket)
    }

    /// Waits for a message with such a line, and returns the message.
    fn until_told(&self, words: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let read =
                self.0.recv(&mut message).unwrap_or_else(|error| panic!("{words} never came: {error}"));
            let text = String::from_utf8_lossy(&message[..read]).into_owned();
            if text.lines().any(|line| line.starts_with(words)) {
                return text;
            }
        }
    }
}

/// A directory with settings of a service that is to be managed; its PVE does not answer.
fn unanswered(dir: &TempDir) -> Vec<(&'static str, String)> {
    vec![
        ("PVE_API_URL", nowhere().to_owned()),
        ("PVE_API_TOKEN", "a@pve!b=c".to_owned()),
        ("POOL_DATA_DIR", dir.path().join("data").display().to_string()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_service_manager_is_told_how_the_service_is() {
    let dir = TempDir::new().expect("a directory");
    let socket = dir.path().join("notify");
    let manager = Manager::at(&socket);
    let mut settings = unanswered(&dir);
    settings.push(("NOTIFY_SOCKET", socket.display().to_string()));
    settings.push(("WATCHDOG_USEC", "200000".to_owned()));
    let (service, _) = Running::service(&borrowed(&settings), dir.path());
    manager.until_told("READY=1");
    manager.until_told("WATCHDOG=1");
    manager.until_told("WATCHDOG=1");
    service.signal(Signal::HUP);
    assert!(manager.until_told("RELOADING=1").contains("\nMONOTONIC_USEC="), "it tells which reload it is");
    assert!(manager.until_told("READY=1").contains("STATUS=the pool is served\n"));
    fs::write(dir.path().join(".env"), "POOL_TARGET_SIZE=many\n").expect("a file");
    service.signal(Signal::HUP);
    manager.until_told("RELOADING=1");
    assert!(manager.until_told("READY=1").contains("refused"), "the old configuration is served");
    assert_eq!(service.terminate(), Some(0));
    manager.until_told("STOPPING=1");
}

/// The program with a listener in its first descriptor and the words that go with one.
fn with_socket(listener: &TcpListener, settings: &[(&str, &str)], dir: &Path) -> Command {
    let mut command = program(settings, dir);
    let socket = OwnedFd::from(listener.try_clone().expect("a second handle"));
    command.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", "0").stdin(Stdio::from(socket));
    command
}

#[test]
fn a_socket_that_was_passed_is_served() {
    let dir = TempDir::new().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let settings = unanswered(&dir);
    let mut service = Running::start(with_socket(&listener, &borrowed(&settings), dir.path()));
    service.until_it_logs(&format!("serving on http://{address}"));
    let url = format!("http://{address}");
    let status = || program(&[], dir.path()).args(["status", "--url", &url]).output().expect("an end");
    assert!(status().status.success(), "{}", text(&status()));
    assert_eq!(service.terminate(), Some(0));
    // Whoever asks between two processes waits in the socket, and is answered by the next one.
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(status);
        let mut next = Running::start(with_socket(&listener, &borrowed(&settings), dir.path()));
        next.until_it_logs("serving on");
        let answer = asking.join().expect("an answer");
        assert_eq!(next.terminate(), Some(0));
        answer
    });
    assert!(asking.status.success(), "{}", text(&asking));
}

#[test]
fn a_socket_that_others_reach_needs_a_token_like_an_address() {
    let dir = TempDir::new().expect("a directory");
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let mut settings = unanswered(&dir);
    let refused = with_socket(&listener, &borrowed(&settings), dir.path()).output().expect("an end");
    assert_eq!(refused.status.code(), Some(2));
    let errors = text(&refused);
    for words in ["the service manager's socket", "POOL_API_TOKEN", "POOL_ALLOW_UNAUTHENTICATED"] {
        assert!(errors.contains(words), "{errors}");
    }
    settings.push(("POOL_API_TOKEN", "0123456789abcdef0123".to_owned()));
    let mut service = Running::start(with_socket(&listener, &borrowed(&settings), dir.path()));
    service.until_it_logs("serving on http://0.0.0.0:");
    assert_eq!(service.terminate(), Some(0));
}

#[test]
fn what_is_no_socket_for_requests_is_refused_with_what_is_wanted() {
    let dir = TempDir::new().expect("a directory");
    let settings = unanswered(&dir);
    let mut command = program(&borrowed(&settings), dir.path());
    command.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", "0");
    let output = command.output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("ListenStream="), "{}", text(&output));
}

#[test]
fn other_settings_are_taken_on_while_it_runs_or_refused_as_a_whole() {
    let dir = TempDir::new().expect("a directory");
    let (_simulator, pve) = Running::simulator(dir.path());
    let hooks = dir.path().join("hooks.toml");
    let settings = |rest: &str| {
        let token = format!("{DEMO_TOKEN}={DEMO_SECRET}");
        let (data_dir, hooks) = (dir.path().join("data"), hooks.display());
        let text = format!(
            "PVE_API_URL=http://{pve}\nPVE_API_TOKEN={token}\nPOOL_DATA_DIR={}\nPOOL_TEMPLATES=9009\n\
             WEBHOOKS_FILE={hooks}\nWEBHOOK_ALLOW_CIDRS=127.0.0.0/8\n{rest}",
            data_dir.display(),
        );
        fs::write(dir.path().join(".env"), text).expect("settings");
    };
    let endpoint = |name: &str| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\nurl = \"{}\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n",
            nowhere()
        )
    };
    settings("POOL_TARGET_SIZE=1\n");
    fs::write(&hooks, endpoint("one")).expect("endpoints");
    let (mut service, address) = Running::service(&[], dir.path());
    let target = || {
        let url = format!("http://{address}");
        let output =
            program(&[], dir.path()).args(["status", "--json", "--url", &url]).output().expect("an end");
        let pool: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        pool["templates"]["9009"]["target_size"].as_u64()
    };
    assert_eq!(target(), Some(1));

    settings("POOL_TARGET_SIZE=2\nPOOL_LOG_LEVEL=warn,sandbox_pool::app=info\nPOOL_MAX_STREAMS=7\n");
    fs::write(&hooks, endpoint("two")).expect("endpoints");
    service.signal(Signal::HUP);
    let lines = service.until_it_logs("the new configuration is in force").concat();
    for words in ["SettingsChanged", "WebhookAdded", "WebhookRemoved", "POOL_MAX_STREAMS is changed"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    assert_eq!(target(), Some(2));

    settings("POOL_TARGET_SIZE=3\nPOOL_MIN_SIZE=-1\nCLONE_MODE=half\n");
    service.signal(Signal::HUP);
    let lines = service.until_it_logs("refused as a whole").concat();
    assert!(lines.contains("POOL_MIN_SIZE=-1") && lines.contains("CLONE_MODE=half"), "{lines}");
    assert!(!lines.contains("CloneSucceeded"), "the level is the new one: {lines}");
    settings("POOL_TARGET_SIZE=3\n");
    fs::write(&hooks, "[[endpoint]]\nname = \"Three\"\n").expect("endpoints");
    service.signal(Signal::HUP);
    let lines = service.until_it_logs("refused as a whole").concat();
    assert!(lines.contains("WEBHOOKS_FILE"), "{lines}");
    assert_eq!(target(), Some(2), "nothing of it is in force");
    assert_eq!(service.terminate(), Some(0));
}
