//! Reading what is in `dashboards/`: JSON and YAML.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Names of the dashboards' files.
pub(super) const DASHBOARDS: [&str; 2] = ["overview", "internals"];

/// A query, and where it stands.
#[derive(Debug)]
pub(super) struct Query {
    /// File and title.
    pub(super) place: String,
    /// As it is written.
    pub(super) expr: String,
}

/// A rule of `alerts.yaml`.
#[derive(Debug)]
pub(super) struct Rule {
    /// `alert` or `record`.
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) expr: String,
    pub(super) severity: String,
    pub(super) summary: String,
    pub(super) runbook_url: String,
}

pub(super) fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(super) fn dashboard(name: &str) -> Value {
    serde_json::from_str(&text(&format!("{name}.json"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(super) fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Panels that show something; rows are none.
pub(super) fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// Every query of a dashboard's panels.
pub(super) fn panel_queries(name: &str) -> Vec<Query> {
    let dashboard = dashboard(name);
    let mut queries = Vec::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().expect("targets") {
            let expr = target["expr"].as_str().expect("an expr").to_owned();
            queries.push(Query { place: format!("{name}: {}", panel["title"]), expr });
        }
    }
    queries
}

/// Every query of a dashboard's annotations.
pub(super) fn annotation_queries(name: &str) -> Vec<Query> {
    let dashboard = dashboard(name);
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    let query = |annotation: &Value| Query {
        place: format!("{name}: annotation {}", annotation["name"]),
        expr: annotation["expr"].as_str().expect("an expr").to_owned(),
    };
    annotations.iter().map(query).collect()
}

/// The rules, in their order.
pub(super) fn rules() -> Vec<Rule> {
    let groups = yaml("alerts.yaml")["groups"].clone();
    let rules = groups.as_array().expect("groups").iter().flat_map(|group| {
        group["rules"].as_array().expect("rules").iter().map(|rule| {
            let kind = if rule.get("alert").is_some() { "alert" } else { "record" };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Rule {
                kind: kind.to_owned(),
                name: text(&rule[kind]),
                expr: text(&rule["expr"]),
                severity: text(&rule["labels"]["severity"]),
                summary: text(&rule["annotations"]["summary"]),
                runbook_url: text(&rule["annotations"]["runbook_url"]),
            }
        })
    });
    rules.collect()
}

/// Every query there is.
pub(super) fn all_queries() -> Vec<Query> {
    let of_rules = rules().into_iter().map(|rule| Query { place: rule.name, expr: rule.expr });
    let of_dashboards = DASHBOARDS.iter().flat_map(|name| {
        let mut queries = panel_queries(name);
        queries.extend(annotation_queries(name));
        queries
    });
    of_dashboards.chain(of_rules).collect()
}
