//! How the fake trainers of a generation keep in step: a star of TCP connections around the first device.
//!
//! At each boundary every device says a byte, the first device answers everyone with the strongest. A dead peer breaks
//! the connection and with it the group, as a collective would. Whoever waits looks up often, so that an order to leave the
//! group is obeyed at once, whatever is waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Context;
use m2t_common::Step;
use m2t_common::machine_link::Boundary;
use m2t_common::report::Rendezvous;
use m2t_common::trainer_link::Start;

use super::State;
use super::leave::Leave;

/// How often a device that waits for a peer looks whether it shall leave.
const LOOK_UP: Duration = Duration::from_millis(10);

/// Looks whether the device shall leave its group.
pub(super) type LookUp<'a> = &'a mut dyn FnMut() -> Result<(), Leave>;

/// One device's part in the star.
pub(super) enum Lane {
    /// The first device, with all the others in order of their index.
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
        listener.set_nonblocking(true)?;
        let rendezvous = Rendezvous(listener.local_addr()?.to_string().into_bytes());
        Ok(Self { listener, rendezvous })
    }

    /// Waits for all others. Whoever comes from another generation is sent away.
    pub(super) fn gather(self, start: &Start, look_up: LookUp<'_>) -> Result<Lane, Leave> {
        let n_others = start.placement.devices.len() - 1;
        let mut others: Vec<Option<TcpStream>> = (0..n_others).map(|_| None).collect();
        while others.iter().any(Option::is_none) {
            look_up()?;
            let mut other = match self.listener.accept() {
                Ok((other, _)) => other,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(LOOK_UP / 10);
                    continue;
                }
                Err(error) => return Err(Leave::broken("nobody can be met", &error)),
            };
            prepare(&other)?;
            let mut introduction = [0; 16];
            hear(&mut other, &mut introduction, look_up)?;
            let (generation, index) = introduction.split_at(8);
            let index = usize::from_le_bytes(index.try_into().expect("half of sixteen bytes is eight"));
            if generation == start.generation.0.to_le_bytes() && (1..=n_others).contains(&index) {
                others[index - 1] = Some(other);
            }
        }
        Ok(Lane::Hub(others.into_iter().flatten().collect()))
    }
}

impl Lane {
    /// Goes to the meeting point of the first device.
    pub(super) fn join(start: &Start, index: usize, rendezvous: &Rendezvous) -> Result<Self, Leave> {
        let address: SocketAddr = std::str::from_utf8(&rendezvous.0)
            .ok()
            .and_then(|text| text.parse().ok())
            .context("the meeting point is no address")?;
        let broken = |error| Leave::broken("the first device cannot be reached", &error);
        let mut hub = TcpStream::connect(address).map_err(broken)?;
        prepare(&hub)?;
        let introduction = [start.generation.0.to_le_bytes(), (index as u64).to_le_bytes()].concat();
        hub.write_all(&introduction).map_err(broken)?;
        Ok(Self::Spoke(hub))
    }

    /// Agrees with the whole group.
    pub(super) fn agree(&mut self, wish: Boundary, look_up: LookUp<'_>) -> Result<Boundary, Leave> {
        match self {
            Self::Hub(others) => {
                let mut strongest = wish;
                for other in others.iter_mut() {
                    strongest = strongest.max(hear_wish(other, look_up)?);
                }
                for other in others {
                    say(other, &[strongest as u8])?;
                }
                Ok(strongest)
            }
            Self::Spoke(hub) => {
                say(hub, &[wish as u8])?;
                hear_wish(hub, look_up)
            }
        }
    }

    /// Gives everyone what the device of index `donor` keeps, over the first device. `kept` is it there, and none elsewhere.
    pub(super) fn give_round(
        &mut self,
        donor: usize,
        kept: Option<(Step, State)>,
        look_up: LookUp<'_>,
    ) -> Result<(Step, State), Leave> {
        let mut parcel = kept.map_or([0; 40], pack);
        match self {
            Self::Hub(others) => {
                if donor > 0 {
                    hear(&mut others[donor - 1], &mut parcel, look_up)?;
                }
                for other in others {
                    say(other, &parcel)?;
                }
            }
            Self::Spoke(hub) => {
                if kept.is_some() {
                    say(hub, &parcel)?;
                }
                hear(hub, &mut parcel, look_up)?;
            }
        }
        Ok(unpack(parcel))
    }
}

/// A step and a state on the wire.
type Parcel = [u8; 40];

fn pack((step, state): (Step, State)) -> Parcel {
    let mut parcel = [0; 40];
    parcel[..8].copy_from_slice(&step.0.to_le_bytes());
    parcel[8..].copy_from_slice(&state.0);
    parcel
}

fn unpack(parcel: Parcel) -> (Step, State) {
    let (step, state) = parcel.split_first_chunk().expect("a parcel begins with a step");
    let state = state.try_into().expect("a parcel ends with a state");
    (Step(u64::from_le_bytes(*step)), State(state))
}

/// A peer that says nothing must not hold up the look at what the daemon says.
fn prepare(peer: &TcpStream) -> Result<(), Leave> {
    let set = || {
        peer.set_nonblocking(false)?;
        peer.set_nodelay(true)?;
        peer.set_read_timeout(Some(LOOK_UP))
    };
    set().map_err(|error| Leave::broken("a peer is gone", &error))
}

fn say(peer: &mut TcpStream, bytes: &[u8]) -> Result<(), Leave> {
    peer.write_all(bytes)
        .map_err(|error| Leave::broken("a peer is gone", &error))
}

fn hear(peer: &mut TcpStream, buffer: &mut [u8], look_up: LookUp<'_>) -> Result<(), Leave> {
    let mut n_heard = 0;
    while n_heard < buffer.len() {
        match peer.read(&mut buffer[n_heard..]) {
            Ok(0) => return Err(Leave::Broken("a peer is gone".to_owned())),
            Ok(n) => n_heard += n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                look_up()?;
            }
            Err(error) => return Err(Leave::broken("a peer is gone", &error)),
        }
    }
    Ok(())
}

fn hear_wish(peer: &mut TcpStream, look_up: LookUp<'_>) -> Result<Boundary, Leave> {
    let mut byte = [0];
    hear(peer, &mut byte, look_up)?;
    let wishes = [Boundary::GoOn, Boundary::Hold, Boundary::Stop];
    let wish = wishes.into_iter().find(|wish| *wish as u8 == byte[0]);
    wish.ok_or_else(|| Leave::Broken(format!("a peer said {} instead of a wish", byte[0])))
}
