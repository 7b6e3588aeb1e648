//! The group of a generation: how the devices of a placement find each other.
//!
//! The first device opens a meeting on a free port and tells its address; it comes back to all others with the assignment.
//! A device's index in the group is the order of its lowest rank, never of joining.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use m2t_common::report::{News, Rendezvous};
use m2t_common::trainer_link::Start;
use m2t_torch::collective::{Collective, Gloo, Meeting, Solo};

use crate::link::Link;

/// Bounds connecting, and is the last line for an operation whose devices are all silent. The coordinator ends a
/// generation long before.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The group of this device.
///
/// # Errors
/// When the device is not in the placement, or the others cannot be reached.
pub fn join(start: &Start, link: &dyn Link) -> anyhow::Result<Arc<dyn Collective>> {
    let size = start.placement.devices.len();
    let index = start.placement.index_of(&start.device).with_context(|| {
        format!(
            "device {} is not in the placement of generation {}",
            start.device, start.generation
        )
    })?;
    if size == 1 {
        return Ok(Arc::new(Solo::default()));
    }
    let meeting = if index == 0 {
        let meeting =
            Meeting::open(start.address, TIMEOUT).context("cannot open the group's meeting point")?;
        let rendezvous = Rendezvous(meeting.address().to_string().into_bytes());
        link.tell(&News::Rendezvous { rendezvous });
        meeting
    } else {
        let Rendezvous(bytes) = link.rendezvous()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let address: SocketAddr = text
            .parse()
            .with_context(|| format!("{text:?} is no meeting point"))?;
        Meeting::join(address, TIMEOUT)
            .with_context(|| format!("cannot reach the group's meeting point {address}"))?
    };
    let group = Gloo::connect(meeting, start.address, (index, size), TIMEOUT)
        .with_context(|| format!("device {index} of {size} cannot connect with the others"))?;
    Ok(Arc::new(group))
}
