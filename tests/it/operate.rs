//! What an operator asks for in a terminal: the log checked, saved and looked back on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandbox_pool::domain::ids::Seq;
use sandbox_pool::domain::state::State;
use sandbox_pool::http::codes::Code;
use sandbox_pool::http::views::PoolStatus;
use sandbox_pool::log::{Look, Moment, replay_at};
use serde_json::Value;

use sandbox_pool::sim::{DEMO_SECRET, DEMO_TOKEN};

use crate::program::{Running, nowhere, program, text};
use crate::world::World;

/// Runs the program to its end.
fn run(dir: &Path, arguments: &[&str]) -> Output {
    program(&[], dir).args(arguments).output().expect("an end")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The newest segment of a log.
fn segment(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).max().expect("a segment")
}

#[tokio::test(start_paused = true)]
async fn the_pool_as_it_was_is_the_same_for_the_service_and_for_the_log() {
    let world = World::new().full().await;
    world.allocate("box").await.ok();
    world.settle().await;
    let head = world.state().head.0;
    let dir = world.dir().to_str().expect("a path");
    for seq in [1, head / 2, head] {
        let at = seq.to_string();
        let answered = world.get(&format!("/status?at={at}")).await;
        assert_eq!(answered.seq, Some(seq));
        let replayed = run(world.dir(), &["log", "replay", "--data-dir", dir, "--at", &at, "--json"]);
        assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed));
        let replayed: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
        assert_eq!(replayed, answered.ok());
    }
    let mut now = world.get("/status").await.ok();
    let mut then = world.get(&format!("/status?at={head}")).await.ok();
    for pool in [&mut now, &mut then] {
        for row in pool["templates"]["9009"]["containers"].as_array_mut().expect("rows") {
            row["age_seconds"] = Value::Null;
        }
    }
    assert_eq!(now, then, "behind the last event it is the pool as it is");
    let words = run(world.dir(), &["log", "replay", "--data-dir", dir, "--at", &head.to_string()]);
    assert!(said(&words).contains("9009"), "{}", said(&words));
}

