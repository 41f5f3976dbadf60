//! Each alert says what it saw, has a runbook, and a test in which it fires and one in which it does not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::files::{Rule, rules, text, yaml};

fn alerts() -> Vec<Rule> {
    rules().into_iter().filter(|rule| rule.kind == "alert").collect()
}

/// The text under a heading.
fn section<'a>(readme: &'a str, name: &str) -> &'a str {
    let begin = readme.find(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("no runbook of {name}"));
    let rest = &readme[begin + 5..];
    rest.find("\n### ").map_or(rest, |end| &rest[..end])
}

#[test]
fn every_alert_says_what_it_saw_and_how_urgent_it_is() {
    let alerts = alerts();
    let names: BTreeSet<_> = alerts.iter().map(|alert| alert.name.clone()).collect();
    assert_eq!(names.len(), alerts.len(), "no name twice");
    for alert in alerts {
        assert!(alert.summary.contains("$value"), "{}", alert.name);
        assert!(["page", "ticket"].contains(&&*alert.severity), "{}", alert.name);
        let anchor = format!("dashboards/README.md#{}", alert.name.to_lowercase());
        assert_eq!(alert.runbook_url, anchor);
    }
}

#[test]
fn the_alerts_that_operators_need_are_there() {
    let names: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    for name in [
        "WarmPoolEmpty",
        "BelowMin",
        "WaitersOld",
        "LaneStuck",
        "CloneFailing",
        "TemplateBackedOff",
        "ReadyNotUsable",
        "PveDown",
        "LogUnwritable",
        "LogSyncSlow",
        "TornTail",
        "DiskLow",
        "WebhookDisabled",
        "WebhookParked",
        "ConsumerStuck",
        "SseEvictions",
        "Drift",
        "Down",
        "AllocateErrorsFastBurn",
        "AllocateErrorsSlowBurn",
        "PoolMissesFastBurn",
        "PoolMissesSlowBurn",
    ] {
        assert!(names.contains(name), "no alert {name}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let readme = text("README.md");
    let alerts: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    for name in &alerts {
        let section = section(&readme, name);
        for part in ["**Meaning.**", "**Impact.**", "**First commands.**", "**Mend.**", "**Confirm.**"] {
            assert!(section.contains(part), "{name}: no {part}");
        }
        let commands = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
        assert_eq!(commands.unwrap_or_default().lines().count(), 3, "{name}: three commands");
    }
    let headings = readme.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned);
    assert_eq!(headings.collect::<BTreeSet<_>>(), alerts);
}

#[test]
fn every_alert_is_tested_firing_and_silent() {
    let tests = yaml("alerts_test.yaml")["tests"].clone();
    let asked: Vec<(&str, &Vec<Value>)> = tests
        .as_array()
        .expect("tests")
        .iter()
        .flat_map(|case| case["alert_rule_test"].as_array().into_iter().flatten())
        .map(|asked| {
            (asked["alertname"].as_str().expect("a name"), asked["exp_alerts"].as_array().expect("a list"))
        })
        .collect();
    for alert in alerts() {
        let (silent, firing): (Vec<_>, Vec<_>) = (asked.iter())
            .filter(|(name, _)| *name == alert.name)
            .partition(|(_, expected)| expected.is_empty());
        assert!(!silent.is_empty(), "{} has no test in which it stays silent", alert.name);
        let labelled = |expected: &[Value]| expected.iter().all(|one| one["exp_labels"].is_object());
        assert!(firing.iter().any(|(_, expected)| labelled(expected)), "{} never fires", alert.name);
    }
}
