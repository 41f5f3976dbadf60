//! The orders to stop and to read the configuration again, as the world outside gives them.

use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::SignalStream;

/// The order to stop that a terminal or a service manager gives, heard from the call on. Needs a runtime.
pub fn told_to_stop() -> impl Future<Output = ()> {
    let signals =
        signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async {
        let Ok((mut terminate, mut interrupt)) = signals else {
            tracing::error!("signals cannot be heard; only killing ends this process");
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// The order to read the configuration again, heard from the call on. Needs a runtime.
pub fn told_to_reload() -> BoxStream<'static, ()> {
    match signal(SignalKind::hangup()) {
        Ok(hangup) => SignalStream::new(hangup).boxed(),
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be heard; other settings need a restart");
            futures_util::stream::empty().boxed()
        }
    }
}
