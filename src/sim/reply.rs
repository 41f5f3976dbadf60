//! The forms of PVE's answers: status, reason phrase, body, and what becomes of the connection.

use serde_json::{Value, json};

/// One answer, before it is bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// Reason phrase: the first line of the message.
    pub reason: String,
    /// Body.
    pub body: Body,
    /// What becomes of the connection.
    pub connection: Connection,
}

/// Bodies that PVE sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None, and no Content-Length.
    Absent,
    /// `application/json;charset=UTF-8`.
    Json(Value),
    /// Text without a Content-Type.
    Text(String),
}

/// What PVE does with the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Kept open: answers that the front end gives itself.
    Kept,
    /// Says both `close` and `Keep-Alive`, and closes: answers of the privileged daemon.
    Proxied,
    /// Closed: everything from 400.
    Closed,
}

impl Reply {
    /// 200 with a whole JSON document.
    pub(super) fn ok(document: Value, connection: Connection) -> Self {
        Self { status: 200, reason: "OK".to_owned(), body: Body::Json(document), connection }
    }

    /// An error in PVE's JSON form, whose message ends in a newline.
    pub(super) fn refused(status: u16, message: &str) -> Self {
        Self::error(status, message, json!({ "data": null, "message": format!("{message}\n") }))
    }

    /// 400 with what is wrong with which parameter.
    pub(super) fn parameters(errors: &[(String, String)]) -> Self {
        let errors: serde_json::Map<String, Value> =
            errors.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let message = "Parameter verification failed.";
        Self::error(
            400,
            message,
            json!({ "data": null, "message": format!("{message}\n"), "errors": errors }),
        )
    }

    /// 501 for a path or verb that does not exist: the message without a newline.
    pub(super) fn not_implemented(method: &str, path: &str) -> Self {
        let message = format!("Method '{method} {path}' not implemented");
        Self::error(501, &message, json!({ "data": null, "message": message }))
    }

    /// An error without any body.
    pub(super) fn bare(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned(), body: Body::Absent, connection: Connection::Closed }
    }

    /// An error as plain text.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { body: Body::Text(text.to_owned()), ..Self::bare(status, text) }
    }

    /// An error in the form that PVE gives to its status code.
    pub(super) fn with_status(status: u16, reason: &str) -> Self {
        match status {
            401 | 595..=599 => Self::bare(status, reason),
            506 => Self::text(status, reason),
            _ => Self::refused(status, reason),
        }
    }

    fn error(status: u16, message: &str, document: Value) -> Self {
        Self { body: Body::Json(document), ..Self::bare(status, message.lines().next().unwrap_or_default()) }
    }

    /// The body as bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Absent => Vec::new(),
            Body::Json(document) => document.to_string().into_bytes(),
            Body::Text(text) => text.clone().into_bytes(),
        }
    }
}

/// How a call ends, seen from the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With an answer.
    Answered(Reply),
    /// No connection was had.
    NotSent,
    /// The connection broke without an answer.
    Dropped,
}

/// Why a call does not go on at present.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is refused.
    Refused(Reply),
    /// It needs the file lock of this container, which a task holds.
    FileLock(u32),
}

impl Halt {
    /// A refusal in PVE's usual form: 500 and a text.
    pub(super) fn because(message: impl AsRef<str>) -> Self {
        Self::Refused(Reply::refused(500, message.as_ref()))
    }

    /// 403 with the path and privileges that are missing.
    pub(super) fn forbidden(detail: &str) -> Self {
        Self::Refused(Reply::refused(403, &format!("Permission check failed ({detail})")))
    }

    /// 400 for one parameter.
    pub(super) fn parameter(name: &str, text: &str) -> Self {
        Self::Refused(Reply::parameters(&[(name.to_owned(), text.to_owned())]))
    }
}

/// What a call comes to: a whole JSON document, or a halt.
pub(super) type Done = Result<Value, Halt>;

/// The document of an answer with nothing but data.
#[expect(clippy::needless_pass_by_value, reason = "callers build the value in place")]
pub(super) fn data(value: Value) -> Value {
    json!({ "data": value })
}
