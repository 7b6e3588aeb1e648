//! The group of a generation: how the devices of a placement find each other.
//!
//! The first device makes the meeting point, and it comes back to all others with a `Join`: for Gloo the address of a free
//! port of its own, for NCCL a fresh id in hexadecimal. A device's index in the group is the order of its lowest rank, never
//! of joining. What meets and connects by Gloo blocks and cannot be ended: it runs apart, and after a hold it is left behind to its timeout.
//! What does by NCCL is aborted.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::Start;
use m2t_common::waits::Waits;
use m2t_torch::TorchError;
use m2t_torch::collective::nccl::{Backend, Deadlines, NcclError, UniqueId};
use m2t_torch::collective::{Collective, Departure, Gloo, Meeting, Nccl, Solo, Timeouts};

use crate::hardware::Hardware;
use crate::leave::Leave;
use crate::link::Link;
use crate::membership::Membership;

/// The group of this device. A hold aborts it, from the link's thread.
///
/// # Errors
/// When the device is not in the placement, the others cannot be reached, or the generation ends.
pub fn join(
    start: &Start,
    link: &dyn Link,
    membership: &Arc<Membership>,
    hardware: &Hardware,
) -> Result<Arc<dyn Collective>, Leave> {
    let size = start.placement.devices.len();
    let index = start.placement.index_of(&start.device).with_context(|| {
        format!(
            "device {} is not in the placement of generation {}",
            start.device, start.generation
        )
    })?;
    let place = (index, size);
    let group: Arc<dyn Collective> = match (size, hardware) {
        (1, _) => Arc::new(Solo::default()),
        (_, Hardware::Cpu) => Arc::new(connect(start, link, place, membership)?),
        (_, Hardware::Gpu(backend)) => connect_gpus(start, link, (place, backend), membership)?,
    };
    let of_hold = Arc::clone(&group);
    membership.at_hold(move || of_hold.abort())?;
    Ok(group)
}

/// Waits until an aborted group has let go of the hardware, so that the next one finds it free.
///
/// # Errors
/// When it does not: then this process cannot go on.
pub fn departed(start: &Start, group: &dyn Collective) -> Result<(), Leave> {
    let within = waits(start).parting();
    match group.departed(within) {
        Departure::Over => Ok(()),
        Departure::Stuck => Err(Leave::Failed(anyhow!(
            "the group of generation {} was aborted and did not let go of the GPU within {within:?}; this process ends, which frees it",
            start.generation
        ))),
    }
}

fn waits(start: &Start) -> Waits {
    Waits::of(start.recipe.run.heartbeat_timeout)
}

fn connect(
    start: &Start,
    link: &dyn Link,
    (index, size): (usize, usize),
    membership: &Arc<Membership>,
) -> Result<Gloo, Leave> {
    let timeout = waits(start).connecting();
    let timeouts = Timeouts {
        connecting: timeout,
        operation: waits(start).collective(),
    };
    let address = start.address;
    let meeting = if index == 0 {
        let meeting = membership
            .apart(move || Meeting::open(address, timeout))?
            .with_context(|| format!("cannot open the group's meeting point at {address}"))?;
        let rendezvous = Rendezvous(meeting.address().to_string().into_bytes());
        link.tell(start.generation, News::Rendezvous { rendezvous });
        meeting
    } else {
        let Rendezvous(bytes) = membership.rendezvous()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let point: SocketAddr = text
            .parse()
            .with_context(|| format!("{text:?} is no meeting point"))?;
        membership
            .apart(move || Meeting::join(point, timeout))?
            .map_err(|error| {
                Leave::Broken(format!("cannot reach the group's meeting point {point}: {error}"))
            })?
    };
    membership
        .apart(move || Gloo::connect(meeting, address, (index, size), timeouts))?
        .map_err(|error| {
            Leave::Broken(format!(
                "device {index} of {size} cannot connect with the others: {error}"
            ))
        })
}

fn connect_gpus(
    start: &Start,
    link: &dyn Link,
    ((index, size), backend): ((usize, usize), &Backend),
    membership: &Membership,
) -> Result<Arc<Nccl>, Leave> {
    let deadlines = Deadlines {
        connecting: waits(start).connecting(),
        operation: waits(start).collective(),
        parting: waits(start).parting(),
    };
    let id = if index == 0 {
        let id = UniqueId::fresh(&backend.library).context("cannot make an id for the group")?;
        let rendezvous = Rendezvous(id.to_string().into_bytes());
        link.tell(start.generation, News::Rendezvous { rendezvous });
        id
    } else {
        let Rendezvous(bytes) = membership.rendezvous()?;
        let text = String::from_utf8_lossy(&bytes);
        text.parse()
            .with_context(|| format!("{text:?} is not what a GPU's group meets by"))?
    };
    let group = Arc::new(Nccl::begin(backend, id, (index, size), deadlines)?);
    let of_hold = Arc::clone(&group);
    membership.at_hold(move || of_hold.abort())?;
    match group.until_whole() {
        Ok(()) => Ok(group),
        Err(TorchError::Aborted) => Err(Leave::Held),
        Err(TorchError::Nccl(stuck @ NcclError::Stuck { .. })) => Err(Leave::Failed(stuck.into())),
        Err(error) => Err(Leave::Broken(format!(
            "device {index} of {size} cannot connect with the others: {error}"
        ))),
    }
}