#[tokio::test(start_paused = true)]
async fn an_instant_shows_what_had_happened_by_then() {
    let world = World::new().full().await;
    let events = world.events();
    for envelope in [&events[3], &events[events.len() / 2]] {
        let answered = world.get(&format!("/status?at={}", envelope.at)).await;
        let last = events.iter().rfind(|it| it.at <= envelope.at).expect("an event").seq;
        assert_eq!(answered.seq, Some(last.0));
        let look = Look {
            moment: Moment::Instant(envelope.at),
            now: world.clock.now(),
            head: Seq(u64::MAX),
            build: env!("CARGO_PKG_VERSION"),
            given_up: &|| false,
        };
        let past = replay_at::<State>(world.dir(), &look).expect("a state");
        let at = past.at;
        let status = serde_json::to_value(PoolStatus::of(&past.into(), at)).expect("JSON");
        assert_eq!(answered.ok(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_not_happened_and_what_is_no_place_are_told_apart() {
    let world = World::new().full().await;
    let head = world.state().head.0;
    for (at, status, code) in [
        (format!("{}", head + 1), 422, "in_the_future"),
        ("2199-01-01T00:00:00Z".to_owned(), 422, "in_the_future"),
        ("2001-01-01T00:00:00Z".to_owned(), 410, "events_pruned"),
        ("yesterday".to_owned(), 422, "invalid_request"),
        ("0".to_owned(), 422, "invalid_request"),
    ] {
        let answer = world.get(&format!("/status?at={at}")).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{at}");
    }
    let dir = world.dir().to_str().expect("a path");
    let output = run(world.dir(), &["log", "replay", "--data-dir", dir, "--at", &(head + 1).to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("has not happened yet"), "{}", text(&output));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_log_is_found_saved_and_goes_on() {
    let mut world = World::new().full().await;
    let dir = world.dir().to_owned();
    let whole = run(&dir, &["log", "verify", "--data-dir", "."]);
    assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
    assert!(
        said(&whole).contains("is whole") && said(&whole).contains("without a clean stop"),
        "{}",
        said(&whole)
    );
    world.stop().await;
    let whole = run(&dir, &["log", "verify", "--data-dir", "."]);
    assert!(said(&whole).contains("with a clean stop"), "{}", said(&whole));

    let file = segment(&dir);
    let mut bytes = fs::read(&file).expect("bytes");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, &bytes).expect("a write");
    let damaged = run(&dir, &["log", "verify", "--data-dir", dir.to_str().expect("a path")]);
    assert_eq!(damaged.status.code(), Some(1));
    // What it says to do is done, to the letter.
    let errors = text(&damaged);
    let (_, command) = errors.split_once("`sandbox-pool ").expect("a command");
    let command: Vec<&str> = command.split('`').next().expect("its end").split(' ').collect();
    assert_eq!(command[..2], ["log", "repair"]);
    let repaired = run(&dir, &command);
    assert_eq!(repaired.status.code(), Some(0), "{}", text(&repaired));
    assert!(said(&repaired).contains("Left out:"), "{}", said(&repaired));
    assert_eq!(fs::read(&file).expect("bytes"), bytes, "the damaged log stays as it is");
    let new = PathBuf::from(format!("{}-repaired", dir.display()));
    let verified = run(&new, &["log", "verify", "--data-dir", "."]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let again = run(&dir, &command);
    assert_eq!(again.status.code(), Some(1), "never over a log");
    fs::remove_dir_all(new).expect("its end");
}

#[test]
fn a_directory_without_a_log_is_said_to_be_one() {
    let dir = tempfile::tempdir().expect("a directory");
    for arguments in [&["log", "verify"][..], &["log", "repair"], &["log", "replay", "--at", "1"]] {
        let output = program(&[("POOL_DATA_DIR", ".")], dir.path()).args(arguments).output().expect("an end");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output).contains("no log"), "{}", text(&output));
    }
}

/// A simulated PVE and a service on it, each a process.
pub struct Served {
    dir: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    pub simulator: Running,
    pub service: Running,
}

impl Served {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (simulator, pve) = Running::simulator(dir.path());
        let mut settings = vec![
            ("PVE_API_URL", format!("http://{pve}")),
            ("PVE_API_TOKEN", format!("{DEMO_TOKEN}={DEMO_SECRET}")),
            ("POOL_DATA_DIR", dir.path().join("data").display().to_string()),
            ("POOL_TEMPLATES", "9009".to_owned()),
            ("POOL_TARGET_SIZE", "1".to_owned()),
            ("POOL_API_TOKEN", "0123456789abcdef0123".to_owned()),
        ];
        let (mut service, address) = Running::service(&borrowed(&settings), dir.path());
        settings.push(("POOL_LISTEN", address));
        service.until_it_logs("CloneSucceeded");
        Self { dir, settings, simulator, service }
    }

    /// A command with the service's own settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&borrowed(&self.settings), self.dir.path());
        command.args(arguments);
        command
    }

    /// Runs one to its end.
    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("an end")
    }

    /// The JSON that a command answers with.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", said(&output), text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
    }
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn a_service_is_asked_from_a_terminal() {
    let served = Served::start();
    let pool = served.json(&["status", "--json"]);
    assert_eq!(pool["templates"]["9009"]["target_size"], 1);
    let words = served.run(&["status"]);
    assert!(said(&words).contains("9009") && said(&words).contains("running since"), "{}", said(&words));

    let got = served.json(&["allocate", "9009", "--instance", "box", "--metadata", "teamId=t", "--json"]);
    assert_eq!(got["hostname"], "box");
    let vmid = got["vmid"].to_string();
    let again = served.json(&["allocate", "9009", "--instance", "box", "--json"]);
    assert_eq!(again["vmid"], got["vmid"], "the same instance has the same container");
    let other = served.run(&["release", &vmid, "--instance", "another"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other).contains("held_by_another"), "{}", text(&other));
    assert_eq!(served.json(&["release", &vmid, "--json"])["status"], "released");
    assert_eq!(served.json(&["remove", &vmid, "--json"])["status"], "removed");

    let sizes = served.json(&["template", "set", "9009", "--target", "2", "--json"]);
    assert_eq!(sizes["target_size"], 2);
    let warm = served.run(&["warm", "9009", "--wait"]);
    assert_eq!(warm.status.code(), Some(0), "{}{}", said(&warm), text(&warm));
    assert!(said(&warm).contains("Template 9009: 2 ready of 2"), "{}", said(&warm));
    assert_eq!(served.json(&["template", "get", "9009", "--json"])["ready_count"], 2);
    served.json(&["template", "refresh", "9009", "--json"]);
    served.json(&["template", "drain", "9009", "--json"]);
    let drained = served.run(&["allocate", "9009"]);
    assert_eq!(drained.status.code(), Some(1));
    assert!(text(&drained).contains("template set"), "the next step is said: {}", text(&drained));
}

#[test]
fn the_pool_as_it_was_at_a_time_is_the_same_from_the_files() {
    let served = Served::start();
    let got = served.json(&["allocate", "9009", "--instance", "box", "--json"]);
    served.json(&["release", &got["vmid"].to_string(), "--json"]);
    let events = said(&served.run(&["events", "--json"]));
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let at = |name: &str| {
        let event = events.iter().find(|event| event["type"] == name).unwrap_or_else(|| panic!("{name}"));
        event["at"].as_str().expect("a time").to_owned()
    };
    for name in ["CloneSucceeded", "Allocated", "Released"] {
        let time = at(name);
        let answered = served.json(&["status", "--at", &time, "--json"]);
        let replayed = served.json(&["log", "replay", "--at", &time, "--json"]);
        assert_eq!(replayed, answered, "{name} at {time}");
        assert!(answered["head"].as_u64() > Some(1), "{answered}");
    }
}

#[test]
fn every_command_fails_with_a_code_and_a_next_step() {
    let served = Served::start();
    // 101 is somebody's container and no template, 300 is nothing.
    for (arguments, code) in [
        (&["status", "--at", "99999"][..], "in_the_future"),
        (&["allocate", "101"], "not_a_template"),
        (&["release", "300"], "container_not_found"),
        (&["remove", "300"], "container_not_found"),
        (&["warm", "101"], "not_a_template"),
        (&["warm", "101", "--wait"], "not_a_template"),
        (&["template", "get", "101"], "template_not_found"),
        (&["template", "set", "9009", "--min", "5", "--max", "2"], "sizes_contradict"),
        (&["template", "drain", "101"], "template_not_found"),
        (&["template", "refresh", "101"], "template_not_found"),
        (&["explain", "--instance", "nobody"], "nothing_known"),
        (&["explain", "--vmid", "300"], "nothing_known"),
        (&["events", "--since", "99999"], "events_elsewhere"),
    ] {
        for as_json in [&[][..], &["--json"]] {
            let arguments = [arguments, as_json].concat();
            let output = served.run(&arguments);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}{}", said(&output), text(&output));
            assert_eq!(said(&output), "", "{arguments:?}: a program that reads it reads nothing");
            let code = Code::ALL.iter().find(|known| known.as_str() == code).expect("a code");
            let told = format!("({}). {}", code.as_str(), code.next_step());
            assert!(text(&output).contains(&told), "{arguments:?}: {}", text(&output));
        }
    }
}

