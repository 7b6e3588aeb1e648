//! Where a token is found: typed, in the environment, or among the user's by the coordinator's fingerprint.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use m2t_common::access::{BadToken, Role, Token, keyring};

/// Bits that let others in.
const OTHERS: u32 = 0o077;

/// Where tokens are.
#[derive(Clone, Debug)]
pub(super) enum Tokens {
    /// In a file, read again for each connection: whoever renews it needs not know of us.
    InFile(PathBuf),
    /// This one.
    Given(Token),
    /// In the user's folder; none for a user without a home.
    Keyring(Option<PathBuf>),
}

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Cannot be read.
    #[error("cannot read the token file {}: {why}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Others can read it.
    #[error("the token file {} can be read by others than its user (mode {mode:03o}): chmod 600 {}", path.display(), path.display())]
    Readable {
        /// Which.
        path: PathBuf,
        /// Its bits.
        mode: u32,
    },
    /// Holds none.
    #[error("{place} holds no token: {why}")]
    Bad {
        /// Where.
        place: String,
        /// Why.
        why: BadToken,
    },
    /// A certificate or key of the user's own cannot be used.
    #[error("{flag} {}: {why}", path.display())]
    Certificate {
        /// Which flag named it.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl TokenError {
    /// The token in the environment.
    pub(super) fn parse_variable(value: &OsStr) -> Result<Token, Self> {
        let text = value.to_str().unwrap_or_default();
        text.parse().map_err(|why| Self::Bad {
            place: format!("the variable {}", super::access::TOKEN),
            why,
        })
    }
}

impl Tokens {
    /// The user's.
    pub(super) fn keyring(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::Keyring(keyring(variable))
    }

    /// All that could be shown by one of `roles`, the role that comes first in front.
    ///
    /// # Errors
    /// Where the one that was named cannot be used; of the keyring's, those that cannot are passed over.
    pub(super) fn of(&self, roles: &[Role]) -> Result<Vec<Token>, TokenError> {
        match self {
            Self::InFile(path) => Ok(vec![read(path)?]),
            Self::Given(token) => Ok(vec![*token]),
            Self::Keyring(None) => Ok(Vec::new()),
            Self::Keyring(Some(folder)) => {
                let files = fs::read_dir(folder).into_iter().flatten().flatten();
                let tokens: Vec<Token> = files.filter_map(|file| read(&file.path()).ok()).collect();
                let of_role = |role: &Role| {
                    let role = *role;
                    tokens
                        .iter()
                        .filter(move |token| token.grant.role == role)
                        .copied()
                };
                Ok(roles.iter().flat_map(of_role).collect())
            }
        }
    }

    /// Whether one was named, which must be the one.
    pub(super) fn is_named(&self) -> bool {
        !matches!(self, Self::Keyring(_))
    }
}

fn read(path: &Path) -> Result<Token, TokenError> {
    let refuse = |why| TokenError::Read {
        path: path.to_owned(),
        why,
    };
    private(path)?;
    let text = fs::read_to_string(path).map_err(refuse)?;
    text.parse().map_err(|why| TokenError::Bad {
        place: path.display().to_string(),
        why,
    })
}

/// Refuses a secret that others can read.
pub(super) fn private(path: &Path) -> Result<(), TokenError> {
    let found = fs::metadata(path).map_err(|why| TokenError::Read {
        path: path.to_owned(),
        why,
    })?;
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(TokenError::Readable {
        path: path.to_owned(),
        mode,
    })
}
