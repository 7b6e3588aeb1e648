//! The fake trainer: what it computes, and how a test steers it.
//!
//! It speaks the trainer link, meets its group over TCP and keeps in step with it, and writes checkpoints that are
//! valid in form. Like a real one it outlives generations and keeps its state. But its "state" is 32 bytes and a step one hash. So a cluster of real coordinators and daemons runs
//! through hundreds of steps a second without libtorch, and its final state still tells whether any step was lost,
//! repeated or taken from the wrong checkpoint.

mod checkpoint;
mod control;
mod gpus;
mod inbox;
mod lane;
mod leave;
mod life;
mod train;

use m2t_common::{Rank, Recipe, Step};

pub use control::{Control, Fault, VARIABLE as CONTROL_VARIABLE};
pub use gpus::gpus;
pub use life::run;

/// The state after some step. Like a real one it depends on the recipe and all steps before, never on a placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State([u8; 32]);

impl State {
    /// The state at step 0.
    pub fn initial(recipe: &Recipe) -> Self {
        Self(*blake3::hash(recipe.digest().0.as_bytes()).as_bytes())
    }

    /// The state after `step`, which is the one about to be taken.
    #[must_use]
    pub fn after(&self, step: Step) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&step.0.to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// What a memory that errs makes of it.
    #[must_use]
    pub fn with_a_bit_flipped(mut self) -> Self {
        self.0[7] ^= 0x10;
        self
    }

    /// The state after `n_steps` from the beginning, as an uninterrupted run has it.
    pub fn at(recipe: &Recipe, n_steps: u64) -> Self {
        (0..n_steps).fold(Self::initial(recipe), |state, step| state.after(Step(step)))
    }

    /// Its digest.
    pub fn digest(&self) -> String {
        blake3::hash(&self.0).to_hex().to_string()
    }
}

/// The loss a rank has in `step`, the one about to be taken.
pub fn loss_of_rank(step: Step, rank: Rank) -> f64 {
    4.0 / (1.0 + step.0 as f64) + 0.001 * f64::from(rank.0)
}

/// The losses of all ranks, and their mean.
pub fn losses(step: Step, world: u32) -> (Vec<f64>, f64) {
    let by_rank: Vec<f64> = (0..world).map(|rank| loss_of_rank(step, Rank(rank))).collect();
    let mean = by_rank.iter().sum::<f64>() / f64::from(world);
    (by_rank, mean)
}
