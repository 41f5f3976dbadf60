//! An example of each route's request and answer, and of each problem, for the API document. Tests hold them against
//! its schemas, and problems against what is really answered.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::codes::Code;
use super::routes::Route;

/// What is asked and answered when all goes well.
#[derive(Debug, Default, Deserialize)]
pub struct Example {
    /// The body of the request.
    pub request: Option<Value>,
    /// The body of the answer; a text where it is no JSON.
    pub response: Value,
}

static EXAMPLES: LazyLock<BTreeMap<String, Example>> =
    LazyLock::new(|| serde_json::from_str(include_str!("examples.json")).unwrap_or_default());

/// The example of a route.
pub fn of(route: &Route) -> Option<&'static Example> {
    EXAMPLES.get(&route.name())
}

static PROBLEMS: LazyLock<BTreeMap<String, Map<String, Value>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("problems.json")).unwrap_or_default());

/// A problem document of this kind, as it is answered.
pub(super) fn problem(code: Code) -> Value {
    let mut document = json!({
        "type": "about:blank",
        "title": code.title(),
        "status": code.status().as_u16(),
        "code": code.as_str(),
        "next_step": code.next_step(),
    });
    for (name, value) in PROBLEMS.get(code.as_str()).into_iter().flatten() {
        document[name] = value.clone();
    }
    document
}
