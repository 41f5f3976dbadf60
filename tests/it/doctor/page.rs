//! The published page of faults, `deploy/doctor.md`: how a fault looks there, and where it stands.
//!
//! It has two parts and two writers: the test beside this file, and the one beside the checks
//! (`src/cli/doctor/tests/table.rs`), which takes this file in. Each leaves the other's part as it is.

use serde_json::Value;

/// Where the second part begins.
pub(crate) const SECOND_PART: &str = "\n## Faults that a test cannot make\n";
/// Before the faults of a part.
pub(crate) const HEAD: &str = "\n| What is wrong | What is found | What mends it |\n|---|---|---|\n";

pub(crate) const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/doctor.md");

/// `check subject` of a finding.
pub(crate) fn name_of(finding: &Value) -> String {
    let word = |key: &str| finding[key].as_str().unwrap_or_default();
    format!("{} {}", word("check"), word("subject")).trim_end().to_owned()
}

/// A fault, the finding that it leads to, and what was skipped behind it.
pub(crate) fn row(fault: &str, told: &Value, skipped: &[&Value]) -> String {
    let word = match told["level"].as_str() {
        Some("fail") => "FAIL",
        Some("warn") => "WARN",
        Some("skip") => "skip",
        Some(_) | None => panic!("{fault}: {told:#}"),
    };
    let cell = |text: &Value| {
        let words = text.as_str().expect("words").split_whitespace().collect::<Vec<_>>();
        words.join(" ").replace('|', "\\|")
    };
    let code = |text: &Value| format!("`{}`", text.as_str().expect("words").replace('|', "\\|"));
    let mend: Vec<_> = told["mend"].as_array().into_iter().flatten().map(code).collect();
    let skipped: Vec<_> = skipped.iter().map(|finding| code(&finding["check"])).collect();
    let skipped =
        if skipped.is_empty() { String::new() } else { format!("<br>not looked at: {}", skipped.join(", ")) };
    let (name, found, mend) = (name_of(told), cell(&told["found"]), mend.join("<br>"));
    format!("| {fault} | {word} `{name}`: {found}{skipped} | {mend} |\n")
}

/// Writes a part, where `UPDATE` asks for it; else the published one must be the same.
pub(crate) fn publish(part: &str) {
    let page = std::fs::read_to_string(PAGE).unwrap_or_default();
    let (first, second) = page.split_at(page.find(SECOND_PART).unwrap_or(page.len()));
    let is_second = part.starts_with(SECOND_PART);
    if std::env::var_os("UPDATE").is_some() {
        let parts = if is_second { [first, part] } else { [part, second] };
        std::fs::write(PAGE, parts.concat()).expect("the page");
    } else {
        let published = if is_second { second } else { first };
        assert!(published == part, "{PAGE} is not what is said: run `UPDATE=1 cargo test doctor`");
    }
}
