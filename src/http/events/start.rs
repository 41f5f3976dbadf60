//! Where a follower begins: what it asked for, and whether it can be gone on from there.

use serde::Serialize;
use warp::http::HeaderName;

use crate::domain::ids::Seq;
use crate::http::errors::Problem;

/// The header in which an EventSource that reconnects says what it saw last.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing.
    Unsaid,
    /// With the oldest event.
    Earliest,
    /// Behind the newest.
    Latest,
    /// Behind a position, of that log if one is named.
    After { log_id: Option<u32>, seq: Seq },
    /// Behind something that is no position.
    Unreadable,
}

/// Why it cannot be gone on from where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reset {
    /// Events behind it are no longer kept.
    Pruned,
    /// The log does not go so far.
    Future,
    /// It is a place of another log.
    OtherLog,
    /// It is no position.
    UnreadableId,
    /// The log's file is damaged there.
    Damaged,
}

/// The log as a follower finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) log_id: u32,
    pub(super) oldest: Seq,
    pub(super) head: Seq,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Behind the newest event.
    Live,
    /// Behind this event.
    Resumed(Seq),
    /// Nowhere, unless behind the newest event.
    Lost(Reset),
}

impl Place {
    /// What a `Last-Event-ID` asks for.
    pub(super) fn of_header(value: &[u8]) -> Self {
        std::str::from_utf8(value).ok().and_then(position).unwrap_or(Self::Unreadable)
    }

    /// What parameters ask for; `after` goes before `from`.
    pub(super) fn of_query(after: Option<&str>, from: Option<&str>) -> Result<Self, Problem> {
        let from = match from {
            None => Self::Unsaid,
            Some("earliest") => Self::Earliest,
            Some("latest") => Self::Latest,
            Some(_) => return Err(Problem::field("from", "expected earliest or latest")),
        };
        let Some(after) = after else { return Ok(from) };
        position(after).ok_or_else(|| {
            Problem::field("after", "expected the position of an event, or the id of a frame of the stream")
        })
    }

    /// Where that is.
    pub(super) fn start(self, log: Extent) -> Start {
        match self {
            Self::Unsaid | Self::Latest => Start::Live,
            Self::Earliest => Start::Resumed(Seq(log.oldest.0.saturating_sub(1))),
            Self::Unreadable => Start::Lost(Reset::UnreadableId),
            Self::After { log_id: Some(log_id), .. } if log_id != log.log_id => Start::Lost(Reset::OtherLog),
            Self::After { seq, .. } if seq > log.head => Start::Lost(Reset::Future),
            Self::After { seq, .. } if seq.next() < log.oldest => Start::Lost(Reset::Pruned),
            Self::After { seq, .. } => Start::Resumed(seq),
        }
    }
}

/// `<seq>` or `<log id>.<seq>`.
fn position(text: &str) -> Option<Place> {
    let (log_id, seq) = match text.split_once('.') {
        None => (None, text),
        Some((log_id, seq)) if log_id.len() == 8 => (Some(u32::from_str_radix(log_id, 16).ok()?), seq),
        Some(_) => return None,
    };
    let digits = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
    let seq = Seq(seq.parse().ok().filter(|seq| digits && *seq < u64::MAX)?);
    Some(Place::After { log_id, seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Extent = Extent { log_id: 0x0bad_cafe, oldest: Seq(10), head: Seq(20) };

    #[test]
    fn a_place_is_in_the_log_or_the_reason_is_known() {
        let cases = [
            ("0badcafe.15", Start::Resumed(Seq(15))),
            ("15", Start::Resumed(Seq(15))),
            ("0badcafe.20", Start::Resumed(Seq(20))),
            ("0badcafe.9", Start::Resumed(Seq(9))),
            ("0badcafe.8", Start::Lost(Reset::Pruned)),
            ("0", Start::Lost(Reset::Pruned)),
            ("0badcafe.21", Start::Lost(Reset::Future)),
            ("0badcaff.15", Start::Lost(Reset::OtherLog)),
            ("0badcaff.999", Start::Lost(Reset::OtherLog)),
        ];
        for (text, expected) in cases {
            assert_eq!(Place::of_header(text.as_bytes()).start(LOG), expected, "{text}");
        }
        for text in ["x", "-1", "+1", "1.2.3", "badcafe.1", "0badcafe.", "18446744073709551615", "\u{e9}"] {
            let lost = Start::Lost(Reset::UnreadableId);
            assert_eq!(Place::of_header(text.as_bytes()).start(LOG), lost, "{text}");
            assert!(Place::of_query(Some(text), None).is_err(), "{text}");
        }
        assert_eq!(Place::of_header(b"\xff").start(LOG), Start::Lost(Reset::UnreadableId));
    }

    #[test]
    fn words_for_both_ends() {
        let start = |after, from| Place::of_query(after, from).unwrap().start(LOG);
        assert_eq!(start(None, None), Start::Live);
        assert_eq!(start(None, Some("latest")), Start::Live);
        assert_eq!(start(None, Some("earliest")), Start::Resumed(Seq(9)));
        assert_eq!(start(Some("12"), Some("earliest")), Start::Resumed(Seq(12)));
        assert!(Place::of_query(None, Some("yesterday")).is_err());
        let empty = Extent { oldest: Seq(1), head: Seq(0), ..LOG };
        assert_eq!(Place::Earliest.start(empty), Start::Resumed(Seq(0)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_a_place_or_none_and_an_id_is_the_place_that_it_names(
            text in proptest::arbitrary::any::<String>(),
            log_id in proptest::arbitrary::any::<u32>(),
            seq in 0..u64::MAX,
        ) {
            if let Some(Place::After { seq, .. }) = position(&text) {
                let digits = text.rsplit('.').next().unwrap_or_default();
                proptest::prop_assert_eq!(digits.trim_start_matches('0'), if seq.0 == 0 { String::new() } else { seq.to_string() });
            }
            let place = Place::After { log_id: Some(log_id), seq: Seq(seq) };
            proptest::prop_assert_eq!(position(&format!("{log_id:08x}.{seq}")), Some(place));
        }
    }
}
