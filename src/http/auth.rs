//! Bearer tokens: who may read and who may write. Tokens are held as digests and compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use super::codes::Code;
use super::errors::Problem;

/// The tokens that are accepted. Without any, everybody may do everything.
#[derive(Clone, Default)]
pub struct Tokens {
    full: Vec<[u8; 32]>,
    read_only: Vec<[u8; 32]>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} full, {} read-only)", self.full.len(), self.read_only.len())
    }
}

impl Tokens {
    /// Accepts these; empty ones are no tokens.
    pub fn new<T: AsRef<str>>(
        full: impl IntoIterator<Item = T>,
        read_only: impl IntoIterator<Item = T>,
    ) -> Self {
        Self { full: digests(full), read_only: digests(read_only) }
    }

    /// Nobody needs a token.
    pub fn is_empty(&self) -> bool {
        self.full.is_empty() && self.read_only.is_empty()
    }

    /// Whether a request with these headers may read, or `write`.
    pub fn admit(&self, headers: &HeaderMap, write: bool) -> Result<(), Problem> {
        if self.is_empty() {
            return Ok(());
        }
        let Some(token) = bearer(headers) else {
            return Err(Problem::new(
                Code::Unauthorized,
                "this needs a token: send `Authorization: Bearer …` with one of POOL_API_TOKEN",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(token).into();
        let full = among(&self.full, &digest);
        let read_only = among(&self.read_only, &digest);
        match (full, read_only, write) {
            (true, _, _) | (_, true, false) => Ok(()),
            (false, true, true) => Err(Problem::new(Code::ReadOnlyToken, "this token may only read")),
            (false, false, _) => Err(Problem::new(Code::Unauthorized, "the token is not known")),
        }
    }
}

fn digests<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Vec<[u8; 32]> {
    let texts = tokens.into_iter();
    let digest = |text: T| {
        let text = text.as_ref().trim();
        (!text.is_empty()).then(|| Sha256::digest(text).into())
    };
    texts.filter_map(digest).collect()
}

/// All are compared, so that time does not tell which one it is.
fn among(known: &[[u8; 32]], digest: &[u8; 32]) -> bool {
    known.iter().fold(Choice::from(0), |found, each| found | each.ct_eq(digest)).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_opens_what_it_is_for() {
        let tokens = Tokens::new(["one", " two\n", ""], ["reader"]);
        let cases = [
            ("Bearer one", true, None),
            ("bearer two", true, None),
            ("Bearer one", false, None),
            ("Bearer reader", false, None),
            ("Bearer reader", true, Some(Code::ReadOnlyToken)),
            ("Bearer ", false, Some(Code::Unauthorized)),
            ("Bearer oneX", false, Some(Code::Unauthorized)),
            ("Basic one", false, Some(Code::Unauthorized)),
            ("one", false, Some(Code::Unauthorized)),
            ("", false, Some(Code::Unauthorized)),
        ];
        for (authorization, write, expected) in cases {
            let got = tokens.admit(&headers(authorization), write).err().map(|problem| problem.code);
            assert_eq!(got, expected, "{authorization:?} write={write}");
        }
    }

    #[test]
    fn without_tokens_everybody_may() {
        assert!(Tokens::new([""], []).admit(&HeaderMap::new(), true).is_ok());
    }

    #[test]
    fn tokens_are_not_printed() {
        assert_eq!(format!("{:?}", Tokens::new(["secret"], [])), "Tokens(1 full, 0 read-only)");
    }
}
