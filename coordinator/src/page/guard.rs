//! Who may see the page and who may give orders on it.
//!
//! Until operators have tokens of their own, orders are taken on loopback only, from the page itself. Three things tell it from what
//! another site in the same browser could send:
//! - `Host` is a name of this machine for itself. A site whose name was made to point here (DNS rebinding) has another. Asked of
//!   everything on loopback, for a status is nobody else's business either.
//! - `Origin` is this page's. Browsers write it themselves, and no script can change it.
//! - a header with the token of this start of the coordinator, which only the page knows: other sites cannot read the page.
//!
//! An operator's token will take the place of [`Orders::FromThePage`]: what it lets through is decided in
//! [`Guard::may_order`] and nowhere else.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use rustix::rand::{GetRandomFlags, getrandom};

/// The header that carries the token.
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
        "this page can be reached from other machines, so it takes no orders; give them with m2t, or serve it on loopback (--http 127.0.0.1:7118)"
    )]
    Beyond,
}

/// Keeps out what should not come in.
#[derive(Debug)]
pub(super) struct Guard {
    orders: Orders,
}

/// Whose orders are taken.
#[derive(Debug)]
enum Orders {
    /// Of whoever sits at this machine and has opened the page, which knows this token.
    FromThePage(String),
    /// Nobody's: the page can be reached from elsewhere.
    None,
}

impl Guard {
    /// The guard of a page at `address`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(super) fn of(address: SocketAddr) -> std::io::Result<Self> {
        let orders = if address.ip().is_loopback() {
            Orders::FromThePage(token()?)
        } else {
            Orders::None
        };
        Ok(Self { orders })
    }

    /// The token for the page to carry; none where no orders are taken.
    pub(super) fn token(&self) -> Option<&str> {
        match &self.orders {
            Orders::FromThePage(token) => Some(token),
            Orders::None => None,
        }
    }

    /// Whether a request may be answered at all.
    pub(super) fn may_ask(&self, headers: &HeaderMap) -> Result<(), Denied> {
        match &self.orders {
            Orders::FromThePage(_) if !is_loopback(text(headers, &header::HOST)) => Err(Denied::Host),
            _ => Ok(()),
        }
    }

    /// Whether a request may give orders.
    pub(super) fn may_order(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Orders::FromThePage(token) = &self.orders else {
            return Err(Denied::Beyond);
        };
        let host = text(headers, &header::HOST);
        if text(headers, &header::ORIGIN).strip_prefix("http://") != Some(host) {
            return Err(Denied::Origin);
        }
        // Hashes compare in constant time.
        let said = blake3::hash(text(headers, &TOKEN).as_bytes());
        if said == blake3::hash(token.as_bytes()) {
            Ok(())
        } else {
            Err(Denied::Token)
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

fn token() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    let n_bytes = getrandom(&mut bytes, GetRandomFlags::empty())?;
    if n_bytes < bytes.len() {
        return Err(std::io::Error::other("too little randomness"));
    }
    Ok(blake3::Hash::from_bytes(bytes).to_hex().to_string())
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
        let guard = Guard::of("127.0.0.1:7118".parse().unwrap()).unwrap();
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
        let guard = Guard::of("0.0.0.0:7118".parse().unwrap()).unwrap();
        assert_eq!(guard.token(), None);
        assert_eq!(guard.may_ask(&headers(&[(header::HOST, "node7:7118")])), Ok(()));
        assert_eq!(guard.may_order(&HeaderMap::new()), Err(Denied::Beyond));
        let local = Guard::of("[::1]:7118".parse().unwrap()).unwrap();
        assert_eq!(
            local.may_ask(&headers(&[(header::HOST, "evil.example")])),
            Err(Denied::Host)
        );
    }
}
