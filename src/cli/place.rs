//! Where an operator's command finds the service's settings: flags, environment, and its environment file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{ConfigErrors, Sources, data_dir};
use crate::log::OpenError;

/// Where the installed service keeps its settings.
pub(super) const INSTALLED: &str = "/etc/sandbox-pool/env";

/// A log that cannot be read, with what to do if it is not there; of what is wrong with it, it says that itself.
pub(super) fn unread(error: OpenError) -> anyhow::Error {
    const OTHER: &str = "no log can be read there: --data-dir names the directory of one, which a service makes at \
                         its first start";
    match error {
        OpenError::NoLog(_) | OpenError::Io { .. } => anyhow::Error::new(error).context(OTHER),
        _ => anyhow::Error::new(error),
    }
}

/// The settings of the service that an operator means.
#[derive(Clone, Debug, Default, Args)]
pub struct EnvFile {
    /// File with the service's settings [default: .env if present, else /etc/sandbox-pool/env]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
}

/// Where the event log is.
#[derive(Clone, Debug, Args)]
pub struct DataDir {
    /// Directory of the event log [default: the service's, POOL_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    #[command(flatten)]
    env_file: EnvFile,
}

impl EnvFile {
    /// Every source of settings, with these flags before all others.
    pub(super) fn sources(
        &self,
        flags: BTreeMap<&'static str, String>,
    ) -> Result<Sources<'static>, ConfigErrors> {
        sources(flags, self.env_file.as_deref())
    }
}

impl DataDir {
    /// The directory that is meant.
    pub(super) fn find(&self) -> Result<PathBuf, ConfigErrors> {
        match &self.data_dir {
            Some(dir) => Ok(dir.clone()),
            None => data_dir(&self.env_file.sources(BTreeMap::new())?),
        }
    }
}

/// Every source of settings. Where neither a file is given nor a local one is there, those of the installed
/// service are meant, if they may be read; with them the secrets that systemd would hand it from beside them.
pub(super) fn sources(
    flags: BTreeMap<&'static str, String>,
    env_file: Option<&Path>,
) -> Result<Sources<'static>, ConfigErrors> {
    let installed = Path::new(INSTALLED);
    let is_meant = env_file.is_none() && !Path::new(".env").exists();
    let opened = is_meant.then(|| std::fs::File::open(installed));
    let file = if matches!(opened, Some(Ok(_))) { Some(installed) } else { env_file };
    let mut sources = Sources::of_process(flags, file)?;
    if let Some(Err(error)) = opened
        && error.kind() == ErrorKind::PermissionDenied
    {
        installed.clone_into(&mut sources.dotenv_path);
        sources.dotenv.complaints.push("which only root may read: sudo".to_owned());
    }
    if file == Some(installed) {
        let beside = installed.parent().unwrap_or(installed).display().to_string();
        sources.env.entry("CREDENTIALS_DIRECTORY".to_owned()).or_insert(beside);
    }
    Ok(sources)
}
