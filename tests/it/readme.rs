//! What the README says of settings is what the program knows.

use std::fs;
use std::path::Path;

use sandbox_pool::config::docs;

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
