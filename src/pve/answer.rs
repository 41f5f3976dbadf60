//! Reads PVE's answers, as tolerantly as Perl writes them.
//!
//! An answer may be JSON, text or nothing; a boolean 0, "1" or absent; a number a string; keys come in any
//! order. A success that cannot be understood is an error: it must never look like an empty list.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::error::{Error, classify, one_line};
use super::{Answer, task};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Node, Upid, Vmid};
use crate::domain::time::Timestamp;

/// The `data` of a success; null where PVE says nothing.
pub(super) fn data(call: &str, answer: &Answer) -> Result<Value, Error> {
    if !(200..300).contains(&answer.status) {
        return Err(refusal(call, answer));
    }
    let unreadable = || Error { status: Some(answer.status), ..Error::unreadable(call, "a body of JSON") };
    let mut body: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    Ok(body.remove("data").unwrap_or_default())
}

/// The error that an answer of another status is.
fn refusal(call: &str, answer: &Answer) -> Error {
    let body: Map<String, Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
    let errors: BTreeMap<String, String> = match body.get("errors") {
        Some(Value::Object(errors)) => {
            errors.iter().map(|(field, error)| (field.clone(), one_line(&words(error)))).collect()
        }
        _ => BTreeMap::new(),
    };
    let message = [
        body.get("message").and_then(Value::as_str).map(one_line).unwrap_or_default(),
        one_line(&answer.reason),
        if body.is_empty() {
            beginning(&one_line(&String::from_utf8_lossy(&answer.body)))
        } else {
            String::new()
        },
        format!("status {} without a word", answer.status),
    ]
    .into_iter()
    .find(|message| !message.is_empty())
    .unwrap_or_default();
    let kind: FaultKind = classify(answer.status, &message, &errors);
    let message = if errors.is_empty() {
        message
    } else {
        errors.iter().map(|(field, error)| format!("{field}: {error}")).collect::<Vec<_>>().join("; ")
    };
    Error { kind, call: call.to_owned(), status: Some(answer.status), message }
}

/// As much of a text body as a message needs: the rest of a proxy's page helps nobody.
fn beginning(text: &str) -> String {
    text.chars().take(500).collect()
}

/// A JSON value as a person would write it.
fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One object of an answer, and the call that it answers.
pub(super) struct Row {
    call: String,
    fields: Map<String, Value>,
}

/// The objects of a list.
pub(super) fn rows(call: &str, data: Value) -> Result<Vec<Row>, Error> {
    match data {
        Value::Array(items) => items.into_iter().map(|item| row(call, item)).collect(),
        _ => Err(Error::unreadable(call, "a list")),
    }
}

/// An answer that is one object.
pub(super) fn row(call: &str, data: Value) -> Result<Row, Error> {
    match data {
        Value::Object(fields) => Ok(Row { call: call.to_owned(), fields }),
        _ => Err(Error::unreadable(call, "an object")),
    }
}

/// An answer that names the task which does the work.
pub(super) fn upid(call: &str, data: Value) -> Result<Upid, Error> {
    match data {
        Value::String(text) if task::parse(&text).is_some() => Ok(Upid(text)),
        _ => Err(Error::unreadable(call, "a UPID")),
    }
}

