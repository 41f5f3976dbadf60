//! What `sandbox-pool doctor` says of each single fault: the program itself, each time over ground that is healthy
//! but for that fault. `UPDATE=1 cargo test doctor` writes the published page, `deploy/doctor.md`.
//!
//! What is so on the machine that the test runs on (its disk, and how busy it is) is left aside. Faults that
//! cannot be made here have a part of the page of their own, by a test beside the checks.

mod at_pve;
mod ground;
mod here;
mod page;
mod set;
mod tls;

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use serde_json::Value;

use ground::{Ground, Said};
use page::name_of;

/// One fault.
pub struct Case {
    /// What is wrong.
    name: &'static str,
    /// Makes it so.
    make: fn(&mut Ground),
    /// The one check, with its subject, that says so.
    check: &'static str,
}

/// A fault by its name, the check that says so, and what makes it.
pub const fn case(name: &'static str, check: &'static str, make: fn(&mut Ground)) -> Case {
    Case { name, make, check }
}

/// Doctors at work at once.
const AT_ONCE: usize = 6;
/// What is found of the machine that the test runs on, unless that is the fault.
const OF_THIS_MACHINE: [&str; 3] = ["sync-rate", "disk-space", "file-system"];

/// A fault's row; or all that was said, if it was not that.
fn judged(case: &Case, said: &Said) -> Result<String, String> {
    let findings = said.report["checks"].as_array().expect("findings");
    let is_left_aside = |finding: &Value| {
        finding["check"] != case.check
            && OF_THIS_MACHINE.contains(&finding["check"].as_str().expect("a name"))
    };
    let seen: Vec<&Value> = findings.iter().filter(|finding| !is_left_aside(finding)).collect();
    let wrong: Vec<&&Value> =
        seen.iter().filter(|finding| finding["level"] == "fail" || finding["level"] == "warn").collect();
    let skipped: Vec<&&Value> = seen.iter().filter(|finding| finding["level"] == "skip").collect();
    let told = wrong.first().or(skipped.first()).copied();
    let names: BTreeSet<String> = wrong.iter().map(|finding| name_of(finding)).collect();
    let has_way = |finding: &&&Value| !finding["why"].is_null() && !finding["mend"].is_null();
    let failed = findings.iter().any(|finding| finding["level"] == "fail");
    let is_so = told.is_some_and(|told| name_of(told) == case.check)
        && wrong.len() <= 1
        && names.iter().all(|name| name == case.check)
        && wrong.iter().all(has_way)
        && said.report["ok"] == !failed
        && said.code == Some(i32::from(failed));
    let told = told.copied().filter(|_| is_so).ok_or_else(|| format!("{}: {:#?}", case.name, said))?;
    let behind: Vec<&Value> = skipped.into_iter().copied().filter(|it| *it != told).collect();
    Ok(page::row(case.name, told, &behind))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_single_fault_is_named_and_nothing_else() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cases = [at_pve::CASES, tls::CASES, here::CASES, set::CASES].into_iter().flatten();
    let looks = cases.map(|case| async move {
        let mut ground = Ground::new();
        (case.make)(&mut ground);
        (case, ground.looked_at().await)
    });
    let looks: Vec<(&Case, Said)> = futures_util::stream::iter(looks).buffered(AT_ONCE).collect().await;
    let mut part = format!(
        "# What doctor says\n\n\
        Each single fault, made at a simulated Proxmox VE, on the machine or in the settings, and what \
        `sandbox-pool doctor` says of it. A test keeps this true.\n{}",
        page::HEAD
    );
    let mut otherwise = Vec::new();
    for (case, said) in &looks {
        match judged(case, said) {
            Ok(row) => part += &row,
            Err(found) => otherwise.push(found),
        }
    }
    assert!(
        otherwise.is_empty(),
        "{} faults were not named alone:\n{}",
        otherwise.len(),
        otherwise.join("\n")
    );
    page::publish(&part);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_pool_with_default_settings_is_all_well() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for make in [|_| {}, tls::vouched_for] as [fn(&mut Ground); 2] {
        let mut ground = Ground::new();
        make(&mut ground);
        let said = ground.looked_at().await;
        let findings = said.report["checks"].as_array().expect("findings");
        let wanting: Vec<_> = findings
            .iter()
            .filter(|it| {
                it["level"] != "ok" && !OF_THIS_MACHINE.contains(&it["check"].as_str().expect("a name"))
            })
            .collect();
        assert!(wanting.is_empty(), "{wanting:#?}");
        assert_eq!(said.code, Some(0));
        let words = ground.in_words().await;
        let is_fast = findings.iter().all(|finding| finding["level"] == "ok");
        assert!(!is_fast || words.ends_with("\nAll is well.\n"), "{words}");
    }
}
