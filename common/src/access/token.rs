//! Tokens: a grant with its secret and the fingerprint of the coordinator that it is for.

use std::fmt;
use std::str::FromStr;

use blake3::Hash;

use super::grant::{BadGrant, Grant};

/// What every token begins with.
const MARK: &str = "m2t";

/// BLAKE3 of a certificate (DER): of the root that a coordinator signs its own certificate with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Hash);

impl Fingerprint {
    /// That of a certificate.
    pub fn of(certificate: &[u8]) -> Self {
        Self(blake3::hash(certificate))
    }

    /// As much of it as names a file or stands in a sentence: 16 digits.
    pub fn short(&self) -> String {
        self.0.to_hex()[..16].to_owned()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        hash(text).map(Self).ok_or(BadToken::Fingerprint)
    }
}

/// What a token's holder knows and nobody else. It compares in constant time and shows itself to nobody by accident.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(Hash);

impl Secret {
    /// From its bytes.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash::from_bytes(bytes))
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A token. Its text is `m2t.GRANT.SECRET.FINGERPRINT`; only [`Token::expose`] tells the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it grants.
    pub grant: Grant,
    /// What proves it.
    pub secret: Secret,
    /// Whom it is for.
    pub fingerprint: Fingerprint,
}

/// A text that is no token. It never tells the text: it may be most of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It does not begin as one.
    #[error("a token begins with \"m2t.\"")]
    Mark,
    /// It was cut off, or is two.
    #[error("a token has seven parts with dots between them; copy it whole")]
    Parts,
    /// The grant is none.
    #[error("{0}; copy it whole")]
    Grant(#[from] BadGrant),
    /// The secret is none.
    #[error("its secret is not 64 digits of base 16; copy it whole")]
    Secret,
    /// The fingerprint is none.
    #[error("its fingerprint is not 64 digits of base 16; copy it whole")]
    Fingerprint,
}

impl Token {
    /// The whole token, to be kept secret.
    pub fn expose(&self) -> String {
        let secret = self.secret.0.to_hex();
        format!("{MARK}.{}.{secret}.{}", self.grant, self.fingerprint)
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let rest = text
            .trim()
            .strip_prefix(MARK)
            .and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.ok_or(BadToken::Mark)?;
        let (rest, fingerprint) = rest.rsplit_once('.').ok_or(BadToken::Parts)?;
        let (grant, secret) = rest.rsplit_once('.').ok_or(BadToken::Parts)?;
        if grant.split('.').count() != 4 {
            return Err(BadToken::Parts);
        }
        Ok(Self {
            grant: grant.parse()?,
            secret: Secret(hash(secret).ok_or(BadToken::Secret)?),
            fingerprint: fingerprint.parse()?,
        })
    }
}

/// 32 bytes in 64 digits of base 16, small letters: the one way to write them.
pub(super) fn hash(text: &str) -> Option<Hash> {
    let is_small = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_small.then(|| Hash::from_hex(text).ok()).flatten()
}
