//! What a check found: how bad it is, why it matters, and the commands that mend it.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at; what was found before says why.
    Skip,
    /// The service runs, and worse than it could.
    Warn,
    /// The service cannot do its work.
    Fail,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check; never changes its name.
    pub check: &'static str,
    /// What was looked at, where a check looks at several things.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// Why it matters; empty where all is well.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// Commands that mend it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mend: Vec<String>,
}

impl Finding {
    fn new(level: Level, check: &'static str, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { check, subject: String::new(), level, found, why: "", mend: Vec::new() }
    }

    /// All is well.
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Ok, check, found)
    }

    /// It could not be looked at.
    pub(super) fn skip(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(Level::Skip, check, found)
    }

    /// It could be better.
    pub(super) fn warn(check: &'static str, found: impl Into<String>, why: &'static str) -> Self {
        Self { why, ..Self::new(Level::Warn, check, found) }
    }

    /// It does not work.
    pub(super) fn fail(check: &'static str, found: impl Into<String>, why: &'static str) -> Self {
        Self { why, ..Self::new(Level::Fail, check, found) }
    }

    /// The same about one of several things.
    #[must_use]
    pub(super) fn of(self, subject: impl std::fmt::Display) -> Self {
        Self { subject: format!("{subject}"), ..self }
    }

    /// The same with a command that mends it.
    #[must_use]
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }
}

/// A path as one word of a command.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing failed.
    pub ok: bool,
    /// Version of this program.
    pub version: &'static str,
    /// In the order in which things depend on each other.
    pub checks: Vec<Finding>,
}

impl Report {
    /// What these add up to.
    pub fn of(checks: Vec<Finding>) -> Self {
        let ok = checks.iter().all(|finding| finding.level != Level::Fail);
        Self { ok, version: env!("CARGO_PKG_VERSION"), checks }
    }

    /// For a person.
    pub fn in_words(&self) -> String {
        let mut text = String::new();
        for finding in &self.checks {
            let word = match finding.level {
                Level::Ok => "ok",
                Level::Skip => "skip",
                Level::Warn => "WARN",
                Level::Fail => "FAIL",
            };
            let Finding { check, subject, found, why, mend, .. } = finding;
            let name = if subject.is_empty() { (*check).to_owned() } else { format!("{check} {subject}") };
            let _ = writeln!(text, "{word:<4}  {name}: {found}");
            if !why.is_empty() {
                let _ = writeln!(text, "      why it matters: {why}");
            }
            for command in mend {
                let _ = writeln!(text, "      run: {command}");
            }
        }
        let count = |level| self.checks.iter().filter(|finding| finding.level == level).count();
        let (failed, warned) = (count(Level::Fail), count(Level::Warn));
        let verdict = match (failed, warned) {
            (0, 0) => "All is well.".to_owned(),
            (0, _) => format!("It works; {warned} to look at."),
            (_, _) => format!("{failed} to mend, {warned} to look at."),
        };
        let _ = write!(text, "\n{verdict}");
        // Names of settings, and a file with them.
        let changes = |command: &String| {
            ["editor ", "POOL_", "PVE_", "WEBHOOK"].iter().any(|word| command.contains(word))
        };
        if self.checks.iter().flat_map(|finding| &finding.mend).any(changes) {
            text += "\nAfter a change of the settings: systemctl restart sandbox-pool";
        }
        text
    }
}
