//! The coordinator's keys: every token's secret is derived from one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use blake3::Hash;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bearer::Bearer;
use super::grant::{Grant, Right, Role, TokenId};
use super::proof::{Binding, Credential, Proof};
use super::token::{Fingerprint, Secret, Token};
use crate::Timestamp;

/// What keeps hashes with a key from meaning anything else.
const CONTEXT: &[u8] = b"m2t v1 secret of a token\n";
/// By how much clocks of two machines may differ before a date decides.
const CLOCKS: Duration = Duration::from_secs(60);

/// Keys by number, of which the highest makes new tokens, and the tokens that are worth nothing any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    keys: BTreeMap<u32, Key>,
    /// Tokens that are worth nothing any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    revoked: BTreeSet<TokenId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: KeyBytes,
    /// When its tokens end, after a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq)]
struct KeyBytes(Hash);

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(…)")
    }
}

impl Serialize for KeyBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_hex())
    }
}

impl<'de> Deserialize<'de> for KeyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = super::token::hash(&text);
        // Never with the text in it.
        hash.map(Self)
            .ok_or_else(|| serde::de::Error::custom("a key is not 64 digits of base 16"))
    }
}

/// Why somebody is kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing was shown.
    #[error(
        "a token is needed to {0}; name its file with --token-file, or ask whoever runs the coordinator for one"
    )]
    Nothing(Right),
    /// It cannot be read.
    #[error(
        "the authorization is neither a proof of this version nor a token; give the token as the coordinator wrote it"
    )]
    Unreadable,
    /// Another coordinator's, changed, or said on another connection before.
    #[error(
        "the token is not one of this coordinator's, or its proof is of another connection; ask for a new one"
    )]
    Unknown,
    /// Its time is over.
    #[error("the {role} token {id} has expired; make another with m2t-coordinator token new")]
    Expired {
        /// Whose.
        role: Role,
        /// Which.
        id: TokenId,
    },
    /// It was revoked, or its key was.
    #[error("the {role} token {id} was revoked; ask for a new one")]
    Revoked {
        /// Whose.
        role: Role,
        /// Which.
        id: TokenId,
    },
    /// The role may not.
    #[error("{}'s token does not let you {right}", .role.one())]
    NotAllowed {
        /// Whose.
        role: Role,
        /// What.
        right: Right,
    },
    /// Only viewers' tokens may travel whole.
    #[error(
        "{}'s token is not to be sent whole; m2t proves it instead, and other programs use a viewer's token",
        .0.one()
    )]
    SentWhole(Role),
}

impl Keys {
    /// Takes in a new key, which makes all tokens from now on. Those of older keys end at `others_end`.
    pub fn rotate(&mut self, key: [u8; 32], others_end: Timestamp) {
        for old in self.keys.values_mut() {
            old.until = Some(old.until.map_or(others_end, |until| until.min(others_end)));
        }
        let number = self.keys.keys().last().map_or(1, |last| last.saturating_add(1));
        let key = KeyBytes(Hash::from_bytes(key));
        self.keys.insert(number, Key { key, until: None });
    }

    /// Ends one token.
    pub fn revoke(&mut self, id: TokenId) {
        self.revoked.insert(id);
    }

    /// Makes a token; none where there is no key.
    pub fn token(
        &self,
        role: Role,
        id: TokenId,
        expires: Timestamp,
        fingerprint: Fingerprint,
    ) -> Option<Token> {
        let (number, key) = self.keys.last_key_value()?;
        let grant = Grant::new(role, *number, id, expires);
        Some(Token {
            grant,
            secret: key.secret(&grant),
            fingerprint,
        })
    }

    /// The role of whoever proved a token on the connection of `binding`.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub fn check_proof(&self, said: &Credential, binding: &Binding, now: Timestamp) -> Result<Role, Denied> {
        let secret = self.secret(&said.grant)?;
        if Proof::of(&secret, binding) != said.proof {
            return Err(Denied::Unknown);
        }
        self.check_time(&said.grant, now)
    }

    /// The role of whoever sent a token whole.
    ///
    /// # Errors
    /// Why it is worth nothing.
    pub fn check_bearer(&self, sent: &Bearer, now: Timestamp) -> Result<Role, Denied> {
        let Bearer(token) = sent;
        if self.secret(&token.grant)? != token.secret {
            return Err(Denied::Unknown);
        }
        self.check_time(&token.grant, now)
    }

    fn secret(&self, grant: &Grant) -> Result<Secret, Denied> {
        let key = self.keys.get(&grant.key).ok_or(Denied::Unknown)?;
        Ok(key.secret(grant))
    }

    /// Only of a grant that is proven: strangers learn nothing of tokens.
    fn check_time(&self, grant: &Grant, now: Timestamp) -> Result<Role, Denied> {
        let Grant { role, id, .. } = *grant;
        let until = self.keys.get(&grant.key).and_then(|key| key.until);
        if self.revoked.contains(&id) || until.is_some_and(|until| now >= until) {
            return Err(Denied::Revoked { role, id });
        }
        if now >= grant.expires().after(CLOCKS) {
            return Err(Denied::Expired { role, id });
        }
        Ok(role)
    }
}

impl Key {
    fn secret(&self, grant: &Grant) -> Secret {
        let mut hasher = blake3::Hasher::new_keyed(self.key.0.as_bytes());
        hasher.update(CONTEXT).update(grant.to_string().as_bytes());
        Secret::from_bytes(*hasher.finalize().as_bytes())
    }
}
