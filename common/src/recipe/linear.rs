//! Linear evaluation as a run: a linear head on a frozen encoder, trained as published.
//!
//! Why it is a recipe like any other: what makes a pretraining run survive its machines is wanted here, too. Ranks, placements,
//! the sum over ranks, checkpoints and the ledger do not care what is trained.

use serde::{Deserialize, Serialize};

use super::RecipeError;
use super::check::Check;
use crate::evaluation::Side;

/// The table `[linear]`: the encoder below the head, and the head's width. Where the encoder lies is `run.encoder`: a path is no
/// mathematics, and the digest says which encoder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Whose encoder.
    pub side: Side,
    /// Digest of the state that the encoder is part of, as `m2t checkpoint digest` prints it.
    #[serde(default)]
    pub digest: String,
    /// Classes of the data set, as many as its folders.
    #[serde(default)]
    pub classes: u32,
    /// Epochs that draw views of their own; then they come again, and with them features that are kept instead of computed. 0, as
    /// published: each epoch draws its own.
    #[serde(default, skip_serializing_if = "is_published")]
    pub draws: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_published(draws: &u32) -> bool {
    *draws == 0
}

impl Linear {
    /// That it says enough.
    pub(super) fn check(&self, check: &Check<'_>) -> Result<(), RecipeError> {
        check.within("linear.classes", self.classes, 2, 1 << 20)?;
        check.within("linear.draws", self.draws, 0, 1 << 20)?;
        if self.digest.is_empty() {
            let problem = "must be the digest of the encoder's checkpoint (m2t checkpoint digest RUN); m2t eval fills it in";
            return check.refuse("linear.digest", &[], problem);
        }
        Ok(())
    }
}
