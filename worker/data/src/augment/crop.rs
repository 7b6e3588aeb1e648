//! Where to crop: torchvision's `RandomResizedCrop.get_params`. Cutting and resizing is the canvas's job.

use m2t_common::random::Stream;
use m2t_common::recipe::Augment;

/// A rectangle within a picture, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropBox {
    /// First row.
    pub top: u32,
    /// First column.
    pub left: u32,
    /// Rows; at least 1.
    pub height: u32,
    /// Columns; at least 1.
    pub width: u32,
}

impl CropBox {
    const TRIES: usize = 10;

    /// Area uniform, ratio log-uniform; ten tries, then the largest centred box whose ratio is within the range.
    pub(super) fn draw(augment: &Augment, (width, height): (u32, u32), stream: &mut Stream) -> Self {
        let area = f64::from(width) * f64::from(height);
        let [narrow, wide] = augment.crop_ratio;
        for _ in 0..Self::TRIES {
            let target = area * stream.uniform(augment.crop_area[0], augment.crop_area[1]);
            let ratio = stream.uniform(narrow.ln(), wide.ln()).exp();
            let w = (target * ratio).sqrt().round_ties_even() as u32;
            let h = (target / ratio).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return Self {
                    top: below(stream, height - h + 1),
                    left: below(stream, width - w + 1),
                    height: h,
                    width: w,
                };
            }
        }
        Self::centered((width, height), [narrow, wide])
    }

    fn centered((width, height): (u32, u32), [narrow, wide]: [f64; 2]) -> Self {
        let ratio = f64::from(width) / f64::from(height);
        let rounded = |side: f64| (side.round_ties_even() as u32).max(1);
        let (w, h) = if ratio < narrow {
            (width, rounded(f64::from(width) / narrow).min(height))
        } else if ratio > wide {
            (rounded(f64::from(height) * wide).min(width), height)
        } else {
            (width, height)
        };
        Self {
            top: (height - h) / 2,
            left: (width - w) / 2,
            height: h,
            width: w,
        }
    }
}

fn below(stream: &mut Stream, n: u32) -> u32 {
    u32::try_from(stream.below(u64::from(n))).expect("it is below a u32")
}
