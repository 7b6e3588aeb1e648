//! A token that is sent whole, by what cannot prove anything: browsers, Prometheus, scripts.

use std::str::FromStr;

use super::keys::Denied;
use super::token::Token;

/// The scheme of the `authorization` header that carries one (RFC 6750).
const SCHEME: &str = "Bearer ";

/// A token as it came in, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer(pub Token);

impl FromStr for Bearer {
    type Err = Denied;

    fn from_str(text: &str) -> Result<Self, Denied> {
        let token = text.strip_prefix(SCHEME).ok_or(Denied::Unreadable)?;
        token.parse().map(Self).map_err(|_| Denied::Unreadable)
    }
}
