//! Healthy ground for a doctor: a simulated PVE over HTTP, a directory, and settings that name both. Each part can
//! be broken before it is looked at.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use sandbox_pool::clock::Clock;
use sandbox_pool::domain::time::Timestamp;
use sandbox_pool::sim::{CtSpec, DEMO_SECRET, DEMO_TOKEN, Demo, Model, Sim, http};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::program;

/// The template that the pool is filled from; it has a bridge.
pub const TEMPLATE: u32 = 9020;

/// What was said with `--json`, as on a machine where everything has its usual place.
#[derive(Debug)]
pub struct Said {
    pub report: Value,
    pub code: Option<i32>,
}

/// What a doctor looks at.
pub struct Ground {
    pub model: Model,
    /// What the clock of PVE shows at the beginning.
    pub epoch: Timestamp,
    /// Variables of the environment, beside the file of settings.
    pub env: BTreeMap<&'static str, String>,
    /// Arguments beside the file of settings.
    pub arguments: Vec<String>,
    settings: BTreeMap<&'static str, String>,
    lines: Vec<String>,
    dir: TempDir,
    /// What stands in words for what is otherwise each time.
    shown: Vec<(String, &'static str)>,
    pve: Option<TcpListener>,
}

impl Ground {
    pub fn new() -> Self {
        let epoch = Clock::system().now();
        let mut model = Demo::model(epoch, 1);
        model.durations_mut().hurry(1000);
        model.durations_mut().auth_brake = Duration::ZERO;
        let interface = "name=eth0,bridge=vmbr0,ip=dhcp";
        model.add_ct(CtSpec::new(TEMPLATE, "debian").template().set("net0", interface));
        let dir = TempDir::new().expect("a directory");
        for name in ["etc", "data"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let pve = listener();
        let mut ground = Self {
            model,
            epoch,
            env: BTreeMap::new(),
            arguments: Vec::new(),
            settings: BTreeMap::new(),
            lines: Vec::new(),
            shown: Vec::new(),
            pve: None,
            dir,
        };
        mode(&ground.data(), 0o700);
        for (path, shown) in
            [(ground.etc(""), "/etc/sandbox-pool/"), (ground.data(), "/var/lib/sandbox-pool")]
        {
            ground.show(path.to_str().expect("a path"), shown);
        }
        let address = pve.local_addr().expect("an address").to_string();
        ground.set("PVE_API_URL", format!("http://{address}"));
        ground.show(address, "127.0.0.1:8006");
        ground.set("PVE_API_TOKEN", format!("{DEMO_TOKEN}={DEMO_SECRET}"));
        ground.set("POOL_TEMPLATES", TEMPLATE.to_string());
        ground.set_path("POOL_DATA_DIR", &ground.data());
        ground.set("POOL_LISTEN", "127.0.0.1:0");
        ground.pve = Some(pve);
        ground
    }

    /// A file beside the settings.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc").join(name)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Sets a setting in the file of settings.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.insert(name, value.into());
    }

    /// Sets a setting that is a path.
    pub fn set_path(&mut self, name: &'static str, path: &Path) {
        self.set(name, path.to_str().expect("a path"));
    }

    /// Takes a setting out of the file of settings.
    pub fn unset(&mut self, name: &'static str) {
        self.settings.remove(name);
    }

    /// Adds a line to the file of settings.
    pub fn line(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    /// Makes a file beside the settings that a setting names.
    pub fn set_file(&mut self, name: &'static str, file: &str, text: &str) {
        fs::write(self.etc(file), text).expect("a file");
        self.set_path(name, &self.etc(file));
    }

    /// Shows something that is otherwise each time as what it is on a machine where it has its usual place.
    pub fn show(&mut self, text: impl Into<String>, shown: &'static str) {
        self.shown.push((text.into(), shown));
    }

    /// Puts what listens in PVE's place before it, and has it asked over TLS.
    pub fn behind(&mut self, front: impl FnOnce(std::net::SocketAddr) -> std::net::SocketAddr) {
        let pve = self.pve.as_ref().expect("a listener").local_addr().expect("an address");
        let address = front(pve);
        self.show(address.to_string(), "127.0.0.1:8006");
        self.set("PVE_API_URL", format!("https://{address}"));
    }

    /// Has a doctor look at it.
    pub async fn looked_at(&mut self) -> Said {
        self.serve();
        let output = self.run(&["--json"]).await;
        let mut text = String::from_utf8(output.stdout).expect("text");
        for (each_time, shown) in &self.shown {
            text = text.replace(each_time, shown);
        }
        let error = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_str(&text).unwrap_or_else(|wrong| panic!("{wrong}: {text}{error}"));
        Said { report, code: output.status.code() }
    }

    /// What it says to a person.
    pub async fn in_words(&mut self) -> String {
        self.serve();
        String::from_utf8(self.run(&[]).await.stdout).expect("text")
    }

    /// Answers as PVE from here on.
    fn serve(&mut self) {
        let Some(listener) = self.pve.take() else { return };
        let model = std::mem::replace(&mut self.model, Demo::model(self.epoch, 1));
        let sim = Sim::new(self.epoch, model);
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        tokio::spawn(http::serve(listener, sim, std::future::pending()));
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let settings = self.settings.iter().map(|(name, value)| format!("{name}={value}"));
        let lines: Vec<String> = settings.chain(self.lines.iter().cloned()).collect();
        fs::write(self.etc("env"), lines.join("\n")).expect("the settings");
        let env: Vec<(&str, &str)> = self.env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut command = program(&env, self.dir.path());
        command.arg("doctor").args(arguments);
        if self.arguments.is_empty() {
            command.arg("--env-file").arg(self.etc("env"));
        }
        command.args(&self.arguments);
        tokio::process::Command::from(command).output().await.expect("an end")
    }
}

/// Gives a file or directory a mode.
pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// A port that the system chose.
pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a mode");
    listener
}
