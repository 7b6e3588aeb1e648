//! The group of a generation: how the devices of a placement find each other.
//!
//! The first device opens a meeting on a free port and tells its address; it comes back to all others with a `Join`.
//! A device's index in the group is the order of its lowest rank, never of joining. Meeting and connecting block and
//! cannot be ended: they run apart, and after a hold they are left behind to their timeout.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::Start;
use m2t_common::waits::Waits;
use m2t_torch::collective::{Collective, Gloo, Meeting, Solo, Timeouts};

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
) -> Result<Arc<dyn Collective>, Leave> {
    let size = start.placement.devices.len();
    let index = start.placement.index_of(&start.device).with_context(|| {
        format!(
            "device {} is not in the placement of generation {}",
            start.device, start.generation
        )
    })?;
    let group: Arc<dyn Collective> = match size {
        1 => Arc::new(Solo::default()),
        _ => Arc::new(connect(start, link, (index, size), membership)?),
    };
    let of_hold = Arc::clone(&group);
    membership.at_hold(move || of_hold.abort())?;
    Ok(group)
}

fn connect(
    start: &Start,
    link: &dyn Link,
    (index, size): (usize, usize),
    membership: &Arc<Membership>,
) -> Result<Gloo, Leave> {
    let waits = Waits::of(start.recipe.run.heartbeat_timeout);
    let timeout = waits.connecting();
    let timeouts = Timeouts {
        connecting: timeout,
        operation: waits.collective(),
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
