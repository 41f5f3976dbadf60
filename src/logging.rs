//! What the program says about itself, on standard error: set up once, before anything can go wrong.
//!
//! It only formats. Which line is written when is its writer's business; nobody writes a secret.

use std::io::{self, IsTerminal};
use std::panic;
use std::sync::Arc;

use tracing_subscriber::fmt::{MakeWriter, Subscriber};
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LoggingConfig};

/// How much is said, to be changed while the program runs.
#[derive(Clone)]
pub struct Level(Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl Level {
    /// Says as much as the directives want from now on.
    pub fn set(&self, filter: &str) -> Result<(), reload::Error> {
        (self.0)(directives(filter))
    }
}

/// Sends what is traced to standard error from now on, and panics with it.
///
/// `journal` is whether standard error goes to systemd's journal, which puts the time to each line itself.
pub fn start(config: &LoggingConfig, journal: bool) -> Result<Level, TryInitError> {
    let level = start_to(config, journal, io::stderr().is_terminal(), io::stderr)?;
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
    Ok(level)
}

fn start_to<W>(config: &LoggingConfig, journal: bool, colours: bool, writer: W) -> Result<Level, TryInitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = Subscriber::builder()
        .with_env_filter(directives(&config.filter))
        .with_writer(writer)
        .with_ansi(colours);
    // Each form is a type of its own, and so is the way to its level.
    match (config.format, journal) {
        (LogFormat::Human, false) => {
            let lines = lines.with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(Level(Arc::new(move |filter| handle.reload(filter))))
        }
        (LogFormat::Human, true) => {
            let lines = lines.without_time().with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(Level(Arc::new(move |filter| handle.reload(filter))))
        }
        (LogFormat::Json, _) => {
            let fields = fmt::format::JsonFields::new();
            let format =
                fmt::format().json().flatten_event(true).with_current_span(true).with_span_list(false);
            let lines = lines.event_format(format).fmt_fields(fields).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init()?;
            Ok(Level(Arc::new(move |filter| handle.reload(filter))))
        }
    }
}

/// They were checked when they were read.
fn directives(filter: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The subscriber is the whole process', so this is the only test that sets it.
    #[test]
    fn a_json_line_has_its_fields_at_the_top_and_the_level_can_be_changed() {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = LoggingConfig { format: LogFormat::Json, filter: "off,logging_test=info".to_owned() };
        let level = start_to(&config, true, false, move || writer.clone()).unwrap();
        tracing::info!(target: "logging_test", vmid = 205, "Allocated");
        tracing::debug!(target: "logging_test", "not shown");
        level.set("off,logging_test=debug").unwrap();
        tracing::debug!(target: "logging_test", "shown from now on");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["message"], &lines[0]["vmid"]), (&"Allocated".into(), &205.into()));
        assert_eq!((lines.len(), &lines[1]["message"]), (2, &"shown from now on".into()));
    }
}
