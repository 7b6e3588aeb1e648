//! Placement: which device hosts which ranks.
//!
//! Ranks are dealt in contiguous blocks, as even as possible, the larger blocks first. With as many devices as ranks
//! each hosts one; with fewer, several. Placement is sticky: a device that had a block keeps it or gets it back where a
//! block still starts at the same rank. Any placement gives the same mathematics, so stickiness only saves warm caches
//! and makes the status easy to read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, MachineName, Rank};

/// One device and the ranks it hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlacement {
    /// The device.
    pub device: DeviceId,
    /// Its ranks: at least one, ascending, without a gap.
    pub ranks: Vec<Rank>,
}

/// All devices of a generation, in the order of their lowest rank. The place in this order is a device's index in the
/// group of collectives; the first device hosts rank 0, makes the rendezvous and writes checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placement {
    /// Devices by lowest rank.
    pub devices: Vec<DevicePlacement>,
}

/// The lowest rank each device last hosted.
pub type Homes = BTreeMap<DeviceId, Rank>;

impl Placement {
    /// Places `world` ranks on `devices`; those beyond `world` are left out as spares. `None` without a device.
    pub fn place(world: u32, devices: &[DeviceId], homes: &Homes) -> Option<Self> {
        let mut waiting: Vec<&DeviceId> = devices.iter().collect();
        waiting.sort_by_key(|device| (homes.get(device).is_none(), homes.get(device), *device));
        waiting.dedup();
        waiting.truncate(world as usize);
        let n_blocks = u32::try_from(waiting.len()).unwrap_or(world);
        if n_blocks == 0 {
            return None;
        }
        let blocks: Vec<std::ops::Range<u32>> = (0..n_blocks).map(|i| block(world, n_blocks, i)).collect();
        let mut seats: Vec<Option<&DeviceId>> = blocks
            .iter()
            .map(|ranks| {
                let owner = waiting
                    .iter()
                    .position(|device| homes.get(*device) == Some(&Rank(ranks.start)));
                owner.map(|i| waiting.remove(i))
            })
            .collect();
        let mut rest = waiting.into_iter();
        for seat in &mut seats {
            if seat.is_none() {
                *seat = rest.next();
            }
        }
        let devices = seats
            .into_iter()
            .zip(blocks)
            .filter_map(|(device, ranks)| {
                Some(DevicePlacement {
                    device: device?.clone(),
                    ranks: ranks.map(Rank).collect(),
                })
            })
            .collect();
        Some(Self { devices })
    }

    /// A device's index in the group, if it takes part.
    pub fn index_of(&self, device: &DeviceId) -> Option<usize> {
        self.devices.iter().position(|placed| placed.device == *device)
    }

    /// The devices of one machine with their ranks.
    pub fn of_machine<'a>(&'a self, machine: &'a MachineName) -> impl Iterator<Item = &'a DevicePlacement> {
        self.devices
            .iter()
            .filter(move |placed| placed.device.machine == *machine)
    }

    /// The device that hosts rank 0.
    pub fn first(&self) -> Option<&DeviceId> {
        self.devices.first().map(|placed| &placed.device)
    }

    /// The homes after this placement. Where every device hosts one rank, that is its home from now on, and nobody else's. Where
    /// devices are missing, those that stand in for them keep the homes they have.
    pub fn update_homes(&self, homes: &mut Homes) {
        let is_full = self.devices.iter().all(|placed| placed.ranks.len() == 1);
        for placed in &self.devices {
            let Some(&lowest) = placed.ranks.first() else {
                continue;
            };
            if is_full {
                homes.retain(|_, home| *home != lowest);
                homes.insert(placed.device.clone(), lowest);
            } else {
                homes.entry(placed.device.clone()).or_insert(lowest);
            }
        }
    }
}

/// Block `i` of `n` contiguous blocks of `0..world`, the larger ones first.
fn block(world: u32, n: u32, i: u32) -> std::ops::Range<u32> {
    let (size, larger) = (world / n, world % n);
    let start = i * size + i.min(larger);
    start..start + size + u32::from(i < larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::DeviceIndex;

    fn device(text: &str) -> DeviceId {
        let (machine, index) = text.split_once(':').unwrap();
        DeviceId {
            machine: machine.parse().unwrap(),
            index: DeviceIndex(index.parse().unwrap()),
        }
    }

    fn placed(world: u32, devices: &[&str], homes: &mut Homes) -> String {
        let devices: Vec<DeviceId> = devices.iter().map(|d| device(d)).collect();
        let placement = Placement::place(world, &devices, homes).unwrap();
        placement.update_homes(homes);
        let one = |p: &DevicePlacement| {
            let ranks: Vec<String> = p.ranks.iter().map(ToString::to_string).collect();
            format!("{}={}", p.device, ranks.join(","))
        };
        placement.devices.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn blocks_are_contiguous_and_even() {
        let mut homes = Homes::new();
        assert_eq!(
            placed(4, &["a:0", "a:1", "b:0", "b:1"], &mut homes),
            "a:0=0 a:1=1 b:0=2 b:1=3"
        );
        assert_eq!(
            placed(4, &["a:0", "a:1", "b:0"], &mut Homes::new()),
            "a:0=0,1 a:1=2 b:0=3"
        );
        assert_eq!(placed(4, &["a:0"], &mut Homes::new()), "a:0=0,1,2,3");
        assert_eq!(Placement::place(4, &[], &homes), None);
    }

    #[test]
    fn a_replaced_device_moves_nobody_else() {
        let mut homes = Homes::new();
        placed(4, &["a:0", "a:1", "b:0", "b:1"], &mut homes);
        assert_eq!(
            placed(4, &["a:0", "c:0", "b:0", "b:1"], &mut homes),
            "a:0=0 c:0=1 b:0=2 b:1=3"
        );
    }

    #[test]
    fn a_device_that_comes_back_gets_its_ranks_back_before_spares() {
        let mut homes = Homes::new();
        placed(4, &["a:0", "a:1", "b:0", "b:1"], &mut homes);
        placed(4, &["a:0", "b:0", "b:1"], &mut homes);
        let back = placed(4, &["0new:0", "a:0", "a:1", "b:0", "b:1"], &mut homes);
        assert!(back.contains("a:0=0") && !back.contains("0new"), "{back}");
    }

    #[test]
    fn who_stands_in_for_others_gives_their_ranks_back() {
        let mut homes = Homes::new();
        let whole = placed(4, &["a:0", "a:1", "b:0", "b:1"], &mut homes);
        placed(4, &["a:0", "a:1", "b:0"], &mut homes);
        placed(4, &["a:1", "b:0"], &mut homes);
        placed(4, &["b:0"], &mut homes);
        assert_eq!(placed(4, &["b:1", "a:0", "b:0", "a:1"], &mut homes), whole);
    }

    proptest! {
        #[test]
        fn every_rank_is_hosted_once(world in 1u32..40, n in 1u32..50, old in proptest::collection::vec(0u32..40, 0..20)) {
            let devices: Vec<DeviceId> = (0..n).map(|i| device(&format!("m{}:{}", i / 8, i % 8))).collect();
            let homes: Homes = devices.iter().cloned().zip(old.into_iter().map(Rank)).collect();
            let placement = Placement::place(world, &devices, &homes).unwrap();
            prop_assert_eq!(placement.devices.len() as u32, world.min(n));
            let ranks: Vec<Rank> = placement.devices.iter().flat_map(|p| p.ranks.clone()).collect();
            prop_assert_eq!(ranks, (0..world).map(Rank).collect::<Vec<_>>());
        }
    }
}
