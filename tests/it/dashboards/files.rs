//! Reading what is in `dashboards/`: JSON as it is, and the rules' YAML as regularly as it is written.

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
#[derive(Debug, Default)]
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
    let text = text("alerts.yaml");
    let mut rules: Vec<Rule> = Vec::new();
    let mut in_expr = false;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let trimmed = line.trim();
        if let Some((kind, name)) = trimmed.strip_prefix("- ").and_then(|rest| rest.split_once(": "))
            && ["alert", "record"].contains(&kind)
        {
            rules.push(Rule { kind: kind.to_owned(), name: name.to_owned(), ..Rule::default() });
            in_expr = false;
        } else if let Some(rule) = rules.last_mut() {
            if in_expr && depth >= 10 {
                rule.expr = format!("{}{trimmed}\n", rule.expr);
                continue;
            }
            in_expr = trimmed == "expr: |";
            let value = |key: &str| trimmed.strip_prefix(key).map(|rest| rest.trim_matches('"').to_owned());
            rule.severity = value("severity: ").unwrap_or_else(|| rule.severity.clone());
            rule.summary = value("summary: ").unwrap_or_else(|| rule.summary.clone());
            rule.runbook_url = value("runbook_url: ").unwrap_or_else(|| rule.runbook_url.clone());
        }
    }
    rules
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
