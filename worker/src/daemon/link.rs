//! The link to the coordinator: one stream at a time, attached again for as long as the daemon lives.
//!
//! It hands on what it hears and what it is given; it knows nothing of either.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, Instant};

use m2t_common::machine_link::ToMachine;
use m2t_common::random::Stream;
use m2t_proto::{WireError, wire};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use wire::coordinator_client::CoordinatorClient;

use super::{Event, Events};
use crate::ending::sentence;

/// The first wait before connecting again, and the longest. Each is drawn between half of it and all of it, so that
/// a whole cluster does not come back in one instant. Short beside the heartbeat timeout (3 s): a coordinator that is started
/// again awaits its machines for that long.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How often the transport asks whether the coordinator's host still lives, and how long it waits for the answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// How often an unchanged reason for waiting is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);

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
    /// Connects a channel to the first of its addresses that answers; with the local address it goes out from.
    pub async fn connect(&self) -> Result<(Channel, IpAddr), LinkError> {
        let addresses = tokio::net::lookup_host(&self.0)
            .await
            .map_err(LinkError::Resolve)?;
        let mut failure = LinkError::NoAddress;
        for address in addresses {
            match connect_to(address).await {
                Ok(connected) => return Ok(connected),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("its name cannot be resolved")]
    Resolve(#[source] std::io::Error),
    #[error("its name stands for no address")]
    NoAddress,
    #[error("no route to it")]
    Route(#[source] std::io::Error),
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("the stream broke ({:?}): {}", .0.code(), .0.message())]
    Broken(Box<tonic::Status>),
    #[error("the coordinator closed the stream")]
    Closed,
    #[error("it is no coordinator of this version")]
    Nonsense(#[source] WireError),
}

async fn connect_to(address: SocketAddr) -> Result<(Channel, IpAddr), LinkError> {
    // A connected UDP socket sends nothing; the kernel picks the route, and with it the local address.
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let probe = UdpSocket::bind(any).await.map_err(LinkError::Route)?;
    probe.connect(address).await.map_err(LinkError::Route)?;
    let local = probe.local_addr().map_err(LinkError::Route)?.ip();
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(LinkError::Connect)?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect()
        .await
        .map_err(LinkError::Connect)?;
    Ok((channel, local))
}

/// What was heard on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
    /// That the machine is dismissed or refused: the daemon ends, and nobody is waited for.
    Farewell,
}

/// Keeps a stream to the coordinator until it says farewell. `seed` draws the jitter.
pub(super) async fn keep(coordinator: CoordinatorAddress, seed: u64, events: Events) {
    let mut jitter = Stream::new("reconnection jitter", &[seed]);
    let mut wait = BACKOFF.0;
    let mut said: Option<(String, Instant)> = None;
    loop {
        let (heard, error) = attach(&coordinator, &events).await;
        if events.send(Event::Down).is_err() {
            return;
        }
        match heard {
            Heard::Farewell => return,
            Heard::Something => (wait, said) = (BACKOFF.0, None),
            Heard::Nothing => {}
        }
        let reason = sentence(&error);
        let is_news = said
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || at.elapsed() >= SAY_AGAIN);
        if is_news {
            tracing::warn!("waiting for the coordinator at {coordinator}: {reason}");
            said = Some((reason, Instant::now()));
        }
        tokio::time::sleep(wait.mul_f64(jitter.uniform(0.5, 1.0))).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// One stream from beginning to end; what was heard on it, and why it ended.
async fn attach(coordinator: &CoordinatorAddress, events: &Events) -> (Heard, LinkError) {
    let mut heard = Heard::Nothing;
    let end = async {
        let (channel, address) = coordinator.connect().await?;
        let (outbox, messages) = mpsc::unbounded_channel();
        // Before the call: the coordinator may wait for the first message before it answers.
        let _ = events.send(Event::Up { address, outbox });
        let messages = UnboundedReceiverStream::new(messages).map(wire::FromMachine::from);
        let broken = |status| LinkError::Broken(Box::new(status));
        let mut said = CoordinatorClient::new(channel)
            .attach(messages)
            .await
            .map_err(broken)?
            .into_inner();
        while let Some(message) = said.message().await.map_err(broken)? {
            let message = ToMachine::try_from(message).map_err(LinkError::Nonsense)?;
            heard = match message {
                ToMachine::Refuse { .. } | ToMachine::Dismiss(_) => Heard::Farewell,
                ToMachine::Welcome(_) | ToMachine::Assign(_) => Heard::Something,
            };
            let _ = events.send(Event::Said(message));
        }
        Err::<(), _>(LinkError::Closed)
    };
    let error = end.await.err().unwrap_or(LinkError::Closed);
    (heard, error)
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
