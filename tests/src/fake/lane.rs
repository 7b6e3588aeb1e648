//! How the fake trainers of a generation keep in step: a star of TCP connections around the first device.
//!
//! At each boundary every device says a byte, the first device answers everyone with the strongest. A dead peer breaks
//! the connection and with it the group, as a collective would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, ensure};
use m2t_common::report::Rendezvous;
use m2t_common::trainer_link::Start;

/// What a device wants at a step boundary, and what the group then does. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Wish {
    /// Take the next step.
    Go = 0,
    /// Stop here.
    Stop = 1,
}

/// One device's part in the star.
pub(super) enum Lane {
    /// The first device, with all the others.
    Hub(Vec<TcpStream>),
    /// Any other.
    Spoke(TcpStream),
}

/// The first device's meeting point.
pub(super) struct Meeting {
    listener: TcpListener,
    /// What is handed round.
    pub(super) rendezvous: Rendezvous,
}

impl Meeting {
    pub(super) fn new(start: &Start) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(start.address, 0))?;
        let rendezvous = Rendezvous(listener.local_addr()?.to_string().into_bytes());
        Ok(Self { listener, rendezvous })
    }

    /// Waits for all others; each must be of this generation.
    pub(super) fn gather(self, start: &Start) -> anyhow::Result<Lane> {
        let n_others = start.placement.devices.len() - 1;
        let mut others = Vec::with_capacity(n_others);
        while others.len() < n_others {
            let (mut other, _) = self.listener.accept()?;
            let mut generation = [0; 8];
            other.read_exact(&mut generation)?;
            ensure!(
                u64::from_le_bytes(generation) == start.generation.0,
                "a trainer of another generation came to the meeting"
            );
            others.push(other);
        }
        Ok(Lane::Hub(others))
    }
}

impl Lane {
    /// Goes to the meeting point of the first device.
    pub(super) fn join(start: &Start, rendezvous: &Rendezvous) -> anyhow::Result<Self> {
        let address: SocketAddr = std::str::from_utf8(&rendezvous.0)?
            .parse()
            .context("the meeting point is no address")?;
        let mut hub = TcpStream::connect(address)?;
        hub.write_all(&start.generation.0.to_le_bytes())?;
        Ok(Self::Spoke(hub))
    }

    /// Agrees with the whole group.
    pub(super) fn agree(&mut self, wish: Wish) -> anyhow::Result<Wish> {
        match self {
            Self::Hub(others) => {
                let mut strongest = wish;
                for other in others.iter_mut() {
                    strongest = strongest.max(hear(other)?);
                }
                for other in others {
                    other.write_all(&[strongest as u8]).context("a peer is gone")?;
                }
                Ok(strongest)
            }
            Self::Spoke(hub) => {
                hub.write_all(&[wish as u8]).context("the first device is gone")?;
                hear(hub)
            }
        }
    }
}

fn hear(peer: &mut TcpStream) -> anyhow::Result<Wish> {
    let mut byte = [0];
    peer.read_exact(&mut byte).context("a peer is gone")?;
    Ok(if byte[0] == Wish::Stop as u8 {
        Wish::Stop
    } else {
        Wish::Go
    })
}
