//! From a request to its parts: path, query and JSON body, each wrong one named with what was expected.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use url::form_urlencoded;
use warp::http::HeaderMap;
use warp::http::header::CONTENT_TYPE;

use super::codes::Code;
use super::errors::{FieldError, Problem};
use super::limits::Limits;
use crate::desk::Call;
use crate::domain::ids::{Seq, Vmid};

/// Longest name of an instance in a query: longer than any that the pool knows.
pub(super) const LONGEST_INSTANCE: usize = 255;

/// The id of a request, made when its head was read.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// A request that was admitted.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) parts: Vec<(&'static str, String)>,
    pub(super) query: Query,
    pub(super) body: Bytes,
}

impl Asked {
    /// The VMID in the path.
    pub(super) fn vmid(&self) -> Result<Vmid, Problem> {
        let Some((name, text)) = self.parts.first() else {
            return Err(Problem::new(Code::Internal, "the route has no VMID"));
        };
        text.parse()
            .map_err(|expected: crate::domain::ids::InvalidId| Problem::field(*name, expected.to_string()))
    }

    /// Who asks, and whether it is meant.
    pub(super) fn call(&self) -> Result<Call, Problem> {
        let dry_run = self.query.flag("dry_run")?.unwrap_or(false);
        Ok(Call { request_id: self.id.0.to_string(), dry_run })
    }

    /// The `min_seq` that a read waits for.
    pub(super) fn min_seq(&self) -> Result<Seq, Problem> {
        Ok(Seq(self.query.number("min_seq", 0, u64::MAX)?.unwrap_or(0)))
    }

    /// The body as a JSON object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Problem> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Problem::field("body", "expected a JSON object")),
            Err(error) => Err(Problem::field("body", format!("expected JSON: {error}"))),
        }
    }
}

/// Query parameters; of one that is given twice, the last counts.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The value; an empty one counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter that may be given several times; an empty one counts as absent.
    pub(super) fn each(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// A truth value in any of the spellings that Python services take.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => Err(Problem::field(name, "expected true or false")),
        }
    }

    /// A whole number from `low` to `high`.
    pub(super) fn number(&self, name: &str, low: u64, high: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (low..=high).contains(number));
        number.map(Some).ok_or_else(|| Problem::field(name, whole_number(low, high)))
    }

    /// A VMID.
    pub(super) fn vmid(&self, name: &str) -> Result<Option<Vmid>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<Vmid>() {
            Ok(vmid) => Ok(Some(vmid)),
            Err(expected) => Err(Problem::field(name, expected.to_string())),
        }
    }

    /// Refuses parameters other than these: a misspelt filter would filter nothing.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let unknown = self.0.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let expected = format!("no such parameter; expected {}", known.join(", "));
        let errors: Vec<_> = unknown
            .map(|(name, _)| FieldError { field: shortened(name), expected: expected.clone() })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }
}

/// Fields of a JSON object, taken one by one; everything that is wrong is reported together.
pub(super) struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    pub(super) fn of(object: Map<String, Value>) -> Self {
        Self { object, errors: Vec::new() }
    }

    /// The value of a field; null counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A whole number from `low` to `high`, also as a text of digits.
    pub(super) fn number(&mut self, name: &str, low: u64, high: u64) -> Option<u64> {
        let value = self.take(name)?;
        let number = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let number = number.filter(|number| (low..=high).contains(number));
        if number.is_none() {
            self.wrong(name, whole_number(low, high));
        }
        number
    }

    /// Notes that a field is wrong.
    pub(super) fn wrong(&mut self, field: impl Into<String>, expected: impl Into<String>) {
        self.errors.push(FieldError { field: field.into(), expected: expected.into() });
    }

    /// Notes that the fields not taken so far are wrong.
    pub(super) fn nothing_else(&mut self, known: &str) {
        for name in std::mem::take(&mut self.object).into_iter().map(|(name, _)| name) {
            self.wrong(shortened(&name), format!("no such field; expected {known}"));
        }
    }

    /// `value`, unless something was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Problem> {
        if self.errors.is_empty() { Ok(value) } else { Err(Problem::invalid(self.errors)) }
    }
}

/// Reads a body within its limits of size and time. JSON, or of no stated type.
pub(super) async fn read_body<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
    limits: &Limits,
    large_bodies: &Semaphore,
) -> Result<Bytes, Problem> {
    if !headers.get_all(CONTENT_TYPE).iter().all(|value| value.to_str().is_ok_and(is_json)) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "the body must be JSON: send `Content-Type: application/json`",
        ));
    }
    let read = read_within(body, limits, large_bodies);
    match tokio::time::timeout(limits.body_timeout, read).await {
        Ok(read) => read,
        Err(_) => Err(Problem::new(Code::RequestTimeout, within(limits.body_timeout))),
    }
}

async fn read_within<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    limits: &Limits,
    large_bodies: &Semaphore,
) -> Result<Bytes, Problem> {
    let limit = limits.max_body_bytes;
    let mut body = std::pin::pin!(body);
    let (mut read, mut room) = (BytesMut::new(), None);
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|error| Problem::field("body", format!("expected a whole body: {error}")))?;
        if read.len() + chunk.remaining() > limit {
            return Err(Problem::new(
                Code::PayloadTooLarge,
                format!("the body is larger than {limit} bytes"),
            ));
        }
        if room.is_none() && read.len() + chunk.remaining() > limits.small_body_bytes {
            let many = "many large bodies are on their way at the moment";
            let full = |_| Problem::new(Code::Overloaded, many).retry_after(Duration::from_secs(1));
            room = Some(large_bodies.try_acquire().map_err(full)?);
            // What grows by doubling would hold twice the limit.
            read.reserve(limit - read.len());
        }
        read.extend_from_slice(chunk.chunk());
        // A chunk of warp's is one slice; whatever a future one has behind it is not to be lost.
        let mut rest = chunk;
        rest.advance(rest.chunk().len());
        read.extend_from_slice(&rest.copy_to_bytes(rest.remaining()));
    }
    Ok(read.freeze())
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn within(limit: Duration) -> String {
    format!("the body did not come within {} s", limit.as_secs_f32())
}

fn whole_number(low: u64, high: u64) -> String {
    if high == u64::MAX {
        format!("expected a whole number from {low}")
    } else {
        format!("expected a whole number from {low} to {high}")
    }
}

/// A name that a caller chose, short enough to be repeated.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
