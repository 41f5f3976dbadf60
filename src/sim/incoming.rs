//! A call as it comes in over either face, and how PVE reads its parameters.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reply::Reply;
use crate::pve::{Method, Request};

/// A call whose head and body were read, before anything in it was judged.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// HTTP method.
    pub method: String,
    /// Path below `/api2/json`, percent-encoded.
    pub path: String,
    /// Query, percent-encoded, without the question mark.
    pub query: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// Parameters by name; where a name is given twice, the last wins.
pub(super) type Params = BTreeMap<String, String>;

impl Incoming {
    /// The call that a client would send for a typed request.
    pub(super) fn from_request(request: &Request, authorization: &str) -> Self {
        let encoded = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(request.params.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .finish();
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        let mut incoming = Self {
            method: method.to_owned(),
            path: request.path.clone(),
            authorization: Some(authorization.to_owned()),
            ..Self::default()
        };
        match request.method {
            Method::Get | Method::Delete => incoming.query = encoded,
            Method::Post | Method::Put => {
                incoming.content_type = Some("application/x-www-form-urlencoded".to_owned());
                incoming.body = encoded.into_bytes();
            }
        }
        incoming
    }

    /// Query and body together, the query winning; or PVE's complaint about the body.
    pub(super) fn params(&self) -> Result<Params, Reply> {
        let mut params = match self.content_type.as_deref() {
            _ if self.method == "GET" || self.method == "DELETE" => {
                if !self.body.is_empty() {
                    let text = format!("Unexpected content for method '{}'", self.method);
                    return Err(Reply::text(501, &text));
                }
                Params::new()
            }
            Some(kind) if kind.starts_with("application/json") => json_params(&self.body)?,
            Some(kind) if kind.starts_with("application/x-www-form-urlencoded") => pairs(&self.body),
            None => pairs(&self.body),
            Some(_) if self.body.is_empty() => Params::new(),
            Some(kind) => {
                return Err(Reply::text(506, &format!("upload 'Content-Type '{kind}' not implemented")));
            }
        };
        params.extend(pairs(self.query.as_bytes()));
        Ok(params)
    }

    /// The path without percent-encoding, as messages show it.
    pub(super) fn plain_path(&self) -> String {
        percent_encoding::percent_decode_str(&self.path).decode_utf8_lossy().into_owned()
    }
}

fn pairs(encoded: &[u8]) -> Params {
    url::form_urlencoded::parse(encoded)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

fn json_params(body: &[u8]) -> Result<Params, Reply> {
    let malformed = |offset: usize| {
        let rest = String::from_utf8_lossy(body.get(offset..).unwrap_or_default()).into_owned();
        let rest = if rest.is_empty() { "(end of string)" } else { &rest };
        Reply::text(
            500,
            &format!(
                "malformed JSON string, neither tag, array, object, number, string or atom, at character \
                 offset {offset} (before \"{rest}\") at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934."
            ),
        )
    };
    let object: serde_json::Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
        malformed(if error.is_eof() { body.len() } else { error.column().saturating_sub(1).min(body.len()) })
    })?;
    Ok(object
        .into_iter()
        .map(|(name, value)| {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(flag) => u8::from(flag).to_string(),
                Value::Null => String::new(),
                Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
            };
            (name, text)
        })
        .collect())
}