#[test]
fn every_command_says_when_nobody_answers_or_the_token_is_missing() {
    let served = Served::start();
    let settings: Vec<_> =
        served.settings.iter().filter(|(name, _)| *name != "POOL_API_TOKEN").cloned().collect();
    for arguments in [
        &["status"][..],
        &["allocate", "9009"],
        &["release", "201"],
        &["remove", "201"],
        &["warm", "9009", "--wait"],
        &["template", "get", "9009"],
        &["template", "set", "9009", "--target", "1"],
        &["template", "drain", "9009"],
        &["template", "refresh", "9009"],
        &["explain", "--vmid", "201"],
        &["events"],
        &["events", "--follow"],
    ] {
        let asked =
            program(&borrowed(&settings), served.dir.path()).args(arguments).output().expect("an end");
        assert_eq!(asked.status.code(), Some(1), "{arguments:?}");
        assert!(
            text(&asked).contains("(unauthorized). Send `Authorization: Bearer …` with POOL_API_TOKEN"),
            "{arguments:?}: {}",
            text(&asked)
        );
        let asked = [arguments, &["--url", nowhere()]].concat();
        let asked = program(&[], served.dir.path()).args(&asked).output().expect("an end");
        assert_eq!(asked.status.code(), Some(1), "{arguments:?}");
        assert!(text(&asked).contains("is it running? `systemctl"), "{arguments:?}: {}", text(&asked));
    }
}

