//! Other settings for a service that runs: what the rules read, webhook endpoints and the log's level.
//!
//! They are taken on as a whole or not at all. What the process holds open (PVE, its address, its log, the
//! tokens that it knows) is as it was until the next start, and said so.

use futures_util::stream::{BoxStream, StreamExt as _};

use super::Service;
use crate::config::{Config, ConfigErrors, Warning};
use crate::domain::command::Command;
use crate::engine::Refused;
use crate::logging::Level;
use crate::notify;
use crate::webhook::{StartError, Wanted};

/// Reads the configuration as the start did.
pub type ReadConfig = Box<dyn Fn() -> Result<(Config, Vec<Warning>), ConfigErrors> + Send>;

/// How a service that runs comes to other settings.
pub struct Reloads {
    told: BoxStream<'static, ()>,
    read: ReadConfig,
    level: Level,
}

/// Why other settings were not taken on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The webhook endpoints are not what they must be.
    #[error(transparent)]
    Webhooks(#[from] StartError),
    /// The log does not take them.
    #[error("the settings cannot be noted")]
    Note(#[from] Refused),
}

impl Reloads {
    /// `told` says when, `read` what, and `level` is the program's own log.
    pub fn new(told: BoxStream<'static, ()>, read: ReadConfig, level: Level) -> Self {
        Self { told, read, level }
    }

    /// Returns when the configuration is to be read again.
    pub(super) async fn told(&mut self) {
        if self.told.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Reads the configuration and takes on what it may; returns the one that is in force then.
    pub(super) async fn carry_out(&self, service: &mut Service, at_work: Config) -> Config {
        tracing::info!("the configuration is read again");
        notify::reloading();
        let in_force = self.take_on(service, &at_work).await;
        match &in_force {
            Some(_) => notify::ready(),
            None => notify::refused(),
        }
        in_force.unwrap_or(at_work)
    }

    /// The configuration in force from now on; none if it was refused.
    async fn take_on(&self, service: &mut Service, at_work: &Config) -> Option<Config> {
        const REFUSED: &str = "the new configuration is refused as a whole; the old one stays";
        let (wanted, warnings) = match (self.read)() {
            Ok(read) => read,
            Err(wrong) => {
                wrong.errors.iter().for_each(|error| tracing::error!("{error}"));
                wrong.ignored.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::error!(wrong = wrong.errors.len(), "{REFUSED}");
                return None;
            }
        };
        if let Err(error) = service.reload(&wanted).await {
            tracing::error!(error = %crate::causes::chain(&error), "{REFUSED}");
            return None;
        }
        if let Err(error) = self.level.set(&wanted.logging.filter) {
            tracing::error!(%error, "POOL_LOG_LEVEL stays as it was");
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        for setting in at_work.differs_until_restart(&wanted) {
            tracing::warn!(
                "{setting} is changed, which takes effect at the next start: systemctl restart sandbox-pool"
            );
        }
        tracing::info!("the new configuration is in force");
        Some(at_work.clone().taking_on(wanted))
    }
}

impl Service {
    /// Takes on what the rules read and where webhooks go, as one fact; or nothing.
    pub async fn reload(&mut self, config: &Config) -> Result<(), ReloadError> {
        let wanted = Wanted::load(&config.webhooks)?;
        let (engine, settings) = (self.engine.clone(), Box::new(config.settings.clone()));
        let note = async |webhooks| {
            let noted = engine.submit(Command::Reload { settings, webhooks }, None, false).await;
            noted.map(drop).map_err(ReloadError::Note)
        };
        self.deliveries.replace(wanted, note).await
    }
}
