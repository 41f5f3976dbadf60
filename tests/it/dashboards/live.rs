//! With a real Prometheus that scrapes the service under load: every panel shows something, every rule can.

use std::time::Duration;

use serde_json::Value;

use super::files::{DASHBOARDS, panel_queries, rules};
use super::promql::{filled_in, selectors};

/// How long Prometheus may take until everything was scraped often enough.
const PATIENCE: Duration = Duration::from_secs(90);

struct Prometheus {
    address: String,
    client: reqwest::Client,
}

impl Prometheus {
    fn of_environment() -> Self {
        let address = std::env::var("PROMETHEUS_URL").expect("PROMETHEUS_URL");
        // Nothing here is reached over TLS, but the client wants to know how it would be.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { address, client: reqwest::Client::new() }
    }

    async fn get(&self, path: &str, query: &str) -> Value {
        let url = url::Url::parse_with_params(&format!("{}{path}", self.address), [("query", query)]);
        let answer = self.client.get(url.expect("an address")).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"].clone()
    }

    /// Whether a query has a result that is a number.
    async fn has_data(&self, query: &str) -> bool {
        let data = self.get("/api/v1/query", query).await;
        let rows = data["result"].as_array().expect("rows");
        rows.iter().any(|row| row["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }

    /// Waits until a query has data.
    async fn until_data(&self, place: &str, query: &str) {
        let asking = async {
            while !self.has_data(query).await {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, asking).await;
        assert!(outcome.is_ok(), "{place} has no data: {query}");
    }
}

/// Scrapes come each second there.
fn quick(expr: &str) -> String {
    filled_in(expr).replace("[5m]", "[15s]").replace("[3h]", "[1m]")
}

#[tokio::test]
#[ignore = "needs a Prometheus that scrapes the service: .ci/prometheus"]
async fn every_panel_and_every_rule_has_data() {
    let prometheus = Prometheus::of_environment();
    let load = "sum(sandbox_pool_allocation_duration_seconds_count{result=\"completed\"}) >= 10";
    prometheus.until_data("the load", load).await;
    let with_endpoint = prometheus.has_data("sandbox_pool_webhook_enabled").await;
    assert!(
        with_endpoint || std::env::var_os("WITH_ENDPOINT").is_none(),
        "the service has no webhook endpoint"
    );
    for name in DASHBOARDS {
        for query in panel_queries(name) {
            if with_endpoint || !query.expr.contains("sandbox_pool_webhook_") {
                prometheus.until_data(&query.place, &quick(&query.expr)).await;
            }
        }
    }
    for rule in rules() {
        for selector in selectors(&rule.expr) {
            if with_endpoint || !selector.name.contains("_webhook_") {
                let matchers: Vec<_> = selector.matchers.iter().map(ToString::to_string).collect();
                let query = format!("{}{{{}}}", selector.name, matchers.join(","));
                prometheus.until_data(&rule.name, &query).await;
            }
        }
    }
    let groups = prometheus.get("/api/v1/rules", "").await;
    for group in groups["groups"].as_array().expect("groups") {
        for rule in group["rules"].as_array().expect("rules") {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
}