#[test]
fn commands_find_address_and_token_in_the_services_settings() {
    let served = Served::start();
    let file = served.dir.path().join("settings");
    let lines: Vec<_> = served.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = lines.join("\n");
    fs::write(&file, &lines).expect("a file");
    let there = served.dir.path().join("there");
    fs::create_dir(&there).expect("a directory");
    fs::write(there.join(".env"), &lines).expect("a file");
    let file = file.to_str().expect("a path");
    for command in [&["status"][..], &["events"], &["template", "get", "9009"]] {
        let named = [command, &["--env-file", file, "--json"]].concat();
        let output = program(&[], served.dir.path()).args(&named).output().expect("an end");
        assert_eq!(output.status.code(), Some(0), "{named:?}: {}", text(&output));
        let output = program(&[], &there).args(command).output().expect("an end");
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", text(&output));
    }
}

#[test]
fn a_doctor_beside_its_service_finds_it_and_one_without_says_what_is_missing() {
    let served = Served::start();
    let report = served.json(&["doctor", "--json"]);
    assert_eq!(report["ok"], true, "{report:#}");
    let check = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().expect("checks").clone();
        checks.into_iter().find(|it| it["check"] == name).unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    assert!(check(&report, "listen")["found"].as_str().expect("words").contains("sandbox-pool"));
    assert_eq!(check(&report, "clock")["level"], "ok", "{report:#}");

    let mut settings = borrowed(&served.settings);
    settings.retain(|(name, _)| *name != "PVE_API_URL");
    settings.push(("PVE_API_URL", nowhere()));
    let output = program(&settings, served.dir.path()).arg("doctor").output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("FAIL  pve-address"), "{}", said(&output));
    assert!(said(&output).contains("run: curl"), "{}", said(&output));
    let settings = [("POOL_TARGET_SIZE", "-1"), ("POOL_TARGET", "5")];
    let output = program(&settings, served.dir.path()).arg("doctor").output().expect("an end");
    assert_eq!(output.status.code(), Some(1));
    for words in
        ["FAIL  settings POOL_TARGET_SIZE", "FAIL  settings PVE_API_URL", "WARN  settings: POOL_TARGET (from"]
    {
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
}

#[test]
fn whoever_asks_nobody_is_told_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(dir.path(), &["status", "--url", nowhere()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("is it running?") && text(&output).contains("--url"), "{}", text(&output));
}

#[test]
fn no_certificates_are_needed_for_http() {
    let dir = tempfile::tempdir().expect("a directory");
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")];
    let asked =
        |url: &str| program(&none, dir.path()).args(["status", "--url", url]).output().expect("an end");
    let output = asked(nowhere());
    assert!(text(&output).contains("is it running?"), "{}", text(&output));
    let output = asked(&nowhere().replace("http:", "https:"));
    assert!(text(&output).contains("apt install ca-certificates"), "{}", text(&output));
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let dir = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "zsh", "fish"] {
        let output = run(dir.path(), &["completions", shell]);
        assert_eq!(output.status.code(), Some(0));
        for command in ["doctor", "template", "replay"] {
            assert!(said(&output).contains(command), "{shell} does not know {command}");
        }
    }
    assert!(said(&run(dir.path(), &["man"])).contains(".TH sandbox"), "a page for man");
    assert_eq!(run(dir.path(), &["man", "--into", "pages"]).status.code(), Some(0));
    let page = fs::read_to_string(dir.path().join("pages/sandbox-pool-log-replay.1")).expect("a page");
    let title = concat!(".TH sandbox-pool-log-replay 1 \" \" \"sandbox-pool ", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(title), "{page}");
}
