//! What of a configuration a running service takes on, and what waits for its next start.

use super::{Config, HttpConfig, LogConfig, LoggingConfig, PveConfig};

impl Config {
    /// This one, with what `wanted` has of the settings that need no restart.
    #[must_use]
    pub fn taking_on(self, wanted: Self) -> Self {
        Self {
            settings: wanted.settings,
            webhooks: wanted.webhooks,
            logging: LoggingConfig { filter: wanted.logging.filter, ..self.logging },
            ..self
        }
    }

    /// Settings that `wanted` has otherwise and that take effect at a start only.
    pub fn differs_until_restart(&self, wanted: &Self) -> Vec<&'static str> {
        // Taken apart, so that a new setting is put on one side or the other.
        let Self { settings: _, pve, listen, data_dir, replenish_interval, http, log, webhooks: _, logging } =
            self;
        let PveConfig { url, token, verify, ca, fingerprint } = pve;
        let HttpConfig {
            api_tokens,
            read_tokens,
            allow_unauthenticated: _,
            allowed_hosts,
            max_connections,
            max_streams,
            max_body_bytes,
            max_metadata_bytes,
            header_timeout,
        } = http;
        let LogConfig { segment_bytes, retention_days, retention_bytes } = log;
        let differences = [
            ("PVE_API_URL", *url != wanted.pve.url),
            ("PVE_API_TOKEN", *token != wanted.pve.token),
            ("PVE_VERIFY_TLS", *verify != wanted.pve.verify),
            ("PVE_CA_FILE", *ca != wanted.pve.ca),
            ("PVE_FINGERPRINT", *fingerprint != wanted.pve.fingerprint),
            ("POOL_LISTEN", *listen != wanted.listen),
            ("POOL_DATA_DIR", *data_dir != wanted.data_dir),
            ("REPLENISH_INTERVAL_SECONDS", *replenish_interval != wanted.replenish_interval),
            ("POOL_API_TOKEN", *api_tokens != wanted.http.api_tokens),
            ("POOL_READ_TOKEN", *read_tokens != wanted.http.read_tokens),
            ("POOL_ALLOWED_HOSTS", *allowed_hosts != wanted.http.allowed_hosts),
            ("POOL_MAX_CONNECTIONS", *max_connections != wanted.http.max_connections),
            ("POOL_MAX_STREAMS", *max_streams != wanted.http.max_streams),
            ("POOL_MAX_BODY_BYTES", *max_body_bytes != wanted.http.max_body_bytes),
            ("POOL_MAX_METADATA_BYTES", *max_metadata_bytes != wanted.http.max_metadata_bytes),
            ("POOL_HEADER_TIMEOUT_SECONDS", *header_timeout != wanted.http.header_timeout),
            ("LOG_SEGMENT_BYTES", *segment_bytes != wanted.log.segment_bytes),
            ("LOG_RETENTION_DAYS", *retention_days != wanted.log.retention_days),
            ("LOG_RETENTION_BYTES", *retention_bytes != wanted.log.retention_bytes),
            ("POOL_LOG_FORMAT", logging.format != wanted.logging.format),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}
