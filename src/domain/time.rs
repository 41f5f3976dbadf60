//! Instants and spans as the domain sees them: whole milliseconds, given as arguments, never asked for.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 9999-12-30T00:00:00Z: the years of RFC 3339 end about there, and so do those of jiff.
const LAST: i64 = 253_402_128_000_000;

/// An instant, milliseconds since 1970 UTC; written as RFC 3339 with three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `span` later, or the last one that can be written.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let later = self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        Self(later.min(LAST))
    }

    /// The instant `span` earlier.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to this instant; zero if it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{at:.3}")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 instant"))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_three_decimals_and_reads_back() {
        let at = Timestamp(1_795_489_579_007);
        assert_eq!(at.to_string(), "2026-11-24T03:06:19.007Z");
        assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        assert_eq!(Timestamp(1_795_489_579_000).to_string(), "2026-11-24T03:06:19.000Z");
    }

    #[test]
    fn an_instant_beyond_all_years_is_the_last_that_can_be_written() {
        let last = Timestamp(1_795_489_579_007).after(Duration::from_secs(u64::MAX));
        assert_eq!(last.after(Duration::from_secs(1)), last);
        assert_eq!(Timestamp::parse(&last.to_string()), Some(last));
    }

    #[test]
    fn a_span_later_and_the_same_span_earlier_is_where_it_began() {
        let at = Timestamp(1_795_489_579_007);
        assert_eq!(at.before(Duration::from_millis(7)), Timestamp(1_795_489_579_000));
        assert_eq!(at.after(Duration::from_hours(24)).before(Duration::from_hours(24)), at);
    }
}
