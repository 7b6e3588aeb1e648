//! What is known already of images that come again, so that nobody reads them: features of a frozen encoder.

use std::fmt;
use std::sync::Arc;

use m2t_common::shard::Sample;

/// What is known of a rank's images, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownImages {
    /// The features of each, one after the other, as the bytes of their numbers.
    pub features: Vec<u8>,
    /// The class of each, of a replaced file that of the one in its place.
    pub classes: Vec<u32>,
}

type Look = dyn Fn(u64, &[Sample]) -> Option<KnownImages> + Send + Sync;

/// Says what is known of samples as an epoch draws them: of all that are asked for, or nothing.
#[derive(Clone)]
pub struct Known(Arc<Look>);

impl Known {
    /// As `look` says. It is asked before a batch is begun, by whoever takes the one before.
    pub fn by(look: impl Fn(u64, &[Sample]) -> Option<KnownImages> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(super) fn of(&self, epoch: u64, samples: &[Sample]) -> Option<KnownImages> {
        (self.0)(epoch, samples)
    }
}

impl Default for Known {
    /// Nothing is known.
    fn default() -> Self {
        Self::by(|_, _| None)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}
