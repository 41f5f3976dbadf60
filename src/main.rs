//! The command line: parse, read the configuration, set up logging, run. Everything else is the library's.
//!
//! Exit codes: 0 done, 1 it ran and failed, 2 the command line or the configuration is wrong.

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use sandbox_pool::cli::Operate;
use sandbox_pool::config::{Config, ConfigErrors, DemoFlags, Flags, Sources, Warning, docs};
use sandbox_pool::logging::Level;
use sandbox_pool::{app, demo, logging};

/// Keeps warm LXC containers on Proxmox VE and hands them out in the time it takes to start one.
///
/// Every setting is an environment variable and a flag, except secrets, which are no flags because arguments
/// are seen by every user of a machine. A flag wins over the environment, that over the .env file, that over
/// files of secrets (*_FILE, systemd credentials), and those over the default.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 110)]
#[command(after_help = "Settings are shown by --help and by `sandbox-pool settings`.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep the pool and serve it over HTTP (the default).
    ///
    /// SIGHUP has it read its settings again: sizes and whatever else the rules read, webhooks and POOL_LOG_LEVEL
    /// are taken on as a whole or, with what is wrong in the log, not at all. SIGTERM and Ctrl-C end it in order. A
    /// socket that systemd passes is served instead of POOL_LISTEN.
    Serve {
        #[command(flatten)]
        flags: Flags,
    },
    /// Try it without Proxmox VE: a simulated one and the service in one process, and curl lines to go on with.
    ///
    /// Everything is kept in a fresh directory that is removed at the end, unless --data-dir names another.
    Demo {
        /// Measure one sandbox, five at once and a burst of ten, with and without the pool, and end; exit code 1 if
        /// a promise was broken
        #[arg(long)]
        burst: bool,
        #[command(flatten)]
        flags: DemoFlags,
    },
    /// Run the simulated Proxmox VE alone, as an HTTP API to point PVE_API_URL at.
    Sim {
        /// Address and port to listen on; plain http, so this machine only.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8006")]
        listen: SocketAddr,
        /// Seed of everything that the simulation leaves to chance.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
        /// How many times faster than usual its work is: clones, starts, stops and what each call takes.
        #[arg(long, value_name = "TIMES", default_value_t = 1)]
        hurry: u32,
        /// Of a hundred calls, how many fail, break off, come late or start a task that fails.
        #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
        trouble: f64,
        /// Another token to let in, with what deploy/install.sh allows the one that it makes.
        #[arg(long, value_name = "USER@REALM!ID=SECRET")]
        token: Option<demo::Token>,
    },
    /// Show every setting, with its flag, default and meaning.
    Settings {
        /// How to show them.
        #[arg(long, value_enum, default_value_t = SettingsFormat::Markdown)]
        format: SettingsFormat,
    },
    #[command(flatten)]
    Operate(Operate),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SettingsFormat {
    /// The README's table.
    Markdown,
    /// An environment file with every setting in a comment.
    Env,
}

/// Why the program ends without success.
enum Failure {
    Config(ConfigErrors),
    Run(anyhow::Error),
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        // Whatever asked for settings on its way: what is wrong with them is told alike.
        error.downcast().map_or_else(Self::Run, Self::Config)
    }
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Run(_) => ExitCode::from(1),
            Self::Config(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(errors) => write!(f, "error: {errors}"),
            Self::Run(error) => {
                write!(f, "error: {error}")?;
                error.chain().skip(1).try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
            }
        }
    }
}

