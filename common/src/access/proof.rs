//! That somebody has a token's secret, shown without telling it.

use std::fmt;
use std::str::FromStr;

use blake3::Hash;

use super::grant::Grant;
use super::keys::Denied;
use super::token::{Secret, Token, hash};

/// The scheme of the `authorization` header that carries a credential.
const SCHEME: &str = "M2T ";
/// What keeps hashes with a secret from meaning anything else.
const CONTEXT: &[u8] = b"m2t v1 proof of a token on one connection\n";

/// 32 bytes that both ends of one TLS connection can compute, and nobody else: its exported keying material (RFC 8446, 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

impl Binding {
    /// The label that both ends export it with.
    pub const LABEL: &[u8] = b"EXPORTER-m2t-v1-binding";
}

/// A keyed hash over a [`Binding`]: worth something on that connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(Hash);

impl Proof {
    /// What the holder of `secret` says on a connection.
    pub fn of(secret: &Secret, binding: &Binding) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret.bytes());
        hasher.update(CONTEXT).update(&binding.0);
        Self(hasher.finalize())
    }
}

/// A grant and the proof that its secret is known. Its text is the value of an `authorization` header: `M2T GRANT PROOF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What is claimed.
    pub grant: Grant,
    /// That it is rightly so.
    pub proof: Proof,
}

impl Credential {
    /// What the holder of `token` says on a connection.
    pub fn of(token: &Token, binding: &Binding) -> Self {
        Self {
            grant: token.grant,
            proof: Proof::of(&token.secret, binding),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{} {}", self.grant, self.proof.0.to_hex())
    }
}

impl FromStr for Credential {
    type Err = Denied;

    fn from_str(text: &str) -> Result<Self, Denied> {
        let rest = text.strip_prefix(SCHEME).ok_or(Denied::Unreadable)?;
        let (grant, proof) = rest.split_once(' ').ok_or(Denied::Unreadable)?;
        Ok(Self {
            grant: grant.parse().map_err(|_| Denied::Unreadable)?,
            proof: Proof(hash(proof).ok_or(Denied::Unreadable)?),
        })
    }
}
