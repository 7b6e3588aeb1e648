//! A browser's session: it logs in with a token once, and then carries a short one of the same role in a cookie.
//!
//! The cookie is a token like any other, derived from the coordinator's keys: sessions are kept nowhere, outlive the coordinator's start and end
//! with the keys. No script can read it, and no other site's requests carry it.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use m2t_common::access::{Role, Token};

use crate::security::Security;

/// How long a session lives.
const LIVES: Duration = Duration::from_secs(12 * 3600);

/// The session's token in a request, where there is one.
pub(super) fn of(headers: &HeaderMap, security: &Security) -> Option<Token> {
    let name = name(security);
    let cookies = headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    let mut parts = cookies.flat_map(|line| line.split(';'));
    parts.find_map(|part| {
        let (found, value) = part.trim().split_once('=')?;
        (found == name).then(|| value.parse().ok()).flatten()
    })
}

/// The header that begins a session.
///
/// # Errors
/// When no token can be made.
pub(super) fn begin(role: Role, security: &Security, scheme: &str) -> anyhow::Result<String> {
    let token = security.token(role, LIVES)?;
    Ok(line(security, scheme, &token.expose(), LIVES))
}

/// The header that ends one.
pub(super) fn end(security: &Security, scheme: &str) -> String {
    line(security, scheme, "", Duration::ZERO)
}

fn line(security: &Security, scheme: &str, value: &str, lives: Duration) -> String {
    let seconds = lives.as_secs();
    let secure = if scheme == "https" { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
        name(security)
    )
}

/// Browsers give a cookie to every port of a host: each coordinator has a name of its own.
fn name(security: &Security) -> String {
    format!("m2t-{}", security.fingerprint().short())
}
