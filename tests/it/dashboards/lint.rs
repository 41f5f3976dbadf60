//! What Grafana's dashboard linter asks for, and what we ask for beside it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::files::{DASHBOARDS, annotation_queries, dashboard, panel_queries, panels, text};
use super::promql::selectors;

/// Units of Grafana that we use.
const UNITS: [&str; 7] = ["short", "s", "percentunit", "reqps", "bytes", "Bps", "none"];

fn each(check: impl Fn(&str, &Value)) {
    for name in DASHBOARDS {
        check(name, &dashboard(name));
    }
}

fn variable<'a>(dashboard: &'a Value, name: &str) -> &'a Value {
    let list = dashboard["templating"]["list"].as_array().expect("variables");
    list.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("no variable {name}"))
}

#[test]
fn a_dashboard_is_fixed_and_current() {
    each(|name, dashboard| {
        assert_eq!(dashboard["uid"], format!("sandbox-pool-{name}"));
        assert_eq!(dashboard["editable"], false, "{name}");
        assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 41), "{name}");
        for field in ["title", "description"] {
            assert!(dashboard[field].as_str().is_some_and(|text| !text.is_empty()), "{name}: {field}");
        }
        assert!(dashboard.get("id").is_none(), "{name}: an id is the database's, not the file's");
        let links = dashboard["links"].as_array().expect("links");
        let others: Vec<_> = DASHBOARDS.iter().filter(|other| **other != name).collect();
        for other in others {
            let url = format!("/d/sandbox-pool-{other}");
            assert!(links.iter().any(|link| link["url"] == url), "{name} does not lead to {other}");
        }
    });
}

#[test]
fn variables_are_what_the_linter_expects() {
    each(|name, dashboard| {
        let source = variable(dashboard, "datasource");
        assert_eq!((&source["type"], &source["query"]), (&json!("datasource"), &json!("prometheus")));
        assert_eq!(source["label"], "Data source", "{name}");
        for (variable_name, label) in [("job", "Job"), ("instance", "Instance"), ("template", "Template")] {
            let variable = variable(dashboard, variable_name);
            assert_eq!(variable["type"], "query", "{name}: {variable_name}");
            assert_eq!(variable["label"], label, "{name}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}: {variable_name}");
            assert_eq!(variable["multi"], true, "{name}: {variable_name}");
            assert_eq!(variable["allValue"], ".+", "{name}: {variable_name}");
            assert_eq!(variable["refresh"], 2, "{name}: {variable_name} follows the time range");
            let query = variable["query"]["query"].as_str().expect("a query");
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(", "));
            let (metric, of) = inner.expect("label_values(metric, label)");
            assert_eq!(of, format!("{variable_name})"));
            assert_eq!(selectors(metric).len(), 1);
        }
    });
}

/// Whether a label is left in what a query gives.
fn keeps(expr: &str, label: &str) -> bool {
    let mut kept = expr.split(" by (").skip(1).filter_map(|rest| rest.split(')').next()).peekable();
    let aggregates = ["sum ", "sum(", "max ", "min ", "count("].iter().any(|word| expr.contains(word));
    match kept.peek() {
        Some(_) => kept.all(|labels| labels.split(", ").any(|it| it == label)),
        None => !aggregates,
    }
}

#[test]
fn a_panel_says_what_it_shows() {
    each(|name, dashboard| {
        let mut titles = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in panels(dashboard) {
            let title = panel["title"].as_str().expect("a title");
            let place = format!("{name}: {title}");
            assert!(!title.is_empty() && titles.insert(title), "{place}: titles tell panels apart");
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{place}");
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{place}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(UNITS.contains(&defaults["unit"].as_str().expect("a unit")), "{place}");
            let steps = defaults["thresholds"]["steps"].as_array().expect("thresholds");
            assert!(steps.first().is_some_and(|step| step["value"].is_null()), "{place}");
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{place}");
            for target in targets {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{place}");
                let legend = target["legendFormat"].as_str().expect("a legend");
                assert!(!legend.is_empty(), "{place}");
                let expr = target["expr"].as_str().expect("an expr");
                for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                    assert!(keeps(expr, label), "{place}: the legend has {label}, and the query has not");
                }
            }
        }
    });
}

#[test]
fn panels_do_not_cover_each_other() {
    each(|name, dashboard| {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let of = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            assert!(of("x") + of("w") <= 24, "{name}: {}", panel["title"]);
            for x in of("x")..of("x") + of("w") {
                for y in of("y")..of("y") + of("h") {
                    assert!(taken.insert((x, y)), "{name}: {} lies on another", panel["title"]);
                }
            }
        }
    });
}

#[test]
fn every_query_is_of_the_chosen_jobs_and_instances() {
    for name in DASHBOARDS {
        for query in panel_queries(name).into_iter().chain(annotation_queries(name)) {
            for selector in selectors(&query.expr) {
                for label in ["job", "instance"] {
                    let chosen = |it: &&promql_parser::label::Matcher| it.name == label && it.value == ".+";
                    assert!(selector.matchers.iter().any(|it| chosen(&it)), "{}: {label}", query.place);
                }
            }
            assert_eq!(query.expr.matches("job=").count(), query.expr.matches("job=~\"$job\"").count());
            let instances = query.expr.matches("instance=~\"$instance\"").count();
            assert_eq!(query.expr.matches("instance=").count(), instances, "{}", query.place);
        }
    }
}

#[test]
fn rates_go_over_an_interval_that_grafana_chooses() {
    for name in DASHBOARDS {
        for query in panel_queries(name) {
            for range in query.expr.split('[').skip(1) {
                let range = range.split(']').next().unwrap_or_default();
                assert!(["$__rate_interval", "$__range"].contains(&range), "{}: [{range}]", query.place);
            }
        }
    }
}

#[test]
fn links_lead_to_runbooks() {
    let readme = text("README.md");
    each(|name, dashboard| {
        for panel in panels(dashboard) {
            for link in panel["links"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let url = link["url"].as_str().expect("a url");
                let anchor = url.strip_prefix("${runbooks}#").expect("a runbook");
                let heading = readme.lines().filter_map(|line| line.strip_prefix("### "));
                assert!(heading.map(str::to_lowercase).any(|it| it == anchor), "{name}: {url}");
            }
        }
        let annotated = dashboard["annotations"]["list"].as_array().expect("annotations");
        assert!(annotated.iter().all(|it| it["datasource"]["uid"] == "${datasource}"), "{name}");
    });
}
