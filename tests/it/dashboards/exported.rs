//! What is asked for is exported, and what is exported is asked for.
//!
//! That the catalogue is what a scrape has, the tests of `metrics` say.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::Matcher;
use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::http::routes;
use sandbox_pool::metrics::names::{FAMILIES, Family, Kind, family};
use sandbox_pool::metrics::tally::Tally;
use sandbox_pool::pve;

use super::files::{all_queries, rules};
use super::promql::selectors;

/// Labels that Prometheus adds itself.
const TARGET: [&str; 2] = ["job", "instance"];

/// The metric that a sample belongs to.
fn family_of(sample: &str) -> Option<&'static Family> {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| sample.strip_suffix(suffix));
    let histogram = base.and_then(family).filter(|family| matches!(family.kind, Kind::Histogram(_)));
    histogram.or_else(|| family(sample).filter(|family| !matches!(family.kind, Kind::Histogram(_))))
}

/// Whether a metric is made by Prometheus: the scrape's own, or recorded by a rule.
fn is_made_by_prometheus(name: &str) -> bool {
    name == "up" || rules().iter().any(|rule| rule.kind == "record" && rule.name == name)
}

#[test]
fn what_is_asked_for_is_exported() {
    for query in all_queries() {
        for selector in selectors(&query.expr) {
            if is_made_by_prometheus(&selector.name) {
                continue;
            }
            let family = family_of(&selector.name);
            let family = family.unwrap_or_else(|| panic!("{}: no {}", query.place, selector.name));
            for matcher in &selector.matchers {
                let label = &*matcher.name;
                let of_bucket = label == "le" && selector.name.ends_with("_bucket");
                let known = family.labels.contains(&label) || TARGET.contains(&label) || of_bucket;
                assert!(known, "{}: {} has no label {label}", query.place, selector.name);
            }
        }
    }
}

#[test]
fn what_is_exported_is_asked_for() {
    let asked: BTreeSet<String> = all_queries()
        .iter()
        .flat_map(|query| selectors(&query.expr))
        .filter_map(|selector| family_of(&selector.name).map(|family| family.name.to_owned()))
        .collect();
    for family in FAMILIES {
        assert!(asked.contains(family.name), "nobody asks for {}", family.name);
    }
}

/// Label values that can be foreseen, series by series.
fn foreseen() -> BTreeMap<String, Vec<BTreeMap<&'static str, String>>> {
    let mut tally = Tally::default();
    tally.meet(Vmid(9009));
    let counted = tally.counters.keys().chain(tally.spreads.keys());
    let mut foreseen: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut add = |name: &str, values: Vec<String>| {
        let labels = family(name).expect("a metric").labels;
        let series = labels.iter().copied().zip(values).collect();
        foreseen.entry(name.to_owned()).or_default().push(series);
    };
    for series in counted {
        add(&series.name, series.values.iter().map(ToString::to_string).collect());
    }
    for (route, code) in routes::answers() {
        add("sandbox_pool_http_requests_total", vec![route, code.to_string()]);
    }
    for call in pve::CALLS {
        for outcome in pve::Outcome::ALL {
            let values = vec![(*call).to_owned(), outcome.as_str().to_owned()];
            add("sandbox_pool_pve_requests_total", values);
        }
    }
    foreseen
}

#[test]
fn words_that_are_asked_for_are_words_that_are_used() {
    let foreseen = foreseen();
    for query in all_queries() {
        for selector in selectors(&query.expr) {
            let Some(family) = family_of(&selector.name) else { continue };
            let Some(series) = foreseen.get(family.name) else { continue };
            let matches = |values: &BTreeMap<&str, String>| {
                let fits = |matcher: &Matcher| {
                    values.get(&*matcher.name).is_none_or(|value| matcher.is_match(value))
                };
                selector.matchers.iter().all(fits)
            };
            assert!(series.iter().any(matches), "{}: nothing is {selector:?}", query.place);
        }
    }
}

#[test]
fn bounds_that_are_asked_for_are_bounds_of_buckets() {
    let mut seen = 0;
    for query in all_queries() {
        for selector in selectors(&query.expr) {
            let Some(Family { kind: Kind::Histogram(bounds), .. }) = family_of(&selector.name) else {
                continue;
            };
            for matcher in selector.matchers.iter().filter(|matcher| matcher.name == "le") {
                // Prometheus 3 writes 5 as 5.0.
                for form in [|bound: &f64| format!("{bound}"), |bound: &f64| format!("{bound:?}")] {
                    let fits = bounds.iter().any(|bound| matcher.is_match(&form(bound)));
                    assert!(fits, "{}: {matcher:?}", query.place);
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}
