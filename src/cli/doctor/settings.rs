//! Checks of the settings, and of the files that they name.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::account::{Account, Barrier, READ};
use super::finding::{Finding, quoted};
use super::unit;
use crate::causes;
use crate::cli::place::INSTALLED;
use crate::config::{ConfigError, ConfigErrors, Origin, Sources, Warning, WebhookConfig};
use crate::webhook::Endpoint;

/// Why wrong settings matter.
const NO_START: &str = "the service does not start with it";

/// The file with the settings: the one that was read, else the installed service's.
pub(super) fn file(sources: &Sources<'_>) -> PathBuf {
    let was_read = !sources.dotenv.values.is_empty() || !sources.dotenv.complaints.is_empty();
    if was_read { sources.dotenv_path.clone() } else { INSTALLED.into() }
}

/// How a setting gets another value.
pub(super) fn change(file: &Path, setting: &str) -> String {
    format!("editor {}   # {setting}; sandbox-pool settings says what it may be", quoted(file))
}

/// Settings that can be read: what may not be meant by them, and what of their files the service may not read.
pub(super) fn settings(warnings: &[Warning], unread: Vec<Finding>, file: &Path) -> Vec<Finding> {
    let mut findings = if unread.is_empty() { vec![Finding::ok("settings", "can be read")] } else { unread };
    findings.extend(doubted(warnings, file));
    findings
}

fn doubted(warnings: &[Warning], file: &Path) -> impl Iterator<Item = Finding> {
    // Whether PVE's certificate is verified is a check of its own.
    let warnings = warnings.iter().filter(|warning| warning.setting != Some("PVE_VERIFY_TLS"));
    warnings.map(move |warning| {
        let subject = warning.setting.unwrap_or_default();
        let Some(why) = warning.why else { return Finding::ok("settings", &warning.text).of(subject) };
        let mend = match warning.setting {
            Some(setting) => change(file, setting),
            None => format!("editor {}   # sandbox-pool settings says what there is", quoted(file)),
        };
        Finding::warn("settings", &warning.text, why).of(subject).mend(mend)
    })
}

/// Settings that cannot be read. Nothing else is looked at with them.
pub(super) fn wrong(errors: &ConfigErrors, file: &Path) -> Vec<Finding> {
    let wrong = errors.errors.iter().map(|error| {
        let text = error.to_string();
        let found = text.strip_prefix(&format!("{}: ", error.setting)).unwrap_or(&text);
        let finding = Finding::fail("settings", found, NO_START).of(error.setting);
        ways(error, file).into_iter().fold(finding, Finding::mend)
    });
    wrong.chain(doubted(&errors.ignored, file)).collect()
}

/// What mends a setting: where it was given, it is changed.
fn ways(error: &ConfigError, file: &Path) -> Vec<String> {
    let setting = error.setting;
    let given = error.given.as_ref();
    let is_file = setting.ends_with("_FILE") || setting == "--env-file";
    let named = given.filter(|(text, _)| is_file && !text.is_empty());
    let look = named.map(|(path, _)| format!("ls -l {}", quoted(Path::new(path))));
    let change = match given.map(|(_, origin)| origin) {
        // The file of settings itself: there is nothing to change it by.
        Some(Origin::Flag("env-file")) => return look.into_iter().collect(),
        Some(Origin::Flag(flag)) => format!("sandbox-pool settings   # says what --{flag} may be"),
        Some(Origin::Environment) => {
            let file = file.display();
            format!("unset {setting}   # it goes before {file}; sandbox-pool settings says what it may be")
        }
        Some(Origin::File(path)) => change(path, setting),
        Some(Origin::Socket | Origin::Default) | None => change(file, setting),
    };
    look.into_iter().chain([change]).collect()
}

/// The file with the installed service's settings, where it is meant and only root may read it.
pub(super) fn kept(sources: &Sources<'_>) -> Option<&'static Path> {
    let installed = Path::new(INSTALLED);
    let opened = (sources.dotenv_path == installed).then(|| std::fs::File::open(installed));
    opened?.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied).then_some(installed)
}

/// The same, where the settings would be needed.
pub(super) fn roots_alone(file: &Path) -> Finding {
    let found = format!("{} may be read by root alone", file.display());
    let why = "without the service's settings nothing can be looked at";
    Finding::fail("settings", found, why).mend("sudo sandbox-pool doctor")
}

/// The same, where others were given that can be used.
pub(super) fn passed_over(file: &Path) -> Finding {
    let found = format!("{} may be read by root alone: what is in it is not looked at", file.display());
    let why = "the service may have other settings than these";
    Finding::warn("settings", found, why).mend("sudo sandbox-pool doctor")
}

