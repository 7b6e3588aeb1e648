//! How a group comes to one state: a device that has it whole in memory gives it to those that have none, or an older one.
//!
//! One small all-reduce tells whether anybody needs it; where nobody does, nothing is sent. A broadcast reaches every device, also
//! those that have the state: they take it into a buffer aside, so that one that is cut off costs them nothing.

use m2t_common::machine_link::StartFrom;
use m2t_common::recipe::TeacherStatistics;
use m2t_common::trainer_link::Start;
use m2t_common::{DeviceId, Step};
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Handle, Op};
use tch::{Kind, Tensor};

use crate::state::State;

/// A state that is to be given.
#[derive(Clone, Copy, Debug)]
pub struct Donation {
    /// The donor's place in the group.
    pub root: usize,
    /// The step of its state.
    pub step: Step,
}

/// Why a device cannot start from a donor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DonateError {
    /// Each device holds statistics that the donor has not.
    #[error(
        "with teacher_statistics = \"local\" no device has the whole state to give; start from a checkpoint instead of device {0}"
    )]
    Local(DeviceId),
    /// The donor is not in the group.
    #[error("the donor {donor} is not in the placement; place it, or start from a checkpoint")]
    NotPlaced {
        /// Which device.
        donor: DeviceId,
    },
    /// This device is the donor and has not what it is to give.
    #[error(
        "this device is to give its state at step {expected}, and it {}; name another donor, or start from a checkpoint",
        found.map_or("has none".to_owned(), |step| format!("is at step {step}"))
    )]
    NothingToGive {
        /// The donation's step.
        expected: Step,
        /// The step of its own state.
        found: Option<Step>,
    },
}

impl Donation {
    /// The donation of `donor` at `step` in the group that `start` describes, to or by this device, which has a state at `kept`.
    pub fn check(
        start: &Start,
        donor: &DeviceId,
        step: Step,
        kept: Option<Step>,
    ) -> Result<Self, DonateError> {
        if start.recipe.training.teacher_statistics == TeacherStatistics::Local {
            return Err(DonateError::Local(donor.clone()));
        }
        let root = start.placement.index_of(donor);
        let root = root.ok_or_else(|| DonateError::NotPlaced { donor: donor.clone() })?;
        if *donor == start.device && kept != Some(step) {
            return Err(DonateError::NothingToGive {
                expected: step,
                found: kept,
            });
        }
        Ok(Self { root, step })
    }

    /// Brings the whole group to the donor's state. `kept` is this device's own, always whole: while one is received into it,
    /// and for good if that is cut off, there is none.
    pub fn share(
        self,
        kept: &mut Option<State>,
        blank: impl FnOnce() -> Result<State, TorchError>,
        group: &dyn Collective,
    ) -> Result<(), TorchError> {
        let has_it = |state: &State| state.step == self.step;
        let needs = !kept.as_ref().is_some_and(has_it);
        if !anybody(needs, group)? {
            return Ok(());
        }
        match kept {
            Some(state) if group.index() == self.root => broadcast(&vectors(state), self.root, group),
            Some(state) if has_it(state) => {
                let aside: Vec<Tensor> = vectors(state).iter().map(Tensor::empty_like).collect();
                broadcast(&aside, self.root, group)
            }
            _ => {
                let mut state = match kept.take() {
                    Some(older) => older,
                    None => blank()?,
                };
                broadcast(&vectors(&state), self.root, group)?;
                state.step = self.step;
                *kept = Some(state);
                Ok(())
            }
        }
    }
}

/// A device whose state is not that of the others drops it, whatever its step: it is given theirs.
pub fn drop_distrusted(start: &Start, kept: &mut Option<State>) {
    if let StartFrom::Donor { distrusted, .. } = &start.start_from
        && distrusted.contains(&start.device)
    {
        *kept = None;
    }
}

fn anybody(needs: bool, group: &dyn Collective) -> Result<bool, TorchError> {
    let mut flag = Tensor::from_slice(&[if needs { 1f64 } else { 0.0 }]).to_kind(Kind::Double);
    group.combine(&mut flag, Op::Max)?;
    Ok(flag.double_value(&[0]) > 0.0)
}

fn broadcast(vectors: &[Tensor], root: usize, group: &dyn Collective) -> Result<(), TorchError> {
    let started: Vec<_> = vectors
        .iter()
        .map(|vector| group.broadcast(vector, root))
        .collect::<Result<_, _>>()?;
    started.into_iter().try_for_each(Handle::wait)
}

/// All of a state but its step, sharing its memory.
fn vectors(state: &State) -> Vec<Tensor> {
    let flat = [&state.student.flat, &state.teacher.flat, &state.momentum];
    let mut vectors: Vec<Tensor> = flat.into_iter().map(Tensor::shallow_clone).collect();
    for (_, statistics) in state.history.own() {
        vectors.extend(statistics);
    }
    vectors
}

#[cfg(test)]
mod tests;