fn main() -> ExitCode {
    // The one that everything in this process uses; a second installation would be a mistake of ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve { flags: cli.flags });
    match execute(command) {
        Ok(code) => code,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{failure}");
            failure.exit_code()
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve { flags } => {
            // Before there is any other thread, since it changes the environment.
            let passed = app::Passed::take().context("cannot begin")?;
            let address = passed.as_ref().map(app::Passed::address).transpose().context("cannot begin")?;
            let read = move || {
                let sources = Sources { checks: app::CHECKS, ..sources(flags.clone())? };
                let (config, warnings) = Config::load(&sources)?;
                let config = match address {
                    Some(address) => config.over_socket(address)?,
                    None => config,
                };
                Ok((config, warnings))
            };
            let (config, warnings) = read()?;
            let level = start_logging(&config, &warnings)?;
            serve(config, passed, Box::new(read), level)?;
        }
        Command::Demo { burst, flags } => demo(sources(flags.0)?, burst)?,
        Command::Sim { listen, seed, hurry, trouble, token } => sim(listen, seed, hurry, trouble, token)?,
        Command::Settings { format } => show_settings(format)?,
        Command::Operate(operate) => return Ok(operate.run(Cli::command)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn sources(flags: Flags) -> Result<Sources<'static>, ConfigErrors> {
    Sources::of_process(flags.settings, flags.env_file.as_deref())
}

/// Warnings wait for this, so that they have the form that was asked for.
fn start_logging(config: &Config, warnings: &[Warning]) -> anyhow::Result<Level> {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let level = logging::start(&config.logging, journal).context("cannot set up logging")?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(level)
}

fn show_settings(format: SettingsFormat) -> anyhow::Result<()> {
    let text = match format {
        SettingsFormat::Markdown => docs::markdown(),
        SettingsFormat::Env => docs::env_example(),
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

#[tokio::main]
async fn serve(
    config: Config,
    passed: Option<app::Passed>,
    read: app::ReadConfig,
    level: Level,
) -> anyhow::Result<()> {
    let stop = app::told_to_stop();
    let reloads = app::Reloads::new(app::told_to_reload(), read, level);
    let listener = match passed {
        Some(passed) => passed.listen()?,
        None => app::listen(config.listen).await?,
    };
    let pve = app::connect(&config)?;
    Ok(app::run(config, app::world(listener, pve), stop, reloads).await?)
}

fn demo(mut sources: Sources<'static>, burst: bool) -> Result<(), Failure> {
    let dir = demo::FreshDir::new().context("no fresh directory can be made")?;
    demo::simulated(&mut sources, dir.path());
    let (config, warnings) = Config::load(&sources)?;
    start_logging(&config, &warnings)?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    Ok(runtime.block_on(demo::run(config, burst))?)
}

#[tokio::main]
async fn sim(
    listen: SocketAddr,
    seed: u64,
    hurry: u32,
    trouble: f64,
    token: Option<demo::Token>,
) -> anyhow::Result<()> {
    demo::simulate(listen, seed, hurry, trouble, token).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_and_no_flag_is_without_a_sentence() {
        fn check(command: &clap::Command, path: &str) {
            assert!(path.is_empty() || command.get_about().is_some(), "{path} says nothing of itself");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} says nothing of itself", argument.get_id());
                let in_its_page = argument.get_long_help().is_some() || !argument.is_hide_short_help_set();
                assert!(in_its_page, "{path} {} says nothing of itself in the manual", argument.get_id());
            }
            for below in command.get_subcommands() {
                check(below, &format!("{path} {}", below.get_name()));
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn serve_is_the_default_and_takes_the_same_flags() {
        for arguments in
            [&["sandbox-pool", "--target-size", "7"][..], &["sandbox-pool", "serve", "--target-size=7"]]
        {
            let cli = Cli::parse_from(arguments);
            let command = cli.command.unwrap_or(Command::Serve { flags: cli.flags });
            let Command::Serve { flags } = command else { panic!("{arguments:?}") };
            assert_eq!(flags.settings["POOL_TARGET_SIZE"], "7");
        }
    }

    #[test]
    fn a_failed_run_shows_its_causes() {
        let error = anyhow::anyhow!("address in use").context("cannot listen");
        assert_eq!(Failure::Run(error).to_string(), "error: cannot listen\n  caused by: address in use");
    }
}