/// Whether these are the settings of the installed service, which has a user of its own: they are read from its
/// file, and are about its data directory. Who gives another one looks at an instance of his own.
pub(super) fn are_the_services(sources: &Sources<'_>, file: &Path) -> bool {
    let is_given = |text: Option<&String>| text.is_some_and(|text| !text.trim().is_empty());
    let name = "POOL_DATA_DIR";
    let has_own_dir = is_given(sources.flags.get(name)) || is_given(sources.env.get(name));
    file == Path::new(INSTALLED) && !has_own_dir
}

/// What keeps the service from a file.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    /// A directive of its unit.
    Hidden(&'static str),
    /// Owner and mode.
    Barred(Barrier),
}

/// What keeps the service from reading a file, although whoever looks may.
fn kept_from(service: &Account, path: &Path) -> Option<Kept> {
    let hidden = unit::hides(service, path).map(Kept::Hidden);
    hidden.or_else(|| service.barrier(path, READ).map(Kept::Barred))
}

/// Which of the files that settings name the service may not read.
pub(super) fn unread(sources: &Sources<'_>, service: Option<&Account>) -> Vec<Finding> {
    let barred = |(setting, path): (&str, PathBuf)| {
        let service = service?;
        let kept = kept_from(service, &path)?;
        Some(barred("settings", setting, &path, &service.seen(&path), &kept))
    };
    sources.named_files().into_iter().filter_map(barred).collect()
}

/// A file that the service may not read; `seen` is where it really is.
pub(super) fn barred(check: &'static str, setting: &str, path: &Path, seen: &Path, by: &Kept) -> Finding {
    let settings = Path::new(INSTALLED).parent().unwrap_or(Path::new("/"));
    let copy = || {
        let place = quoted(&settings.join(path.file_name().unwrap_or_default()));
        let path = quoted(path);
        format!("install -o root -g sandbox-pool -m 0640 {path} {place}   # and have {setting} name it")
    };
    let name = path.display();
    let found = match by {
        Kept::Hidden(directive) => {
            format!("{name} is hidden from the service: its unit has {directive}=true")
        }
        Kept::Barred(by) if by.is_dir => {
            format!("{by}: behind it the service's own user sandbox-pool may not read {name}")
        }
        Kept::Barred(by) => format!("{by}: the service's own user sandbox-pool may not read it"),
    };
    let is_ca = setting == "PVE_CA_FILE" && seen == Path::new("/etc/pve/pve-root-ca.pem");
    let mend = match by {
        _ if is_ca => format!(
            "editor {INSTALLED}   # leave {setting} out: the unit hands over this file (LoadCredential=pve-ca)"
        ),
        // Nobody changes owners or modes there.
        _ if seen.starts_with("/etc/pve") => copy(),
        Kept::Barred(by) if by.path == settings => {
            format!("chmod 0755 {}   # the files in it have modes of their own", quoted(&by.path))
        }
        Kept::Barred(by) if !by.is_dir => {
            let path = quoted(&by.path);
            format!("chown root:sandbox-pool {path} && chmod 0640 {path}")
        }
        Kept::Barred(_) | Kept::Hidden(_) => copy(),
    };
    Finding::fail(check, found, NO_START).of(setting).mend(mend)
}

/// The webhook endpoints, if there are any, with the files of their keys.
pub(super) fn webhooks(config: &WebhookConfig, service: Option<&Account>, file: &Path) -> Option<Finding> {
    let (setting, mend) = match (&config.file, &config.endpoint) {
        (Some(file), _) => {
            let path = quoted(&file.path);
            ("WEBHOOKS_FILE", format!("editor {path}   # deploy/webhooks.example.toml has every key"))
        }
        (None, Some(_)) => ("WEBHOOK_URL", change(file, "WEBHOOK_URL or WEBHOOK_ALLOW_CIDRS")),
        (None, None) => return None,
    };
    let keys = RefCell::new(Vec::new());
    let read = |path: &Path| {
        keys.borrow_mut().push(path.to_owned());
        std::fs::read_to_string(path)
    };
    let loaded = Endpoint::load(config, &read);
    let barred = |service: &Account| {
        let keys = keys.borrow();
        let mut kept = keys.iter().filter_map(|key| Some((key, kept_from(service, key)?)));
        kept.next().map(|(key, by)| barred("webhooks", setting, key, &service.seen(key), &by))
    };
    let all_well = |count| {
        let found = if count == 1 { "1 endpoint".to_owned() } else { format!("{count} endpoints") };
        Finding::ok("webhooks", found).of(setting)
    };
    Some(match loaded {
        Ok(endpoints) => service.and_then(barred).unwrap_or_else(|| all_well(endpoints.len())),
        Err(error) => Finding::fail("webhooks", causes::chain(&error), NO_START).of(setting).mend(mend),
    })
}
