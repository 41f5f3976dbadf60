//! Takes settings out of their sources one by one, and notes what is wrong instead of stopping at it.
//!
//! An empty value counts as not given: that is how a variable is switched off in an environment file.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Warning};
use super::secret::Secret;
use super::source::{Origin, Sources};
use super::table::{self, Fallback, SETTINGS, setting};
use super::value;

/// Names that begin so are ours, and one that no setting has is a mistake.
const OUR_PREFIXES: &[&str] = &["POOL_", "CLONE_", "REPLENISH_", "WEBHOOK_"];

/// A value and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Reads settings and gathers complaints.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) warnings: Vec<Warning>,
    /// How many warnings, the first ones, are about what is no setting.
    strangers: usize,
    errors: Vec<ConfigError>,
    /// Settings that were looked up, so that a test can tell that none is declared in vain.
    pub(super) seen: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources<'a>) -> Self {
        let mut reader =
            Self { sources, warnings: Vec::new(), strangers: 0, errors: Vec::new(), seen: BTreeSet::new() };
        reader.warn_of_strangers();
        reader.strangers = reader.warnings.len();
        reader
    }

    /// `config` if nothing was wrong with it.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<(T, Vec<Warning>), ConfigErrors> {
        match config {
            Some(config) if self.errors.is_empty() => Ok((config, self.warnings)),
            _ => {
                let mut ignored = self.warnings;
                ignored.truncate(self.strangers);
                Err(ConfigErrors { errors: self.errors, ignored })
            }
        }
    }

    /// Notes what may not be what was meant, and why that matters.
    pub(super) fn warn(&mut self, setting: &'static str, text: impl Into<String>, why: &'static str) {
        self.warnings.push(Warning { setting: Some(setting), text: text.into(), why: Some(why) });
    }

    /// Notes that a default or a rule holds as it is documented.
    pub(super) fn note(&mut self, setting: &'static str, text: impl Into<String>) {
        self.warnings.push(Warning { setting: Some(setting), text: text.into(), why: None });
    }

    /// Notes that a setting cannot be what it is.
    pub(super) fn refuse(
        &mut self,
        setting: &'static str,
        given: Option<Given>,
        expected: impl Into<String>,
    ) {
        let is_url = table::setting(setting).is_some_and(|setting| setting.value == "URL");
        let may_hide = |text: &str| setting == "WEBHOOK_URL" || (is_url && text.contains('@'));
        let given = given.map(|Given { text, origin }| {
            // Before an @ a URL has a user, and maybe a password; a webhook's path is as good as a key.
            let text = if may_hide(&text) { String::new() } else { text };
            (text, origin)
        });
        self.errors.push(ConfigError { setting, given, expected: expected.into() });
    }

    /// What was given for a setting, defaults left aside.
    pub(super) fn given(&mut self, name: &'static str) -> Option<Given> {
        self.seen.insert(name);
        let Sources { flags, env, dotenv, dotenv_path, .. } = self.sources;
        let flag = setting(name).and_then(|setting| setting.flag).unwrap_or(name);
        let found = |text: Option<&String>, origin: Origin| {
            let text = text?.trim();
            (!text.is_empty()).then(|| Given { text: text.to_owned(), origin })
        };
        found(flags.get(name), Origin::Flag(flag))
            .or_else(|| found(env.get(name), Origin::Environment))
            .or_else(|| found(dotenv.values.get(name), Origin::File(dotenv_path.clone())))
    }

    /// Whether a secret was given, in itself or as a file; if so and it is not there, that was refused already.
    pub(super) fn is_given(&mut self, name: &'static str, file_name: &'static str) -> bool {
        self.given(name).is_some() || self.given(file_name).is_some()
    }

    /// A setting's value, put into its type by `parse`; `None` if it was not given and has no default.
    ///
    /// What `parse` refuses is noted, and the default stands in so that the rest can be checked too.
    pub(super) fn parse<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if let Some(given) = self.given(name) {
            if let Some(value) = parse(&given.text) {
                return Some(value);
            }
            self.refuse(name, Some(given), expected);
        } else if is_required(name) {
            self.refuse(name, None, expected);
        }
        default_text(name).and_then(parse)
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, name: &'static str, range: RangeInclusive<u32>) -> u32 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let within = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.parse(name, &expected, within).unwrap_or(*range.start())
    }

    /// Seconds within `range`. A fraction is rounded up, because the rules count whole seconds.
    pub(super) fn seconds(&mut self, name: &'static str, range: RangeInclusive<u32>) -> u32 {
        let expected = format!("seconds from {} to {}", range.start(), range.end());
        let within = |text: &str| value::seconds(text).filter(|(whole, _)| range.contains(whole));
        let (whole, rounded) = self.parse(name, &expected, within).unwrap_or((*range.start(), false));
        if rounded {
            self.note(name, format!("{name} is rounded up to {whole} whole seconds"));
        }
        whole
    }

    /// A size in bytes, at least `least`.
    pub(super) fn bytes(&mut self, name: &'static str, least: u64) -> u64 {
        let expected = format!("bytes, or a number with K, M, G or T, at least {least}");
        self.parse(name, &expected, |text| value::bytes(text).filter(|bytes| *bytes >= least))
            .unwrap_or(least)
    }

    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        self.parse(name, "true or false", value::switch).unwrap_or_default()
    }

    pub(super) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.given(name).map(|given| PathBuf::from(given.text))
    }

    /// A file that a setting names, and its text.
    pub(super) fn file(&mut self, name: &'static str) -> Option<(PathBuf, String)> {
        let given = self.given(name)?;
        let path = PathBuf::from(&given.text);
        match (self.sources.read_file)(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => {
                self.refuse(name, Some(given), format!("a file that can be read: {error}"));
                None
            }
        }
    }

    /// A secret from its variable, from the file that `{name}_FILE` names, or from systemd's credential.
    pub(super) fn secret(&mut self, name: &'static str, file_name: &'static str) -> Option<(Secret, Origin)> {
        let file_given = self.given(file_name);
        if let Some(given) = self.given(name) {
            if file_given.is_some() {
                let both = Given { text: String::new(), origin: given.origin };
                self.refuse(name, Some(both), format!("either this or {file_name}, not both"));
                return None;
            }
            return Some((Secret::new(given.text), given.origin));
        }
        if let Some(given) = file_given {
            let (path, text) = self.file(file_name)?;
            let Some(text) = non_empty(&text) else {
                self.refuse(file_name, Some(given), "a file that is not empty");
                return None;
            };
            return Some((Secret::new(text), Origin::File(path)));
        }
        let (path, text) = self.credential(&name.to_ascii_lowercase().replace('_', "-"))?;
        Some((Secret::new(text), Origin::File(path)))
    }

    /// A credential that systemd laid ready, unless it is absent or empty.
    pub(super) fn credential(&self, name: &str) -> Option<(PathBuf, String)> {
        let directory = self.sources.env.get("CREDENTIALS_DIRECTORY")?;
        let path = Path::new(directory).join(name);
        let text = (self.sources.read_file)(&path).ok()?;
        non_empty(&text).map(|text| (path, text.to_owned()))
    }

    fn warn_of_strangers(&mut self) {
        let Sources { env, dotenv, dotenv_path, .. } = self.sources;
        let file = dotenv_path.display();
        let ignored = |text: String| {
            let why = "whatever was meant by it does not hold: another source or the default does";
            Warning { setting: None, text: format!("{text}; ignored"), why: Some(why) }
        };
        let complaints = dotenv.complaints.iter().map(|complaint| ignored(format!("{file}, {complaint}")));
        self.warnings.extend(complaints);
        let unknown = |name: &&String| setting(name).is_none();
        let ours = |name: &&String| {
            OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || meant(name).is_some()
        };
        let in_file = dotenv.values.keys().filter(unknown).map(|name| (name, file.to_string()));
        let in_env = env.keys().filter(unknown).filter(ours).map(|name| (name, "environment".to_owned()));
        for (name, origin) in in_file.chain(in_env) {
            self.warnings.push(ignored(format!("{name} (from {origin}) is no setting{}", hint(name))));
        }
    }
}

/// The setting that was probably meant.
fn meant(name: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).find(|right| value::is_near(right, name))
}

fn hint(name: &str) -> String {
    meant(name).map(|right| format!(", did you mean {right}?")).unwrap_or_default()
}

fn is_required(name: &str) -> bool {
    setting(name).is_some_and(|setting| setting.fallback == Fallback::Required)
}

fn default_text(name: &str) -> Option<&'static str> {
    match setting(name).map(|setting| setting.fallback) {
        Some(Fallback::Value(text)) => Some(text),
        Some(Fallback::Required | Fallback::Absent(_)) | None => None,
    }
}

impl Sources<'_> {
    /// The files that settings name, each with its setting. The service reads them as its own user, other than
    /// systemd's credentials, which it is handed.
    pub fn named_files(&self) -> Vec<(&'static str, PathBuf)> {
        let mut reader = Reader::new(self);
        let names = SETTINGS.iter().map(|setting| setting.name).filter(|name| name.ends_with("_FILE"));
        names.filter_map(|name| Some((name, reader.path(name)?))).collect()
    }
}

fn non_empty(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty()).then_some(text)
}
