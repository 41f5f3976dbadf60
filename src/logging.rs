//! What the program says about itself, on standard error: set up once, before anything can go wrong.
//!
//! It only formats. Which line is written when is its writer's business; nobody writes a secret.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::fmt::{MakeWriter, Subscriber};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LoggingConfig};

/// Sends what is traced to standard error from now on, and panics with it.
///
/// `journal` is whether standard error goes to systemd's journal, which puts the time to each line itself.
pub fn start(config: &LoggingConfig, journal: bool) -> Result<(), TryInitError> {
    start_to(config, journal, io::stderr().is_terminal(), io::stderr)?;
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
    Ok(())
}

fn start_to<W>(config: &LoggingConfig, journal: bool, colours: bool, writer: W) -> Result<(), TryInitError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    let lines = Subscriber::builder().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    match (config.format, journal) {
        (LogFormat::Human, false) => lines.finish().try_init(),
        (LogFormat::Human, true) => lines.without_time().finish().try_init(),
        (LogFormat::Json, _) => {
            let fields = fmt::format::JsonFields::new();
            let format =
                fmt::format().json().flatten_event(true).with_current_span(true).with_span_list(false);
            lines.event_format(format).fmt_fields(fields).finish().try_init()
        }
    }
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
    fn a_json_line_has_its_fields_at_the_top() {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = LoggingConfig { format: LogFormat::Json, filter: "off,logging_test=info".to_owned() };
        start_to(&config, true, false, move || writer.clone()).unwrap();
        tracing::info!(target: "logging_test", vmid = 205, "Allocated");
        tracing::debug!(target: "logging_test", "not shown");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["message"], &line["vmid"]), (&"Allocated".into(), &205.into()));
    }
}
