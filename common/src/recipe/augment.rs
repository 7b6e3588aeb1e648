//! How views are drawn, and where they are made.

use serde::{Deserialize, Serialize};

use super::presets;

/// Where views are made of a decoded picture. Equal but for rounding: whichever it is belongs to the mathematics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AugmentOn {
    /// All of it by the loader's threads.
    #[default]
    Cpu,
    /// The crop by the loader's threads; jitter, blur, greyscale, flip, solarize and normalisation by the trainer's device, a
    /// batch at a time.
    Device,
}

impl AugmentOn {
    /// What is not written, so that older digests stay.
    pub(super) fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }
}

/// The two views: RandomResizedCrop → jitter → blur → greyscale → flip → solarize → normalise. Where two numbers
/// stand, the first is of view 1 and the second of view 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Share of the image's area a crop takes: from, to.
    pub crop_area: [f64; 2],
    /// Width over height of a crop, log-uniform: from, to.
    pub crop_ratio: [f64; 2],
    /// Probability of colour jitter.
    pub jitter_p: f64,
    /// Brightness factor is uniform in 1 ± this.
    pub brightness: f64,
    /// Contrast factor likewise.
    pub contrast: f64,
    /// Saturation factor likewise.
    pub saturation: f64,
    /// Hue turns by up to ± this (1 is a full turn).
    pub hue: f64,
    /// Probability of Gaussian blur, a view each.
    pub blur_p: [f64; 2],
    /// σ of the blur in pixels of the view, uniform: from, to.
    pub blur_sigma: [f64; 2],
    /// Probability of greyscale.
    pub grayscale_p: f64,
    /// Probability of a horizontal flip.
    pub flip_p: f64,
    /// Probability of solarisation, a view each.
    pub solarize_p: [f64; 2],
}

impl Augment {
    /// As published: the built-in defaults.
    pub fn published() -> Self {
        let views = presets::defaults().remove("augment");
        views
            .and_then(|views| views.try_into().ok())
            .expect("the built-in defaults have every key of the two views")
    }
}
