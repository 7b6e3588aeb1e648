//! Where a coordinator listens.

use std::fmt;
use std::str::FromStr;

/// Where the coordinator listens, `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorAddress(String);

/// A text that is no address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not host:port; write for example 10.0.0.1:7117, node-1:7117 or [fd00::1]:7117")]
pub struct BadCoordinator(String);

impl FromStr for CoordinatorAddress {
    type Err = BadCoordinator;

    fn from_str(text: &str) -> Result<Self, BadCoordinator> {
        let bad = || BadCoordinator(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        let is_plain = !host.is_empty() && !host.contains([':', '/', ' ', '[', ']']);
        if port != 0 && (is_bracketed || is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for CoordinatorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CoordinatorAddress {
    /// As it was typed.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The host alone, without brackets.
    pub(super) fn host(&self) -> &str {
        let (host, _) = self.0.rsplit_once(':').unwrap_or((&self.0, ""));
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_where_they_enter() {
        for good in ["127.0.0.1:7117", "node-1:1", "[fd00::1]:7117"] {
            assert_eq!(good.parse::<CoordinatorAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "node",
            "node:",
            ":7117",
            "node:0",
            "node:70000",
            "fd00::1:7117",
            "http://a:1",
        ] {
            assert!(bad.parse::<CoordinatorAddress>().is_err(), "{bad:?}");
        }
    }
}