impl Row {
    /// A text that is there and not empty.
    pub(super) fn text(&self, field: &str) -> Option<String> {
        match self.fields.get(field)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A text without which the row means nothing.
    pub(super) fn needed_text(&self, field: &str) -> Result<String, Error> {
        self.text(field).ok_or_else(|| self.without(field))
    }

    /// A truth value, if the field is there and is one.
    pub(super) fn flag(&self, field: &str) -> Option<bool> {
        match self.fields.get(field)? {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => Some(number.as_f64() != Some(0.0)),
            Value::String(text) => match text.as_str() {
                "" | "0" | "false" | "no" | "off" => Some(false),
                "1" | "true" | "yes" | "on" => Some(true),
                _ => None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A truth value that PVE leaves out when it is false.
    pub(super) fn is_set(&self, field: &str) -> bool {
        self.flag(field).unwrap_or(false)
    }

    /// A whole number, if the field is there and is one.
    pub(super) fn number(&self, field: &str) -> Option<u64> {
        match self.fields.get(field)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The guest that the row is about.
    pub(super) fn vmid(&self) -> Result<Vmid, Error> {
        let number = self.number("vmid").and_then(|number| u32::try_from(number).ok());
        number.map(Vmid).ok_or_else(|| self.without("vmid"))
    }

    /// The node that the row is about.
    pub(super) fn node(&self) -> Result<Node, Error> {
        self.needed_text("node").map(Node)
    }

    /// An instant that PVE gives in seconds.
    pub(super) fn instant(&self, field: &str) -> Option<Timestamp> {
        let seconds = i64::try_from(self.number(field)?).ok()?;
        Some(Timestamp(seconds.checked_mul(1000)?))
    }

    /// The texts of fields that are numbered: `net0`, `net1` …
    pub(super) fn numbered(&self, stem: &str) -> BTreeMap<String, String> {
        let is_one =
            |field: &&String| field.strip_prefix(stem).is_some_and(|number| number.parse::<u16>().is_ok());
        let named = |field: &String| Some((field.clone(), self.text(field)?));
        self.fields.keys().filter(is_one).filter_map(named).collect()
    }

    /// The names in the object under `field`, which PVE leaves out when there are none.
    pub(super) fn names_under(&self, field: &str) -> BTreeSet<String> {
        match self.fields.get(field) {
            Some(Value::Object(inner)) => inner.keys().cloned().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn without(&self, field: &str) -> Error {
        Error::unreadable(&self.call, format_args!("`{field}`"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, reason: &str, body: &str) -> Answer {
        Answer { status, reason: reason.to_owned(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_refusal_has_pves_words_wherever_they_stand() {
        let locked = r#"{"data":null,"message":"CT is locked (disk)\n"}"#;
        let old = r#"{"data":null}"#;
        let field =
            r#"{"errors":{"vmid":"VM 200 already exists"},"message":"Parameter verification failed.\n"}"#;
        let two = r#"{"errors":{"b":"two\n","a":"one"},"message":"Parameter verification failed.\n"}"#;
        let text = "Unexpected content for method 'DELETE'";
        let token = "{\"data\":null,\"message\":\"Permission check failed (URI '/x' not available with API token, \
                     need proper ticket.\\n)\\n\"}";
        for (given, kind, message) in [
            (answer(500, "CT is locked (disk)", locked), FaultKind::Locked, "CT is locked (disk)"),
            (answer(500, "CT is locked (disk)", old), FaultKind::Locked, "CT is locked (disk)"),
            (answer(401, "Authentication failed!", ""), FaultKind::Unauthorized, "Authentication failed!"),
            (answer(596, "Connection timed out", ""), FaultKind::OutcomeUnknown, "Connection timed out"),
            (answer(400, "", field), FaultKind::VmidTaken, "vmid: VM 200 already exists"),
            (answer(400, "", two), FaultKind::Invalid, "a: one; b: two"),
            (answer(501, "", text), FaultKind::Unsupported, text),
            (answer(599, "", ""), FaultKind::OutcomeUnknown, "status 599 without a word"),
            (
                answer(403, "Permission check failed (URI", token),
                FaultKind::Forbidden,
                "Permission check failed (URI '/x' not available with API token, need proper ticket. )",
            ),
        ] {
            let error = data("GET /x", &given).expect_err("a refusal");
            assert_eq!((error.kind, error.message.as_str()), (kind, message), "{given:?}");
            assert_eq!(error.status, Some(given.status));
        }
    }

    #[test]
    fn a_success_that_cannot_be_read_is_an_error() {
        for body in ["", "{", "[]", "null", "<html>", r#""UPID""#] {
            let error = data("GET /x", &answer(200, "OK", body)).expect_err("a broken body");
            assert_eq!(error.kind, FaultKind::Unreadable, "{body}");
        }
        assert_eq!(data("PUT /x", &answer(200, "OK", r#"{"data":null}"#)), Ok(Value::Null));
        assert_eq!(rows("GET /x", Value::Null).err().map(|error| error.kind), Some(FaultKind::Unreadable));
        for data in [json!(null), json!("OK"), json!(7), json!("UPID:pve1:x")] {
            assert_eq!(upid("POST /x", data).err().map(|error| error.kind), Some(FaultKind::Unreadable));
        }
    }

    #[test]
    fn perls_values_are_read_whatever_their_type() {
        let row = row(
            "GET /x",
            json!({"a": 1, "b": "1", "c": 0, "d": "0", "e": true, "f": null, "g": "", "vmid": "201", "n": 7.5}),
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let flags = ["a", "b", "c", "d", "e", "f", "g", "absent"].map(|field| row.flag(field));
        assert_eq!(
            flags,
            [Some(true), Some(true), Some(false), Some(false), Some(true), None, Some(false), None]
        );
        assert_eq!((row.number("a"), row.number("b"), row.number("n")), (Some(1), Some(1), None));
        assert_eq!((row.text("a"), row.text("g"), row.text("f")), (Some("1".to_owned()), None, None));
        assert_eq!(row.vmid(), Ok(Vmid(201)));
        assert_eq!(row.node().map_err(|error| error.kind), Err(FaultKind::Unreadable));
    }
}
