//! An example of each route's request and answer, for the API document. A test holds them against its schemas.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

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

/// A problem document of this kind.
pub(super) fn problem(code: Code) -> Value {
    json!({
        "type": "about:blank",
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": format!("{}.", code.title()),
        "code": code.as_str(),
    })
}
