//! A group that trains on fewer devices than there are ranks grows when others stand by: all devices stop at the next step
//! boundary with their state in memory, and the next generation is placed on more.

use m2t_common::Timestamp;

use crate::phase::Phase;
use crate::{Core, DrainReason, Effect};

impl Core {
    /// Begins to grow when there is somebody to grow by, and nobody else is about to come: several that come together cost one
    /// boundary.
    pub(crate) fn settle_growth(&mut self, effects: &mut Vec<Effect>) {
        let can_grow = self.can_grow();
        let (now, deadline) = (self.now, self.growth_deadline());
        let is_alone = !self.some_are_about_to_join();
        let Phase::Training { spare_since, .. } = &mut self.phase else {
            return;
        };
        match (can_grow, *spare_since) {
            (false, _) => *spare_since = None,
            (true, None) if !is_alone => *spare_since = Some(now),
            (true, Some(_)) if !is_alone && deadline.is_none_or(|deadline| now < deadline) => {}
            (true, _) => self.begin_drain(DrainReason::Grow, effects),
        }
    }

    /// When waiting for more that are about to come ends.
    pub(crate) fn growth_deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Training { spare_since, .. } => {
                spare_since.map(|since| since.after(self.settings.grace()))
            }
            _ => None,
        }
    }

    /// Whether a rank shares its device although another device stands by. Not before a step was committed: a group that
    /// cannot do one step would only be made again.
    fn can_grow(&self) -> bool {
        let Phase::Training { group, .. } = &self.phase else {
            return false;
        };
        let has_room = group.members.len() < self.settings.n_wanted();
        has_room && self.committed > group.start() && !self.available().is_empty()
    }
}
