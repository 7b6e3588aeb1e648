//! Who may see the page and who may give orders on it.
//!
//! With security, whoever shows a token: a browser logs in with one and gets a session (`session`), Prometheus and scripts send a viewer's
//! token with each request. Without it (`--insecure`) everybody may look, and orders are taken on loopback only, from the page itself.
//! Three things tell what a page sends from what another site in the same browser could send:
//! - `Host` is a name of this machine for itself, on loopback. A site whose name was made to point here (DNS rebinding) has another.
//! - `Origin` is this page's. Browsers write it themselves, and no script can change it.
//! - a session, which another site's requests do not carry; without security a header with the token of this start of the coordinator, which
//!   only the page knows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use m2t_common::access::{self, Right, Role};

use super::session;
use crate::gate::whole;
use crate::security::{Security, random};

/// The header that carries the token of this start.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("m2t-token");

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    /// It came under another name.
    #[error(
        "this page answers under localhost and the loopback addresses only; open it as http://127.0.0.1:PORT/"
    )]
    Host,
    /// It came from another site.
    #[error("orders are taken from this coordinator's own page only")]
    Origin,
    /// The page it came from is of an earlier start of the coordinator, or it is no page.
    #[error("the token is not that of this coordinator's page; load the page again")]
    Token,
    /// The page can be reached from elsewhere.
    #[error(
        "this page can be reached from other machines and nothing checks who asks, so it takes no orders; give them with m2t, or start the coordinator without --insecure"
    )]
    Beyond,
    /// What was shown lets nobody in.
    #[error(transparent)]
    Access(#[from] access::Denied),
}

impl Denied {
    /// As HTTP says it.
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::Access(access::Denied::NotAllowed { .. } | access::Denied::SentWhole(_)) => {
                StatusCode::FORBIDDEN
            }
            Self::Access(_) => StatusCode::UNAUTHORIZED,
            Self::Host | Self::Origin | Self::Token | Self::Beyond => StatusCode::FORBIDDEN,
        }
    }
}

/// Keeps out what should not come in.
#[derive(Debug)]
pub(super) struct Guard {
    entry: Entry,
    reach: Reach,
}

/// Who comes in.
#[derive(Debug)]
enum Entry {
    /// Whoever shows a token.
    ByToken(Arc<Security>),
    /// Everybody; orders are taken from the page that knows this.
    Free(String),
}

/// From where the page can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// This machine, in plain HTTP.
    Loopback,
    /// Others, too: with security in HTTPS.
    Beyond,
}

