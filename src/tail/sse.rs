//! Reads server-sent events as strictly as the service writes them.
//!
//! A lenient reader hides a frame that some client would not see. Here a frame without data, a field that is
//! written twice or one that nobody knows is an error; comments are let pass, since proxies may add them.

use std::time::Duration;

/// No frame is longer: an event's metadata is a few kilobytes.
const LONGEST_FRAME: usize = 4 * 1024 * 1024;

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Where to go on from; empty in a `stream.opened` that a reset follows.
    pub id: String,
    /// What it is.
    pub event: String,
    /// One line of JSON.
    pub data: String,
}

/// Why something is no stream of the service's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stream of events of sandbox-pool: {0}")]
pub struct NotOurs(String);

/// Takes bytes as they come and gives whole frames.
#[derive(Debug, Default)]
pub struct Parser {
    unread: Vec<u8>,
    id: Option<String>,
    event: Option<String>,
    data: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// After which time to come back when the connection is lost.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The frames that end in `bytes`.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, NotOurs> {
        self.unread.extend_from_slice(bytes);
        let mut frames = Vec::new();
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[..end]).map_err(|_| wrong("a line is not UTF-8"))?;
            frames.extend(self.line(line)?);
            rest = &rest[end + 1..];
        }
        self.unread = rest.to_vec();
        if self.unread.len() > LONGEST_FRAME {
            return Err(wrong("a line does not end"));
        }
        Ok(frames)
    }

    fn line(&mut self, line: &str) -> Result<Option<Frame>, NotOurs> {
        if line.is_empty() {
            return self.frame();
        }
        if line.starts_with(':') {
            return Ok(None);
        }
        let Some((name, value)) = line.split_once(": ") else {
            return Err(wrong(&format!("a line is no field: {}", shortened(line))));
        };
        let field = match name {
            "id" => &mut self.id,
            "event" => &mut self.event,
            "data" => &mut self.data,
            "retry" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let Some(retry) = value.parse().ok().filter(|_| digits) else {
                    return Err(wrong(&format!("retry is no number: {}", shortened(value))));
                };
                self.retry = Some(Duration::from_millis(retry));
                return Ok(None);
            }
            other => return Err(wrong(&format!("an unknown field: {}", shortened(other)))),
        };
        if value.is_empty() || value.contains(['\r', '\0']) || field.is_some() {
            return Err(wrong(&format!("a field is empty, broken or there twice: {}", shortened(line))));
        }
        *field = Some(value.to_owned());
        Ok(None)
    }

    fn frame(&mut self) -> Result<Option<Frame>, NotOurs> {
        match (self.id.take(), self.event.take(), self.data.take()) {
            (id, Some(event), Some(data)) if id.is_some() || event == "stream.opened" => {
                Ok(Some(Frame { id: id.unwrap_or_default(), event, data }))
            }
            // A comment and its empty line.
            (None, None, None) => Ok(None),
            parts => Err(wrong(&format!("a frame lacks a part: {}", shortened(&format!("{parts:?}"))))),
        }
    }
}

fn wrong(what: &str) -> NotOurs {
    NotOurs(what.to_owned())
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let text =
            ": hello\n\nretry: 2000\nid: a.1\nevent: x\ndata: {\"é\":1}\n\nid: a.2\nevent: y\ndata: {}\n\n";
        let frame = |id: &str, event: &str, data: &str| Frame {
            id: id.to_owned(),
            event: event.to_owned(),
            data: data.to_owned(),
        };
        let expected = [frame("a.1", "x", "{\"é\":1}"), frame("a.2", "y", "{}")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut frames = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                frames.extend(parser.push(chunk).unwrap());
            }
            assert_eq!(frames, expected);
            assert_eq!(parser.retry(), Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn what_the_service_never_writes_is_refused() {
        for text in [
            "id: a.1\nevent: x\n\n",
            "event: x\ndata: {}\n\n",
            "id: a.1\ndata: {}\n\n",
            "id: a.1\nevent: x\ndata: {}\ndata: {}\n\n",
            "id: a.1\r\nevent: x\ndata: {}\n\n",
            "retry: -1\n",
            "retry: +1\n",
            "data\n",
            "data:{}\n",
            "data: \n",
            "colour: red\n",
            "<html>\n",
        ] {
            assert!(Parser::default().push(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Parser::default().push(b"data: \xff\n").is_err());
        assert!(Parser::default().push(&vec![b'x'; LONGEST_FRAME + 1]).is_err());
    }
}
