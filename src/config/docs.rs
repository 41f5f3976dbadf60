//! The settings as text: the README's table and `deploy/env.example`. Tests compare both with what stands there.

use std::fmt::Write as _;

use super::table::{Fallback, SETTINGS, Setting};

/// The table that the README shows, in Markdown.
pub fn markdown() -> String {
    let mut text = String::new();
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(
                text,
                "\n**{group}**\n\n| Variable | Flag | Description | Default |\n|---|---|---|---|\n"
            );
        }
        let flag = setting.flag.map_or("-".to_owned(), |flag| format!("`--{flag}`"));
        let default = match setting.fallback {
            Fallback::Required => "required".to_owned(),
            Fallback::Value(text) => format!("`{text}`"),
            Fallback::Absent(words) => words.to_owned(),
        };
        let _ = writeln!(text, "| `{}` | {flag} | {} | {default} |", setting.name, setting.help);
    }
    text.trim_start().to_owned()
}

/// An environment file with every setting in a comment.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of sandbox-pool. Read by the program itself, as systemd reads an EnvironmentFile: this one, or a .env:\n\
         # no shell, nothing is expanded. Take the # off a line to use it; an empty value counts as not given.\n\
         # Generated from the program's own table: sandbox-pool settings --format env\n",
    );
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(text, "\n# --- {group} ---\n");
        }
        let _ =
            writeln!(text, "\n# {}.{}\n#{}={}", setting.help, note(setting), setting.name, example(setting));
    }
    text
}

fn note(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => " Required.".to_owned(),
        Fallback::Value(_) => String::new(),
        Fallback::Absent(words) => format!(" Default: {words}."),
    }
}

fn example(setting: &Setting) -> &'static str {
    match (setting.fallback, setting.name) {
        (Fallback::Value(text), _) => text,
        (_, "PVE_API_URL") => "https://127.0.0.1:8006",
        (_, "PVE_API_TOKEN") => "warm@pve!svc=00000000-0000-0000-0000-000000000000",
        (Fallback::Required | Fallback::Absent(_), _) => "",
    }
}
