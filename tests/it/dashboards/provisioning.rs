//! What Grafana and Prometheus are started with: what one file names, another has.

use serde_json::Value;

use super::files::{DASHBOARDS, dashboard, rules, text, yaml};

fn one<'a>(file: &'a Value, list: &str) -> &'a Value {
    let list = file[list].as_array().unwrap_or_else(|| panic!("no {list} in {file}"));
    assert_eq!(list.len(), 1, "{list:?}");
    &list[0]
}

#[test]
fn grafana_finds_the_dashboards_in_a_directory() {
    let file = yaml("provisioning/dashboards.yaml");
    let provider = one(&file, "providers");
    assert_eq!((&file["apiVersion"], &provider["type"]), (&Value::from(1), &Value::from("file")));
    let path = provider["options"]["path"].as_str().expect("a path");
    assert!(
        text("README.md").contains(&format!("$PWD/dashboards:{path}:ro")),
        "the README mounts them elsewhere"
    );
}

#[test]
fn grafana_asks_the_prometheus_that_scrapes() {
    let file = yaml("provisioning/datasource.yaml");
    let source = one(&file, "datasources");
    assert_eq!((&file["apiVersion"], &source["type"]), (&Value::from(1), &Value::from("prometheus")));
    let scrape = &yaml("provisioning/prometheus.yaml")["global"]["scrape_interval"];
    assert_eq!(&source["jsonData"]["timeInterval"], scrape, "what $__rate_interval is derived from");
    for name in DASHBOARDS {
        let variables = dashboard(name)["templating"]["list"].as_array().expect("variables").clone();
        assert!(
            variables.iter().any(|it| it["type"] == "datasource" && it["query"] == source["type"]),
            "{name}"
        );
    }
}

#[test]
fn prometheus_scrapes_the_job_that_the_rules_and_dashboards_ask_for() {
    let file = yaml("provisioning/prometheus.yaml");
    let job = one(&file, "scrape_configs")["job_name"].as_str().expect("a name").to_owned();
    let down = rules().into_iter().find(|rule| rule.name == "Down").expect("the alert");
    assert!(down.expr.contains(&format!("job=\"{job}\"")), "{}", down.expr);
    assert_eq!(one(&file, "rule_files"), "../alerts.yaml");
}
