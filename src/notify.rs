//! What the service tells systemd of itself: that it serves, that it stops, that it is alive.
//!
//! Where no service manager listens, nothing is said. The sign of life comes from a task of the same runtime that
//! answers requests and only while the engine takes commands, so that a process that hangs is restarted.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Clock;

/// It serves.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("the pool is served")]);
}

/// It reads its configuration again; [`ready`] or [`refused`] follows.
pub fn reloading() {
    let mut state = vec![NotifyState::Reloading, NotifyState::Status("reading the configuration again")];
    // A manager that waits for the end of the reload tells by the time which one it is.
    state.extend(NotifyState::monotonic_usec_now());
    tell(&state);
}

/// It serves as before, because the new configuration is wrong.
pub fn refused() {
    tell(&[
        NotifyState::Ready,
        NotifyState::Status("the pool is served; the new configuration was refused, see the journal"),
    ]);
}

/// It was told to stop, and finishes what is under way.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is being handed out")]);
}

/// Gives signs of life as often as systemd wants them while `lives`; never ends.
pub async fn watchdog(clock: Clock, lives: impl Fn() -> bool) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        if lives() {
            tell(&[NotifyState::Watchdog]);
        }
        clock.sleep(pause(limit)).await;
    }
}

/// Two signs within the limit, as systemd recommends.
fn pause(limit: Duration) -> Duration {
    (limit / 2).max(Duration::from_millis(1))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told how the service is");
    }
}
