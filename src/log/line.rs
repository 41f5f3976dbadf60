//! One line of the log: how a header and a record are written, sealed with a checksum, and read back.
//!
//! It looks at one line at a time and never at files. Everything that is promised about the bytes is here.

use std::borrow::Cow;
use std::io::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use ulid::Ulid;

use super::error::Flaw;
use crate::domain::event::{Cause, DecodeError, Envelope, Event};
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// The format that this build writes; a reader refuses a higher one.
pub(super) const FORMAT: u32 = 1;

/// How every record begins; JSON escapes quotes in strings, so that no payload text can contain it.
pub(super) const RECORD_START: &[u8] = b"{\"seq\":";

const CRC_START: &[u8] = b",\"crc\":\"";
const CRC_END: &[u8] = b"\"}";
const SYNCED_START: &[u8] = b",\"synced\":";

/// Ends `line`, a JSON object without its closing brace that begins at `from`; returns its checksum.
pub(super) fn seal(line: &mut Vec<u8>, from: usize, seed: u32) -> u32 {
    let crc = crc32c::crc32c_append(seed, &line[from..]);
    line.extend_from_slice(CRC_START);
    line.extend_from_slice(format!("{crc:08x}").as_bytes());
    line.extend_from_slice(CRC_END);
    line.push(b'\n');
    crc
}

/// Splits a line (without its line end) into what its checksum covers, and the checksum.
pub(super) fn unseal(line: &[u8]) -> Option<(&[u8], u32)> {
    let rest = line.strip_suffix(CRC_END)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let crc = parse_hex(std::str::from_utf8(digits).ok()?)?;
    Some((rest.strip_suffix(CRC_START)?, crc))
}

/// The checksum of a line (without its line end) if it is right for `seed`.
pub(super) fn checked(line: &[u8], seed: u32) -> Result<u32, Flaw> {
    let (body, stored) = unseal(line).ok_or(Flaw::NoChecksum)?;
    let computed = crc32c::crc32c_append(seed, body);
    if stored == computed { Ok(stored) } else { Err(Flaw::Checksum { stored, computed }) }
}

/// Line 1 of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// [`FORMAT`].
    pub(super) format: u32,
    /// Which log it is; cursors and snapshots of another do not fit.
    #[serde(with = "hex")]
    pub(super) log_id: u32,
    /// The first record's place.
    pub(super) first_seq: Seq,
    /// Checksum of the record before; the log id if there is none.
    #[serde(with = "hex")]
    pub(super) prev_crc: u32,
    /// Up to here everything was durable when this file was written.
    pub(super) synced: Seq,
    /// The newest build that wrote into this file.
    pub(super) build: String,
}

impl Header {
    /// The whole line.
    pub(super) fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.pop();
        seal(&mut line, 0, 0);
        Ok(line)
    }

    /// Reads a line without its line end.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Flaw> {
        checked(line, 0)?;
        serde_json::from_slice(line).map_err(|error| Flaw::NotAHeader(error.to_string()))
    }
}

/// A record as it stands in its line, the payload not yet looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw<'a> {
    /// Its place.
    pub(super) seq: Seq,
    id: Ulid,
    at: Timestamp,
    #[serde(rename = "type", borrow)]
    pub(super) type_name: Cow<'a, str>,
    v: u32,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    cause: Option<Cause>,
    /// Whether its batch goes on behind it.
    pub(super) more: bool,
    /// Up to here everything was durable when it was written.
    pub(super) synced: Seq,
    #[serde(rename = "crc")]
    _crc: &'a str,
}

impl<'a> Raw<'a> {
    /// Reads a line without its line end; the checksum is not looked at.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Flaw> {
        serde_json::from_slice(line).map_err(|error| Flaw::NotARecord(error.to_string()))
    }

    /// Reads the record that begins at `bytes`, whatever stands behind it.
    pub(super) fn parse_prefix(bytes: &'a [u8]) -> Option<Self> {
        Self::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).ok()
    }

    /// Reads the payload.
    pub(super) fn decode(self) -> Result<Envelope, DecodeError> {
        let event = Event::decode(&self.type_name, self.v, self.data.get())?;
        Ok(Envelope { seq: self.seq, id: self.id, at: self.at, event, cause: self.cause, more: self.more })
    }
}

/// Adds a record's line to `buffer`; returns the envelope's JSON without the log's own fields, and the checksum.
pub(super) fn write_record(
    buffer: &mut Vec<u8>,
    envelope: &Envelope,
    synced: Seq,
    seed: u32,
) -> Result<(Box<str>, u32), serde_json::Error> {
    let json = serde_json::to_string(envelope)?;
    let from = buffer.len();
    buffer.extend_from_slice(&json.as_bytes()[..json.len() - 1]);
    buffer.extend_from_slice(SYNCED_START);
    write!(buffer, "{synced}").map_err(serde_json::Error::io)?;
    let crc = seal(buffer, from, seed);
    Ok((json.into_boxed_str(), crc))
}

/// The envelope's JSON without the log's own fields, from a line that was checked.
pub(super) fn public_json(line: &[u8]) -> Option<Box<str>> {
    let end = line.windows(SYNCED_START.len()).rposition(|window| window == SYNCED_START)?;
    let mut json = String::with_capacity(end + 1);
    json.push_str(std::str::from_utf8(&line[..end]).ok()?);
    json.push('}');
    Some(json.into_boxed_str())
}

/// Place and checksum of a record's line, without reading the rest.
pub(super) fn seq_of(line: &[u8]) -> Option<Seq> {
    let rest = line.strip_prefix(RECORD_START)?;
    let digits = &rest[..rest.iter().position(|byte| *byte == b',')?];
    std::str::from_utf8(digits).ok()?.parse().ok().map(Seq)
}

fn parse_hex(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// Eight lower-case hex digits.
pub(super) mod hex {
    use super::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::log) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:08x}"))
    }

    pub(in crate::log) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        super::parse_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 8 lower-case hex digits"))
    }
}
