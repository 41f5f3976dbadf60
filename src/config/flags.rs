//! The settings as command line flags, made from the table. What a value must look like is not checked here, so
//! that a wrong flag and a wrong variable are reported alike and together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::{Fallback, SETTINGS, Setting};

/// Settings given as arguments.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// Values by their setting's variable.
    pub settings: BTreeMap<&'static str, String>,
    /// The file to read variables from.
    pub env_file: Option<PathBuf>,
}

const ENV_FILE: &str = "env-file";

fn argument(setting: &Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let default = match setting.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Value(text) => format!("default: {text}"),
        Fallback::Absent(words) => format!("default: {words}"),
    };
    let help = format!("{} [{}] [{default}]", setting.help, setting.name);
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

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let env_file = Arg::new(ENV_FILE)
            .long(ENV_FILE)
            .value_name("PATH")
            .help("File of variables, read as systemd reads an EnvironmentFile [default: .env if present; to doctor also /etc/sandbox-pool/env]")
            .value_parser(clap::value_parser!(PathBuf));
        command.arg(env_file).args(SETTINGS.iter().filter_map(argument))
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
            if let Some(text) = matches.get_one::<String>(setting.name) {
                self.settings.insert(setting.name, text.clone());
            }
        }
        if let Some(path) = matches.get_one::<PathBuf>(ENV_FILE) {
            self.env_file = Some(path.clone());
        }
        Ok(())
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
    fn a_secret_is_no_argument() {
        assert!(parse(&["--pve-api-token", "root@pam!a=b"]).is_err());
    }
}
