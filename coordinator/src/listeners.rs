//! Where the coordinator listens: gRPC for daemons and operators, HTTP for the page and `/metrics`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::args::Args;
use crate::open::Refused;

/// Where the page is served, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for Http {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        if typed == "off" {
            return Ok(Self::Off);
        }
        let address = typed.parse().map(Self::At);
        address.map_err(|_| format!("{typed:?} is neither an address such as 127.0.0.1:7118 nor `off`"))
    }
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// Both sockets.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For the page; none where it is off.
    pub page: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the arguments ask for.
    ///
    /// # Errors
    /// [`Refused`] where an address that was given cannot be listened on.
    pub async fn bind(args: &Args) -> anyhow::Result<Self> {
        let grpc = bind("--listen", args.listen).await?;
        let page = match args.http {
            Some(Http::Off) => None,
            Some(Http::At(address)) => Some(bind("--http", address).await?),
            None => {
                beside(
                    grpc.local_addr()
                        .context("could not read the listening address")?,
                )
                .await
            }
        };
        Ok(Self { grpc, page })
    }
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    Ok(bound.map_err(|e| {
        Refused::new(format!(
            "could not listen on {address}: {e}; choose another address with {flag}"
        ))
    })?)
}

/// The port after gRPC's on loopback, or a free one where that is taken. Nobody asked for the page, so nothing ends without it.
async fn beside(grpc: SocketAddr) -> Option<TcpListener> {
    let next = grpc.port().checked_add(1).unwrap_or_default();
    for port in [next, 0] {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::debug!("The page cannot be served on port {port}: {error}."),
        }
    }
    tracing::warn!(
        "The page is not served, for no port of 127.0.0.1 is free; --http ADDR names another address."
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_off_are_read_and_nothing_else() {
        for good in ["off", "127.0.0.1:7118", "[::1]:80"] {
            assert_eq!(good.parse::<Http>().unwrap().to_string(), good);
        }
        let refusal = "here".parse::<Http>().unwrap_err();
        assert!(refusal.contains("nor `off`"), "{refusal}");
    }

    #[tokio::test]
    async fn the_page_lies_beside_grpc_and_gives_way_where_that_port_is_taken() {
        let grpc = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let taken = beside(grpc).await.unwrap();
        let other = beside(grpc).await.unwrap();
        assert!(taken.local_addr().unwrap().ip().is_loopback());
        assert_ne!(taken.local_addr().unwrap(), other.local_addr().unwrap());
    }
}
