//! What a person sees while something takes its time: a wheel or a bar, which is gone in the end.
//!
//! It is drawn on standard error, and only if that is a terminal: whatever reads what a command answers meets no
//! trace of it.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::clock::Clock;

/// From one look at what is waited for to the next.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// From one picture to the next.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Waits for an answer. Whoever looks sees for how long, and the news.
pub(super) async fn answer<T>(answer: impl Future<Output = T>, news: impl AsyncFn() -> String) -> T {
    let wheel = ProgressBar::new_spinner().with_style(style("{spinner} {elapsed} {wide_msg}"));
    let clock = Clock::system();
    let turning = async {
        loop {
            // What is done at once is not worth a wheel.
            clock.sleep(LOOK_EVERY).await;
            if !wheel.is_hidden() {
                wheel.set_message(news().await);
                wheel.enable_steady_tick(DRAW_EVERY);
            }
        }
    };
    let answer = tokio::select! {
        answer = answer => answer,
        never = turning => never,
    };
    wheel.finish_and_clear();
    answer
}

/// `■■■□□ 3 of 5 ready, about 12 seconds to go`, where so many are ready already, and one takes so long.
pub(super) fn bar(ready: u64, target: u64, one: Option<Duration>) -> ProgressBar {
    let shown = move |state: &ProgressState, text: &mut dyn Write| {
        let (made, missing) = (state.pos().saturating_sub(ready), target.saturating_sub(state.pos()));
        let _ = text.write_str(&left(made, missing, state.elapsed(), one).map(to_go).unwrap_or_default());
    };
    let bar = ProgressBar::new(target).with_position(ready);
    let bar = bar.with_style(style("{bar:20} {pos} of {len} ready{left}").with_key("left", shown));
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// `, about 12 seconds to go`
pub(super) fn to_go(left: Duration) -> String {
    format!(", about {} to go", HumanDuration(left))
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("■□")
}

/// How long the rest takes, by how long those took that were made; before there are any, by how long one takes.
fn left(made: u64, missing: u64, took: Duration, one: Option<Duration>) -> Option<Duration> {
    match made {
        0 => one.map(|one| one.mul_f64(missing as f64)),
        made => Some(took.mul_f64(missing as f64 / made as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_made() {
        for (made, missing, took, one, expected) in [
            (0, 3, 2, None, None),
            (0, 3, 2, Some(5), Some(15)),
            (1, 2, 4, Some(5), Some(8)),
            (2, 0, 6, None, Some(0)),
        ] {
            let (one, expected) = (one.map(Duration::from_secs), expected.map(Duration::from_secs));
            assert_eq!(left(made, missing, Duration::from_secs(took), one), expected);
        }
    }
}
