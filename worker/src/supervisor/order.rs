//! What each device is to do, as the machine's assignment and the daemon's course say it.

use std::time::Duration;

use m2t_common::machine_link::{Boundary, Welcome, Work};
use m2t_common::report::Rendezvous;
use m2t_common::trainer_link::{Prepare, Start};
use m2t_common::waits::Waits;
use m2t_common::{DeviceId, DeviceIndex, Generation};

use super::{Course, Supervisor};

/// What a device is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Nothing: no process runs.
    Nothing,
    /// Keep a process, in no group.
    StandBy(Wait),
    /// Train.
    Train(Box<TrainOrder>),
}

/// To keep a process, in no group. One that is in a group leaves it: to end a generation and to stand by are one and the same.
#[derive(Debug)]
pub(super) struct Wait {
    /// The machine's generation.
    pub(super) generation: Generation,
    /// What a new process is told; none is started without it.
    pub(super) prepare: Option<Box<Prepare>>,
    /// A process that has not left its group by then hangs.
    pub(super) within: Duration,
}

/// To train.
#[derive(Debug)]
pub(super) struct TrainOrder {
    /// What it is started with.
    pub(super) start: Start,
    /// Where to meet, once known.
    pub(super) rendezvous: Option<Rendezvous>,
    /// What to do at the next step boundary.
    pub(super) boundary: Boundary,
    /// A process that has not left an older group by then hangs.
    pub(super) within: Duration,
}

impl Supervisor {
    /// What `device` is to do.
    pub(super) fn order(&self, device: DeviceIndex) -> Order {
        let (Some(welcome), Course::Staying | Course::Leaving { .. }) =
            (self.standing.welcome(), &self.course)
        else {
            return Order::Nothing;
        };
        let group = match &self.assignment.work {
            Work::Idle => return Order::Nothing,
            Work::StandBy => return self.wait(welcome, Waits::of(welcome.heartbeat_timeout).answer()),
            Work::Hold { within } => return self.wait(welcome, *within),
            Work::Train(group) => group,
        };
        let machine = self.identity.machine.clone();
        let device = DeviceId {
            machine,
            index: device,
        };
        if group.placement.index_of(&device).is_none() {
            return self.wait(welcome, Waits::of(welcome.heartbeat_timeout).answer());
        }
        let start = Start {
            generation: self.assignment.generation,
            device,
            placement: group.placement.clone(),
            recipe: welcome.recipe.clone(),
            data: self.place(welcome).data,
            n_samples: group.n_samples,
            output: welcome.output.clone(),
            start_from: group.start_from.clone(),
            address: self.address,
        };
        Order::Train(Box::new(TrainOrder {
            start,
            rendezvous: group.rendezvous.clone(),
            boundary: group.boundary,
            within: Waits::of(welcome.heartbeat_timeout).answer(),
        }))
    }

    fn wait(&self, welcome: &Welcome, within: Duration) -> Order {
        // A machine that leaves needs no new process to stand by.
        let prepare = matches!(self.course, Course::Staying).then(|| {
            let recipe = welcome.recipe.clone();
            let data = self.place(welcome).data;
            Box::new(Prepare { recipe, data })
        });
        Order::StandBy(Wait {
            generation: self.assignment.generation,
            prepare,
            within,
        })
    }
}
