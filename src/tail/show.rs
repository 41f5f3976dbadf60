//! One line for each event: JSON for programs, words for people.
//!
//! What comes from PVE and from callers is never sent to a terminal as it is: a control character in it could do
//! anything there.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::event::is_trouble;

/// Fields that say what an event is about, and stand first.
const SUBJECTS: [&str; 6] = ["template", "vmid", "instance_id", "node", "hostname", "reason"];

/// Fields that are long and rarely of interest; `--json` shows them.
const LEFT_OUT: [&str; 1] = ["settings"];

/// As wide as most types are.
const TYPE_WIDTH: usize = 20;

/// Writes events, and what else there is to say beside them.
pub struct Printer<'a> {
    /// Where events go.
    pub out: &'a mut dyn Write,
    /// Where remarks go.
    pub remarks: &'a mut dyn Write,
    /// As JSON, one object a line.
    pub json: bool,
    /// With colours.
    pub colour: bool,
}

#[derive(Deserialize)]
struct Shown {
    seq: u64,
    at: String,
    #[serde(rename = "type")]
    type_name: String,
    data: Map<String, Value>,
}

impl Printer<'_> {
    /// An envelope in JSON.
    pub fn event(&mut self, json: &str) -> io::Result<()> {
        if self.json {
            return writeln!(self.out, "{json}");
        }
        let line = serde_json::from_str(json).map(|event| self.line(&event));
        writeln!(self.out, "{}", line.unwrap_or_else(|_| harmless(json)))
    }

    /// A remark.
    pub fn remark(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.remarks, "{}", harmless(text))
    }

    /// Sends on what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn line(&self, event: &Shown) -> String {
        let Shown { seq, at, type_name, data } = event;
        let (at, name) = (harmless(at), harmless(type_name));
        let mut line = if self.colour {
            let colour = colour(type_name);
            format!("\x1b[2m{at} {seq:>7}\x1b[0m \x1b[{colour}m{name:<TYPE_WIDTH$}\x1b[0m")
        } else {
            format!("{at} {seq:>7} {name:<TYPE_WIDTH$}")
        };
        let subjects = SUBJECTS.iter().filter_map(|name| data.get_key_value(*name));
        let others = data.iter().filter(|(name, _)| !SUBJECTS.contains(&name.as_str()));
        for (name, value) in subjects.chain(others) {
            if value.is_null() || LEFT_OUT.contains(&name.as_str()) {
                continue;
            }
            // Writing to a String does not fail.
            let _ = write!(line, " {}={}", harmless(name), text(value));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        // A fault: its own words, and what to do about it.
        Value::Object(fields) if fields.contains_key("message") => {
            let words = ["message", "hint"].iter().filter_map(|name| fields.get(*name)?.as_str());
            let words: Vec<_> = words.collect();
            harmless(&Value::String(words.join("; ")).to_string())
        }
        other => harmless(&other.to_string()),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\')
}

/// The text with its control characters made harmless.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// Control characters, and those that change the direction of what follows.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Red for what a person should look at, yellow for what is tried again, green for what is done.
fn colour(type_name: &str) -> &'static str {
    const PASSING: [&str; 4] =
        ["ActionDelayed", "AllocationRequeued", "CloneRetryScheduled", "CloneUncertain"];
    const DONE: [&str; 8] = [
        "Allocated",
        "AllocationCompleted",
        "CloneSucceeded",
        "ContainerStarted",
        "OwnershipConfirmed",
        "PveReachable",
        "Released",
        "Removed",
    ];
    if is_trouble(type_name) {
        "31"
    } else if PASSING.contains(&type_name) || type_name.ends_with("Cancelled") {
        "33"
    } else if DONE.contains(&type_name) {
        "32"
    } else {
        "36"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(json: &str, colour: bool) -> String {
        let (mut out, mut remarks) = (Vec::new(), Vec::new());
        let mut printer = Printer { out: &mut out, remarks: &mut remarks, json: false, colour };
        printer.event(json).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn event(type_name: &str, data: &str) -> String {
        format!(
            r#"{{"seq":42,"id":"0","at":"2026-11-24T09:00:00.000Z","type":"{type_name}","v":1,"data":{data},"more":false}}"#
        )
    }

    #[test]
    fn a_line_is_read_at_a_glance() {
        let cases = [
            ("PveReachable", "{}", ""),
            (
                "Allocated",
                r#"{"allocation_id":"01A","instance_id":"pvelxc-1","metadata":{"team":"t"},"ttl_seconds":null,"vmid":205}"#,
                r#" vmid=205 instance_id=pvelxc-1 allocation_id=01A metadata={"team":"t"}"#,
            ),
            (
                "CloneFailed",
                r#"{"vmid":205,"fault":{"kind":"locked","message":"CT is locked (backup)","hint":"pct unlock 205"}}"#,
                r#" vmid=205 fault="CT is locked (backup); pct unlock 205""#,
            ),
            ("ServiceStarted", r#"{"settings":{"x":1},"version":"1.0.0"}"#, " version=1.0.0"),
        ];
        for (type_name, data, rest) in cases {
            let expected = format!("2026-11-24T09:00:00.000Z      42 {type_name:<20}{rest}");
            assert_eq!(printed(&event(type_name, data), false), format!("{}\n", expected.trim_end()));
        }
        let line = printed(&event("CloneFailed", "{}"), true);
        assert_eq!(
            line,
            "\x1b[2m2026-11-24T09:00:00.000Z      42\x1b[0m \x1b[31mCloneFailed         \x1b[0m\n"
        );
    }

    #[test]
    fn no_text_commands_the_terminal() {
        for bad in ["\\u001b[2J", "\\u009b2J", "\\u0007", "\\u202e", "\u{9b}2J", "a b\u{202e}"] {
            let data = format!(r#"{{"reason":"{bad}","{bad}":{{"message":"{bad}"}},"x":["{bad}"]}}"#);
            let line = printed(&event("PveUnreachable", &data), false);
            assert!(!line.trim_end().chars().any(is_harmful), "{line:?}");
        }
        let line = printed("\x1b[2J", false);
        assert_eq!(line, "\u{fffd}[2J\n");
    }

    #[test]
    fn every_known_type_with_a_colour_exists() {
        let coloured = crate::domain::event::Event::TYPES.iter().filter(|name| colour(name) != "36").count();
        assert!(coloured > 20, "{coloured}");
    }
}
