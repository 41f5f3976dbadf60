//! What is wrong with a configuration, and what in it deserves a second look.
//!
//! Neither ever holds a secret's text.

use std::fmt;

use super::source::Origin;

/// One setting that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The setting's variable.
    pub setting: &'static str,
    /// What was given and by whom; none if nothing was. A secret's text is left out.
    pub given: Option<(String, Origin)>,
    /// What would have been right.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            None => write!(f, "{}: missing; expected {}", self.setting, self.expected),
            Some((text, origin)) if text.is_empty() => {
                write!(f, "{} (from {origin}): expected {}", self.setting, self.expected)
            }
            Some((text, origin)) => {
                write!(f, "{}={text} (from {origin}): expected {}", self.setting, self.expected)
            }
        }
    }
}

/// Everything that is wrong with a configuration, at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// Settings that are missing or wrong.
    pub errors: Vec<ConfigError>,
    /// What was given and is no setting: a missing one may stand there under a wrong name.
    pub ignored: Vec<Warning>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => f.write_str("a setting is wrong:")?,
            number => write!(f, "{number} settings are wrong:")?,
        }
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))?;
        self.ignored.iter().try_for_each(|warning| write!(f, "\nnote: {warning}"))
    }
}

/// Something that works but may not be what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The setting's variable; none if what was given is no setting.
    pub setting: Option<&'static str>,
    /// What is so.
    pub text: String,
    /// Why that matters; none if a default or a rule holds as it is documented, which is only worth knowing.
    pub why: Option<&'static str>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}
