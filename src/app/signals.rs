//! The order to stop, as the world outside gives it.

use tokio::signal::unix::{SignalKind, signal};

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
