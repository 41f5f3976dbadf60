//! The settings as command line flags, made from the table. What a value must look like is not checked here, so
//! that a wrong flag and a wrong variable are reported alike and together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::{self, Fallback, SETTINGS, Setting};

/// Settings given as arguments.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Values by their setting's variable.
    pub settings: BTreeMap<&'static str, String>,
    /// The file to read variables from.
    pub env_file: Option<PathBuf>,
}

/// The same for a service over a PVE of its own.
#[derive(Clone, Debug, Default)]
pub struct DemoFlags(pub Flags);

const ENV_FILE: &str = "env-file";

fn argument(setting: &Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let help = format!("{} [{}] [{}]", setting.help, setting.name, default(setting));
    let arg = Arg::new(setting.name)
        .long(flag)
        .value_name(setting.value)
        .help_heading(setting.group)
        .help(help.clone())
        // The manual pages know no other.
        .long_help(help)
        .hide_short_help(true)
        .allow_negative_numbers(true)
        .action(ArgAction::Set);
    let is_switch = setting.value == "BOOL";
    // `--flag` alone switches on; a value needs `=`, so that a subcommand is not taken for one.
    Some(if is_switch { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg })
}

fn default(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Value(text) => format!("default: {text}"),
        Fallback::Absent(words) => format!("default: {words}"),
    }
}

fn env_file() -> Arg {
    Arg::new(ENV_FILE)
        .long(ENV_FILE)
        .value_name("PATH")
        .help("File of variables, read as systemd reads an EnvironmentFile [default: .env if present; to doctor also /etc/sandbox-pool/env]")
        .value_parser(clap::value_parser!(PathBuf))
}

/// What is set by other means than arguments, which every user of a machine sees.
fn secrets() -> String {
    let mut text = "Secrets, which are variables and no flags:".to_owned();
    for setting in SETTINGS.iter().filter(|setting| setting.flag.is_none()) {
        let _ = write!(text, "\n  {}\n          {} [{}]", setting.name, setting.help, default(setting));
    }
    text
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(env_file()).args(SETTINGS.iter().filter_map(argument));
        command.after_long_help(secrets())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
            if let Ok(Some(text)) = matches.try_get_one::<String>(setting.name) {
                self.settings.insert(setting.name, text.clone());
            }
        }
        if let Some(path) = matches.get_one::<PathBuf>(ENV_FILE) {
            self.env_file = Some(path.clone());
        }
        Ok(())
    }
}

impl Args for DemoFlags {
    fn augment_args(command: Command) -> Command {
        let settings = SETTINGS.iter().filter(|setting| setting.group != table::PVE);
        command.arg(env_file()).args(settings.filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for DemoFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Flags::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, clap::Error> {
        let command = Flags::augment_args(Command::new("test").no_binary_name(true));
        Flags::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn flags_are_kept_by_their_variable() {
        let flags = parse(&[
            "--target-size",
            "-1",
            "--listen=[::1]:80",
            "--allow-unauthenticated",
            "--env-file",
            "x",
        ]);
        let flags = flags.unwrap();
        let expected =
            [("POOL_ALLOW_UNAUTHENTICATED", "true"), ("POOL_LISTEN", "[::1]:80"), ("POOL_TARGET_SIZE", "-1")];
        assert_eq!(flags.settings, expected.map(|(name, text)| (name, text.to_owned())).into());
        assert_eq!(flags.env_file, Some("x".into()));
    }

    #[test]
    fn a_switch_is_off_with_a_value() {
        let flags = parse(&["--pve-verify-tls=false"]).unwrap();
        assert_eq!(flags.settings["PVE_VERIFY_TLS"], "false");
    }

    #[test]
    fn a_secret_is_no_argument_and_stands_in_the_help() {
        assert!(parse(&["--pve-api-token", "root@pam!a=b"]).is_err());
        let help = Flags::augment_args(Command::new("test")).render_long_help().to_string();
        for name in ["PVE_API_TOKEN\n", "POOL_API_TOKEN\n", "POOL_READ_TOKEN\n", "WEBHOOK_SECRET\n"] {
            assert!(help.contains(name), "{help}");
        }
    }

    #[test]
    fn a_demo_has_a_pve_of_its_own() {
        let command = || DemoFlags::augment_args(Command::new("test").no_binary_name(true));
        assert!(command().try_get_matches_from(["--pve-node", "pve1"]).is_err());
        let matches = command().try_get_matches_from(["--target-size", "2"]).unwrap();
        let DemoFlags(flags) = DemoFlags::from_arg_matches(&matches).unwrap();
        assert_eq!(flags.settings, BTreeMap::from([("POOL_TARGET_SIZE", "2".to_owned())]));
    }
}
