//! What lets this program in, as it is typed and as the environment says.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::tls::{Authority, Checks};
use super::tokens::{TokenError, Tokens};

/// The variable with a token itself. Other programs of the same user can read it; programs that this one starts do not get it.
pub(super) const TOKEN: &str = "M2T_TOKEN";
/// The variable that names a token's file.
pub(super) const TOKEN_FILE: &str = "M2T_TOKEN_FILE";

/// What lets this program in.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessArgs {
    /// The file of the token to show (mode 600) [default: M2T_TOKEN_FILE, the token in M2T_TOKEN, or the one for this coordinator
    /// in the folder M2T_TOKENS, ~/.config/m2t/tokens].
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub token_file: Option<PathBuf>,
    /// Know the coordinator by an authority of your own (PEM) instead of by the token.
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub tls_ca: Option<PathBuf>,
    /// A certificate of your own to show (PEM), with --tls-key.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM, mode 600).
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,
    /// Without encryption and without a token, as the coordinator was started: private networks only.
    #[arg(long, conflicts_with_all = ["token_file", "tls_ca", "tls_cert"], help_heading = "Access")]
    pub insecure: bool,
}

impl AccessArgs {
    /// As it was typed, for another program.
    pub fn typed(&self) -> Vec<OsString> {
        let mut typed: Vec<OsString> = Vec::new();
        let files = [
            ("--token-file", &self.token_file),
            ("--tls-ca", &self.tls_ca),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
        ];
        for (flag, file) in files {
            if let Some(file) = file {
                typed.extend([flag.into(), file.into()]);
            }
        }
        if self.insecure {
            typed.push("--insecure".into());
        }
        typed
    }
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// As bytes come.
    Open,
    /// With TLS, and something to show.
    Checked(Checks),
}

impl Access {
    /// From what was typed and, after it, the environment.
    pub(super) fn of(
        typed: &AccessArgs,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, TokenError> {
        if typed.insecure {
            return Ok(Self::Open);
        }
        let named = |name: &str| variable(name).filter(|value| !value.is_empty());
        let file = typed
            .token_file
            .clone()
            .or_else(|| named(TOKEN_FILE).map(PathBuf::from));
        let tokens = match (file, named(TOKEN)) {
            (Some(file), _) => Tokens::InFile(file),
            (None, Some(token)) => Tokens::Given(TokenError::parse_variable(&token)?),
            (None, None) => Tokens::keyring(variable),
        };
        let authority = match &typed.tls_ca {
            Some(path) => Authority::OfUser(super::tls::roots(path)?),
            None => Authority::OfToken,
        };
        let shown = match (&typed.tls_cert, &typed.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            _ => None,
        };
        Ok(Self::Checked(Checks {
            tokens,
            authority,
            shown,
        }))
    }
}
