//! Where a user's tokens lie, so that coordinator, daemon and operator of one user find each other without a flag.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::grant::Role;
use super::token::Fingerprint;

/// The variable that names the folder.
pub const KEYRING: &str = "M2T_TOKENS";

/// The folder of a user's tokens: `M2T_TOKENS`, else `m2t/tokens` below the folder for configuration; none for a user without a home.
pub fn keyring(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(folder) = named(KEYRING) {
        return Some(folder.into());
    }
    let config = named("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let config = config.or_else(|| named("HOME").map(|home| Path::new(&home).join(".config")));
    config.map(|config| config.join("m2t").join("tokens"))
}

/// The file of a role's token there, for the coordinator of this fingerprint.
pub fn keyring_file(fingerprint: &Fingerprint, role: Role) -> String {
    format!("{}.{role}.token", fingerprint.short())
}
