//! What the README says of settings is what the program knows, and what a README tells to run is run.

use std::fs;
use std::path::Path;

use sandbox_pool::config::docs;
use sandbox_pool::http::codes::Code;

const BEGIN: &str = "<!-- settings: written by `UPDATE=1 cargo test`, do not edit -->\n";
const END: &str = "<!-- end of settings -->\n";

#[test]
fn the_settings_in_the_readme_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("the begin of the settings");
    let (settings, after) = rest.split_once(END).expect("the end of the settings");
    let made = docs::markdown();
    if std::env::var_os("UPDATE").is_some() && settings != made {
        fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).expect("a written README");
        return;
    }
    assert_eq!(settings, made, "run `UPDATE=1 cargo test readme`");
}

/// Each block of commands stands right below a comment that says who runs it; `.ci/chroot` runs it by its name.
#[test]
fn every_command_in_a_readme_is_run_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chroot = fs::read_to_string(root.join(".ci/chroot")).expect(".ci/chroot");
    let mut run = 0;
    for name in ["README.md", "deploy/README.md"] {
        let readme = fs::read_to_string(root.join(name)).expect("a README");
        let lines: Vec<_> = readme.lines().collect();
        let blocks = lines.iter().enumerate().filter(|(_, line)| ["```bash", "```sh"].contains(line));
        for (at, _) in blocks {
            let comment = lines[at - 1].strip_prefix("<!-- ").and_then(|it| it.strip_suffix(" -->"));
            let comment = comment.unwrap_or_else(|| panic!("{name}:{}: who runs this block?", at + 1));
            let (how, what) = comment.split_once(": ").unwrap_or((comment, ""));
            match how.strip_prefix("run by ") {
                Some(".ci/chroot") => {
                    let block = what.split(',').next().unwrap_or_default();
                    assert!(
                        chroot.contains(&format!("block {block} {name}")),
                        "{name}:{at}: nobody runs {block}"
                    );
                }
                Some(script) => assert!(root.join(script).exists(), "{name}:{at}: there is no {script}"),
                None if how == "run" => run += 1,
                None => assert!(how.starts_with("not run") && !what.is_empty(), "{name}:{at}: {comment}"),
            }
        }
    }
    assert!(run >= 5, "{run} blocks are run");
}

/// Whoever gets a problem finds its word, and what to do.
#[test]
fn every_problem_is_among_the_symptoms() {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| ")).collect();
    for code in Code::ALL {
        let word = format!("`{}`", code.as_str());
        let symptom = |row: &&str| row.split(" | ").next().is_some_and(|symptom| symptom.contains(&word));
        assert_eq!(rows.iter().copied().filter(symptom).count(), 1, "rows of {word}");
    }
}

#[test]
fn every_link_in_the_readme_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let anchors: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| format!("#{}", title.to_lowercase().replace(' ', "-")))
        .collect();
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    for link in links.filter(|link| !link.starts_with("https://")) {
        let found = anchors.iter().any(|anchor| anchor == link) || root.join(link).exists();
        assert!(found, "{link} leads nowhere");
    }
}