impl Guard {
    /// The guard of a page at `address`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn of(address: SocketAddr, security: Option<Arc<Security>>) -> std::io::Result<Self> {
        let entry = match security {
            Some(security) => Entry::ByToken(security),
            None => Entry::Free(blake3::Hash::from_bytes(random()?).to_hex().to_string()),
        };
        let reach = if address.ip().is_loopback() {
            Reach::Loopback
        } else {
            Reach::Beyond
        };
        Ok(Self { entry, reach })
    }

    /// What browsers log in against; none where everybody may look.
    pub(super) fn security(&self) -> Option<&Security> {
        match &self.entry {
            Entry::ByToken(security) => Some(security),
            Entry::Free(_) => None,
        }
    }

    /// What is before the page's name: TLS where a token could else be read on the way.
    pub(super) fn scheme(&self) -> &'static str {
        match (&self.entry, self.reach) {
            (Entry::ByToken(_), Reach::Beyond) => "https",
            _ => "http",
        }
    }

    /// The token for the page to carry; none where it gives no orders or has a session for that.
    pub(super) fn token(&self) -> Option<&str> {
        match (&self.entry, self.reach) {
            (Entry::Free(token), Reach::Loopback) => Some(token),
            _ => None,
        }
    }

    /// Whether a request may be answered at all.
    pub(super) fn may_ask(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match self.reach {
            Reach::Loopback if !is_loopback(text(headers, &header::HOST)) => Err(Denied::Host),
            _ => Ok(()),
        }
    }

    /// Whether it may see the run.
    pub(super) fn may_watch(&self, headers: &HeaderMap) -> Result<(), Denied> {
        self.role(headers, Right::Watch).map(|_| ())
    }

    /// The role of whoever asks; none where there are no roles.
    pub(super) fn role(&self, headers: &HeaderMap, right: Right) -> Result<Option<Role>, Denied> {
        let Entry::ByToken(security) = &self.entry else {
            return Ok(None);
        };
        let role = match session::of(headers, security) {
            Some(token) => security.check_bearer(&access::Bearer(token))?,
            None => match text(headers, &header::AUTHORIZATION) {
                "" => return Err(access::Denied::Nothing(right).into()),
                said => whole(security, said)?,
            },
        };
        if role.may(right) {
            Ok(Some(role))
        } else {
            Err(access::Denied::NotAllowed { role, right }.into())
        }
    }

    /// Whether a request may give orders.
    pub(super) fn may_order(&self, headers: &HeaderMap) -> Result<(), Denied> {
        if matches!(&self.entry, Entry::Free(_)) && self.reach == Reach::Beyond {
            return Err(Denied::Beyond);
        }
        self.is_own(headers)?;
        match &self.entry {
            Entry::ByToken(_) => self.role(headers, Right::Order).map(|_| ()),
            Entry::Free(token) => {
                // Hashes compare in constant time.
                let said = blake3::hash(text(headers, &TOKEN).as_bytes());
                if said == blake3::hash(token.as_bytes()) {
                    Ok(())
                } else {
                    Err(Denied::Token)
                }
            }
        }
    }

    /// Whether it was this page that sent it.
    pub(super) fn is_own(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let own = format!("{}://{}", self.scheme(), text(headers, &header::HOST));
        if text(headers, &header::ORIGIN) == own {
            Ok(())
        } else {
            Err(Denied::Origin)
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Whether `host`, with or without a port, is a name of this machine for itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn names_of_this_machine_for_itself_are_known() {
        for own in [
            "localhost",
            "LOCALHOST:7118",
            "127.0.0.1:7118",
            "127.1.2.3",
            "[::1]:80",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        for other in [
            "",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7118",
            "10.0.0.1:7118",
            "[2001:db8::1]:80",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn orders_come_from_the_page_alone() {
        let guard = Guard::of("127.0.0.1:7118".parse().unwrap(), None).unwrap();
        let token = guard.token().unwrap();
        assert_eq!(token.len(), 64);
        let host = (header::HOST, "localhost:7118");
        let own = (header::ORIGIN, "http://localhost:7118");
        let right = (TOKEN, token);
        let judged = |lines: &[(HeaderName, &str)]| guard.may_order(&headers(lines));
        assert_eq!(judged(&[host.clone(), own.clone(), right.clone()]), Ok(()));
        assert_eq!(judged(&[host.clone(), right.clone()]), Err(Denied::Origin));
        for origin in [
            "http://localhost:8888",
            "https://localhost:7118",
            "null",
            "http://evil.example",
        ] {
            let other = (header::ORIGIN, origin);
            assert_eq!(
                judged(&[host.clone(), other, right.clone()]),
                Err(Denied::Origin),
                "{origin}"
            );
        }
        assert_eq!(judged(&[host.clone(), own.clone()]), Err(Denied::Token));
        assert_eq!(judged(&[host, own, (TOKEN, "0")]), Err(Denied::Token));
    }

    #[test]
    fn a_page_that_can_be_reached_from_elsewhere_takes_none() {
        let guard = Guard::of("0.0.0.0:7118".parse().unwrap(), None).unwrap();
        assert_eq!(guard.token(), None);
        assert_eq!(guard.may_ask(&headers(&[(header::HOST, "node7:7118")])), Ok(()));
        assert_eq!(guard.may_order(&HeaderMap::new()), Err(Denied::Beyond));
        let local = Guard::of("[::1]:7118".parse().unwrap(), None).unwrap();
        assert_eq!(
            local.may_ask(&headers(&[(header::HOST, "evil.example")])),
            Err(Denied::Host)
        );
    }
}
