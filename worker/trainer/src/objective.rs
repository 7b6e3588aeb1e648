//! What a step computes of a rank's images, before anything is summed: the loss, and what the state is to take in.
//!
//! There are two: Momentum² Teacher ([`pretraining`]), and the published linear head on a frozen encoder ([`linear`]). All else
//! of a step is the same for both: the sums over ranks, the commit, what is lost when a device goes.

pub mod linear;
pub mod pretraining;

use m2t_common::recipe::Recipe;
use tch::Tensor;

use crate::encoder::FrozenEncoder;
use crate::model::Network;
use crate::model::classifier::Classifier;

/// What is trained.
#[derive(Debug)]
pub enum Objective {
    /// An encoder, by Momentum² Teacher.
    Pretraining(Network),
    /// A linear head.
    Linear {
        /// The head.
        classifier: Classifier,
        /// What is below it.
        encoder: FrozenEncoder,
    },
}

/// The two views of one rank's images, [B, 3, H, W] each, of any kind and anywhere: the step brings them to the state's device; channels last in memory is fastest.
pub type Views = [Tensor; 2];

/// What a rank computes on in a step.
#[derive(Debug)]
pub enum Images {
    /// For pretraining.
    Views(Views),
    /// For a linear head.
    Labelled {
        /// [B, 3, H, W], as views are.
        images: Tensor,
        /// The class of each, `[B]`, int64.
        labels: Tensor,
    },
    /// For a linear head, where the encoder's features are known.
    Features {
        /// [B, d], as the encoder gives them.
        features: Tensor,
        /// As above.
        labels: Tensor,
    },
}

impl From<Views> for Images {
    fn from(views: Views) -> Self {
        Self::Views(views)
    }
}

impl Images {
    /// All tensors of pixels.
    pub(crate) fn pixels(&self) -> &[Tensor] {
        match self {
            Self::Views(views) => views,
            Self::Labelled { images, .. } => std::slice::from_ref(images),
            Self::Features { .. } => &[],
        }
    }
}

impl Objective {
    /// Pretraining as the recipe says.
    pub fn pretraining(recipe: &Recipe) -> Self {
        Self::Pretraining(Network::new(&recipe.model))
    }

    /// A linear head of so many classes.
    pub fn linear(recipe: &Recipe, classes: u32, encoder: FrozenEncoder) -> Self {
        Self::Linear {
            classifier: Classifier::new(&recipe.model, classes),
            encoder,
        }
    }
}
