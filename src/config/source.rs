//! Where settings come from, and which source wins: flags, then the environment, then the `.env` file, then
//! files of secrets, then the default.
//!
//! [`Sources`] is the outside world as a value, so that reading a configuration is a pure function of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::WebhookConfig;
use super::env_file::{self, EnvFile};
use super::error::{ConfigError, ConfigErrors};

/// Reads a whole file; the only thing that reading a configuration asks of the outside.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Everything that a configuration is made from.
#[derive(Clone)]
pub struct Sources<'a> {
    /// Settings given as arguments, by their variable's name.
    pub flags: BTreeMap<&'static str, String>,
    /// The process environment.
    pub env: BTreeMap<String, String>,
    /// The `.env` file.
    pub dotenv: EnvFile,
    /// What messages call the `.env` file.
    pub dotenv_path: PathBuf,
    /// Whether the process is root's.
    pub is_root: bool,
    /// How files that settings name are read.
    pub read_file: ReadFile<'a>,
    /// Whether what they hold is of use.
    pub checks: Checks,
}

/// What those say who use the files that settings name: nothing, or what is wrong with one.
#[derive(Clone, Copy)]
pub struct Checks {
    /// Of a file with a CA.
    pub ca: fn(&Path) -> Result<(), String>,
    /// Of webhooks' endpoints.
    pub webhooks: fn(&WebhookConfig) -> Result<(), String>,
}

impl Default for Checks {
    /// Nobody looks.
    fn default() -> Self {
        Self { ca: |_| Ok(()), webhooks: |_| Ok(()) }
    }
}

impl fmt::Debug for Sources<'_> {
    /// Shows no values, for some of them are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("flags", &self.flags.keys())
            .field("env", &self.env.len())
            .field("dotenv", &self.dotenv.values.keys())
            .finish_non_exhaustive()
    }
}

/// Who said what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An argument.
    Flag(&'static str),
    /// The process environment.
    Environment,
    /// A file: `.env`, a secret's own, or one of systemd's credentials.
    File(PathBuf),
    /// A socket that a service manager passed.
    Socket,
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) => path.display().fmt(f),
            Self::Socket => f.write_str("the service manager's socket"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Sources<'static> {
    /// The process' own environment, and the `.env` file at `env_file`, or one in the working directory.
    pub fn of_process(
        flags: BTreeMap<&'static str, String>,
        env_file: Option<&Path>,
    ) -> Result<Self, ConfigErrors> {
        let path = env_file.unwrap_or(Path::new(".env"));
        let dotenv = match std::fs::read_to_string(path) {
            Ok(text) => env_file::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && env_file.is_none() => EnvFile::default(),
            Err(error) => return Err(unreadable_env_file(path, &error)),
        };
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Ok(Self {
            flags,
            dotenv,
            dotenv_path: path.to_owned(),
            is_root: rustix::process::geteuid().is_root(),
            ..Self::of_environment(env)
        })
    }

    /// An environment alone, of a process that is not root's; the files that it names are read.
    pub fn of_environment(env: BTreeMap<String, String>) -> Self {
        Self {
            flags: BTreeMap::new(),
            env,
            dotenv: EnvFile::default(),
            dotenv_path: PathBuf::from(".env"),
            is_root: false,
            read_file: &|path| std::fs::read_to_string(path),
            checks: Checks::default(),
        }
    }
}

fn unreadable_env_file(path: &Path, error: &io::Error) -> ConfigErrors {
    let error = ConfigError {
        setting: "--env-file",
        given: Some((path.display().to_string(), Origin::Flag("env-file"))),
        expected: format!("a file that can be read: {error}"),
    };
    ConfigErrors { errors: vec![error], ignored: Vec::new() }
}
