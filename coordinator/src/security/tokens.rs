//! Token files: one a role in the coordinator's folder, copies in the user's keyring, all renewed long before they expire.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use m2t_common::Timestamp;
use m2t_common::access::{Bearer, Fingerprint, Keys, Role, Token, keyring, keyring_file};

use super::folder::{self, SecurityFolder};
use super::{now, random_id};

/// How long the tokens in files live.
const LIVES: Duration = Duration::from_secs(30 * 24 * 3600);
/// They are made again when less is left: whoever copied one has at least so long.
const RENEWED: Duration = Duration::from_secs(15 * 24 * 3600);

/// Makes what is missing, ends soon or is not of these keys.
pub(super) fn renew(
    folder: &SecurityFolder,
    keys: &Keys,
    fingerprint: Fingerprint,
    keyring: Option<&Path>,
) -> anyhow::Result<()> {
    for role in Role::ALL {
        let path = folder.token_file(role);
        let token = match kept(&path, keys, fingerprint)? {
            Some(token) => token,
            None => {
                let token = make(keys, role, fingerprint, now().after(LIVES))?;
                write(&path, &token).with_context(|| format!("could not write {}", path.display()))?;
                token
            }
        };
        if let Some(keyring) = keyring
            && let Err(error) = put(&token, keyring)
        {
            tracing::debug!(
                "The {role} token could not be put into {}: {error}.",
                keyring.display()
            );
        }
    }
    Ok(())
}

/// A new token.
pub(super) fn make(
    keys: &Keys,
    role: Role,
    fingerprint: Fingerprint,
    expires: Timestamp,
) -> anyhow::Result<Token> {
    let id = random_id().context("the kernel gave no random number")?;
    keys.token(role, id, expires, fingerprint)
        .context("there is no key to make a token from; m2t-coordinator token rotate makes one")
}

/// Some token of the folder, whether it is worth something or not.
pub(super) fn any(folder: &SecurityFolder) -> anyhow::Result<Option<Token>> {
    for role in Role::ALL {
        let token = folder::read(&folder.token_file(role))?.and_then(|text| text.parse().ok());
        if token.is_some() {
            return Ok(token);
        }
    }
    Ok(None)
}

/// The token in a file, where it is worth something for long enough.
fn kept(path: &Path, keys: &Keys, fingerprint: Fingerprint) -> anyhow::Result<Option<Token>> {
    let token = folder::read(path)?.and_then(|text| text.parse::<Token>().ok());
    let is_good = |token: &Token| {
        token.fingerprint == fingerprint && keys.check_bearer(&Bearer(*token), now().after(RENEWED)).is_ok()
    };
    Ok(token.filter(is_good))
}

fn write(path: &Path, token: &Token) -> std::io::Result<()> {
    folder::write(path, &format!("{}\n", token.expose()))
}

/// The user's keyring.
pub(super) fn usual_keyring() -> Option<PathBuf> {
    keyring(|name| std::env::var_os(name))
}

/// Puts a copy there, and takes away what has expired.
fn put(token: &Token, keyring: &Path) -> std::io::Result<()> {
    folder::make(keyring)?;
    let path = keyring.join(keyring_file(&token.fingerprint, token.grant.role));
    let exposed = format!("{}\n", token.expose());
    if fs::read_to_string(&path).ok().as_ref() != Some(&exposed) {
        folder::write(&path, &exposed)?;
    }
    for entry in fs::read_dir(keyring)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text
            .parse::<Token>()
            .is_ok_and(|other| other.grant.expires() < now())
        {
            // Another coordinator may have done it.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}
