//! The whole state of a run: what a commit changes, what a checkpoint holds, what a digest covers.
//!
//! Student parameters and running statistics, teacher parameters and history, momentum buffers, the step. Schedules need
//! nothing beyond the step. With global statistics every device holds the same whole state; with local ones each holds its own
//! ranks' statistics, and [`State::snapshot`] brings them together.

pub(crate) mod contents;
pub mod frozen;
pub mod history;
pub mod parameters;
pub mod snapshot;

use std::sync::Arc;

use m2t_common::recipe::{Dtype, Recipe};
use m2t_common::{Rank, Step};
use m2t_torch::TorchError;
use m2t_torch::collective::Collective;
use tch::{Device, Kind, Tensor};

use crate::model::Form;
use crate::model::initial;
use crate::model::layout::Extent;
pub use frozen::{Buffers, Frozen};
pub use history::{Histories, History};
pub use parameters::Parameters;
pub use snapshot::{Snapshot, SnapshotError};

/// The whole state, as one device holds it.
#[derive(Debug)]
pub struct State {
    /// Commits done.
    pub step: Step,
    /// The student's parameters.
    pub student: Parameters,
    /// The teacher's: the student's layout without the predictor.
    pub teacher: Parameters,
    /// The optimizer's buffer, in the student's layout.
    pub momentum: Tensor,
    /// Running statistics and histories.
    pub history: Histories,
    /// What the parameters belong to.
    pub form: Arc<Form>,
}

impl State {
    /// The state before the first step: drawn from the seed; the teacher is a copy of the student.
    /// They are drawn on the CPU, so that they are the same on every device.
    pub fn initial(recipe: &Recipe, ranks: &[Rank], device: Device) -> Result<Self, TorchError> {
        let form = Arc::new(Form::of(recipe));
        let here = (kind(recipe), Device::Cpu);
        let flat = initial::parameters(&form.layout, recipe.training.seed, here).to_device(device);
        Self::from_parameters(recipe, form, ranks, &flat)
    }

    /// A state with nothing in it, to be overwritten whole by another device's. Nothing is drawn for it.
    pub fn blank(recipe: &Recipe, ranks: &[Rank], device: Device) -> Result<Self, TorchError> {
        let form = Arc::new(Form::of(recipe));
        let layout = &form.layout;
        let options = (kind(recipe), device);
        let vector = |extent: Extent| parameters::blank(layout, extent, options);
        Ok(Self {
            step: Step(0),
            student: Parameters::learning(layout, vector(layout.extent())),
            teacher: Parameters::following(layout, form.teacher, vector(form.teacher)),
            momentum: vector(layout.extent()),
            history: histories(recipe, &form, ranks, options),
            form,
        })
    }

    /// The state before the first step with these student parameters, flat, on the device where they lie.
    pub fn from_parameters(
        recipe: &Recipe,
        form: Arc<Form>,
        ranks: &[Rank],
        flat: &Tensor,
    ) -> Result<Self, TorchError> {
        let layout = &form.layout;
        let teacher = flat.narrow(0, 0, form.teacher.n_elements).copy();
        Ok(Self {
            step: Step(0),
            student: Parameters::learning(layout, flat.copy()),
            teacher: Parameters::following(layout, form.teacher, teacher),
            momentum: flat.zeros_like(),
            history: histories(recipe, &form, ranks, (flat.kind(), flat.device())),
            form,
        })
    }

    /// The same on a device; on the one where it lies nothing is copied.
    pub fn on(self, device: Device) -> Self {
        if device == self.device() {
            return self;
        }
        let (layout, there) = (&self.form.layout, |flat: &Tensor| flat.to_device(device));
        Self {
            student: Parameters::learning(layout, there(&self.student.flat)),
            teacher: Parameters::following(layout, self.form.teacher, there(&self.teacher.flat)),
            momentum: there(&self.momentum),
            history: self.history.on(device),
            step: self.step,
            form: self.form,
        }
    }

    /// Where its tensors lie.
    pub fn device(&self) -> Device {
        self.student.flat.device()
    }

    /// All of it, under the names of a checkpoint. With local statistics the other devices of the group must come to
    /// [`State::give_to_snapshot`] (or here) at the same step.
    pub fn snapshot(&self, world: u32, group: &dyn Collective) -> Result<Snapshot, TorchError> {
        let gathered = self.history.gather(world, group)?;
        Ok(snapshot::take(self, &gathered))
    }

    /// A copy of it as it lies in memory, for a checkpoint, in one of `buffers`. Of a group it needs what [`State::snapshot`] needs.
    pub fn freeze(
        &self,
        world: u32,
        group: &dyn Collective,
        buffers: &Buffers,
    ) -> Result<Frozen, TorchError> {
        let gathered = self.history.gather(world, group)?;
        Ok(frozen::freeze(self, &gathered, buffers))
    }

    /// Bytes of [`State::freeze`]'s copy.
    pub fn n_frozen_bytes(&self, world: u32) -> usize {
        let n_histories = match self.history {
            Histories::Shared(_) => 1,
            Histories::PerRank(_) => world as usize,
        };
        frozen::n_bytes(self, n_histories)
    }

    /// The digest of a snapshot of it, tensor by tensor without one being made; none with local statistics, of which a device has
    /// only a part.
    pub fn digest(&self) -> Option<String> {
        snapshot::digest(self)
    }

    /// This device's part in a snapshot that another device takes.
    pub fn give_to_snapshot(&self, world: u32, group: &dyn Collective) -> Result<(), TorchError> {
        self.history.gather(world, group).map(drop)
    }

    /// Overwrites it with a snapshot.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        snapshot::restore(self, snapshot)
    }
}

fn histories(recipe: &Recipe, form: &Form, ranks: &[Rank], options: (Kind, Device)) -> Histories {
    Histories::new(recipe.training.teacher_statistics, form, ranks, options)
}

/// What a state's tensors are made of.
pub fn kind(recipe: &Recipe) -> Kind {
    match recipe.training.dtype {
        Dtype::Float32 | Dtype::Bfloat16 => Kind::Float,
        Dtype::Float64 => Kind::Double,
    }
}

/// What activations are made of.
pub fn activations(recipe: &Recipe) -> Kind {
    match recipe.training.dtype {
        Dtype::Float32 => Kind::Float,
        Dtype::Float64 => Kind::Double,
        Dtype::Bfloat16 => Kind::BFloat16,
    }
}
