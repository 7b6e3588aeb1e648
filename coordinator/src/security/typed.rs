//! What is typed about security: flags of a run, and `m2t-coordinator token`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use m2t_common::access::{Fingerprint, Role, TokenId};

use super::folder::SecurityFolder;
use super::keyfile::KeyFile;
use super::{now, random, tokens};
use crate::open::Refused;

/// Certificates of the user's own.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsArgs {
    /// A certificate chain of your own (PEM), in place of the one that the coordinator makes.
    #[arg(long = "tls-cert", value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM, mode 600).
    #[arg(id = "key", long = "tls-key", value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// An authority of your own (PEM): whoever shows a certificate that it signed may join without a token.
    #[arg(id = "client_ca", long = "tls-client-ca", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// A DNS name whose certificate may also steer the run; may be given many times.
    #[arg(long = "operator", value_name = "NAME", requires = "client_ca")]
    pub operator: Vec<String>,
}

/// Tokens of a coordinator, running or not. A running one heeds a change at once.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints it: to be kept as secret as a password.
    New {
        /// Who gets it: worker joins, operator steers, viewer only looks.
        #[arg(long)]
        role: Role,
        /// How many days it lives.
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// The coordinator's --state folder (by default OUTPUT/state).
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Ends one token, named by its id (the fourth part of it, which is no secret).
    Revoke {
        /// Its id: 16 digits.
        id: TokenId,
        /// The coordinator's --state folder.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// Ends all tokens that were made so far, and makes those of the state folder again.
    Rotate {
        /// How many more hours the older ones live, so that they can be replaced one by one.
        #[arg(long, value_name = "N", default_value_t = 0)]
        grace_hours: u32,
        /// The coordinator's --state folder.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

impl TokenCommand {
    /// Does it, and says what was done on `out`.
    ///
    /// # Errors
    /// When the state folder is none, or cannot be written.
    pub fn run(&self, out: &mut impl Write) -> anyhow::Result<()> {
        match self {
            Self::New { role, days, state } => {
                let found = Found::in_state(state)?;
                let expires = now().after(Duration::from_secs(u64::from(*days) * 24 * 3600));
                let token = tokens::make(&found.keys.now(), *role, found.fingerprint, expires)?;
                writeln!(out, "{}", token.expose())?;
            }
            Self::Revoke { id, state } => {
                Found::in_state(state)?.keys.change(|keys| keys.revoke(*id))?;
                writeln!(out, "revoked {id}")?;
            }
            Self::Rotate { grace_hours, state } => {
                let found = Found::in_state(state)?;
                let key = random().context("the kernel gave no random number")?;
                let end = now().after(Duration::from_secs(u64::from(*grace_hours) * 3600));
                found.keys.change(|keys| keys.rotate(key, end))?;
                let keyring = tokens::usual_keyring();
                tokens::renew(
                    &found.folder,
                    &found.keys.now(),
                    found.fingerprint,
                    keyring.as_deref(),
                )?;
                writeln!(out, "new tokens are in {}", found.folder.path().display())?;
            }
        }
        Ok(())
    }
}

/// What a coordinator left in its state folder.
struct Found {
    folder: SecurityFolder,
    keys: KeyFile,
    /// That of its certificate, as the tokens there have it.
    fingerprint: Fingerprint,
}

impl Found {
    /// Only of a folder that a coordinator has used: a mistyped one must not become another coordinator's.
    fn in_state(state: &Path) -> anyhow::Result<Self> {
        let missing = || {
            Refused::new(format!(
                "{} is no coordinator's state folder with tokens in security/; --state names the folder of its journal, by default OUTPUT/state, and they are made at its first start",
                state.display()
            ))
        };
        if !state.join("security").is_dir() {
            return Err(missing().into());
        }
        let folder = SecurityFolder::open(state)?;
        let token = tokens::any(&folder)?.ok_or_else(missing)?;
        Ok(Self {
            keys: KeyFile::open(&folder)?,
            fingerprint: token.fingerprint,
            folder,
        })
    }
}
