//! What a token grants, to whom and until when. Nothing here is secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What somebody is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A machine: joins and trains.
    Worker,
    /// A person who steers: pause, resume, stop, drain, readmit.
    Operator,
    /// Somebody who only looks: a dashboard, Prometheus, a colleague.
    Viewer,
}

/// What can be asked of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To train for it.
    Join,
    /// To see the status.
    Watch,
    /// To steer the run.
    Order,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Operator, Self::Viewer];

    /// Its name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }

    /// Whose token it is, in a sentence.
    pub fn one(self) -> &'static str {
        match self {
            Self::Worker => "a worker",
            Self::Operator => "an operator",
            Self::Viewer => "a viewer",
        }
    }

    /// Whether it has a right. Nobody may both join and steer: a stolen machine stops no run.
    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Join => self == Self::Worker,
            Right::Watch => true,
            Right::Order => self == Self::Operator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let role = Self::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or(BadGrant::Role)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "join a run",
            Self::Watch => "see the status",
            Self::Order => "steer a run",
        })
    }
}

/// Tells one token from another, so that it can be revoked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for TokenId {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let is_hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(BadGrant::Id)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenId {
    type Error = BadGrant;

    fn try_from(text: String) -> Result<Self, BadGrant> {
        text.parse()
    }
}

/// What a token grants. Its text is `ROLE.KEY.ID.EXPIRES`, such as `worker.1.00f3a6c2d4e5b697.1798761600`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub role: Role,
    /// The number of the key that its secret is derived from.
    pub key: u32,
    /// Which token this is.
    pub id: TokenId,
    /// Until when, in whole seconds.
    expires: u64,
}

/// A text that is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGrant {
    /// It has too few or too many parts.
    #[error("it has not the parts ROLE.KEY.ID.EXPIRES")]
    Parts,
    /// The role is none.
    #[error("its role is none of worker, operator and viewer")]
    Role,
    /// The key's number is none.
    #[error("the number of its key is not a whole number")]
    Key,
    /// The id is none.
    #[error("its id is not 16 digits of base 16")]
    Id,
    /// The date is none.
    #[error("its date of expiry is not in seconds")]
    Expires,
}

impl Grant {
    /// Whole seconds from now; `expires` is cut to them.
    pub fn new(role: Role, key: u32, id: TokenId, expires: Timestamp) -> Self {
        let expires = expires.0 / 1000;
        Self {
            role,
            key,
            id,
            expires,
        }
    }

    /// From when on it is worth nothing.
    pub fn expires(&self) -> Timestamp {
        Timestamp(self.expires.saturating_mul(1000))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            key,
            id,
            expires,
        } = self;
        write!(f, "{role}.{key}.{id}.{expires}")
    }
}

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(BadGrant::Parts);
        let grant = Self {
            role: part()?.parse()?,
            key: number(part()?).ok_or(BadGrant::Key)?,
            id: part()?.parse()?,
            expires: number(part()?).ok_or(BadGrant::Expires)?,
        };
        if parts.next().is_some() {
            return Err(BadGrant::Parts);
        }
        Ok(grant)
    }
}

/// A number in the one way that it is written: no sign, no zero before it. Else two texts would be one grant.
fn number<N: FromStr>(text: &str) -> Option<N> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}
