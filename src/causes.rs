//! An error as one line: what failed, and why, and why that.

use std::error::Error;

/// An error and its causes, each once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let fragment = error.to_string();
        if !text.ends_with(&fragment) {
            text.push_str(": ");
            text.push_str(&fragment);
        }
        cause = error.source();
    }
    text
}
