//! A linear probe in closed form: ridge regression from an encoder's features to its images' classes.
//!
//! It has no state that a regroup could lose and no rate to choose, and it is solved anew for each evaluation. The sums it needs are exact:
//! features, of unit length, are rounded to multiples of 2⁻¹⁶, so their products are multiples of 2⁻³² and add in float64 without
//! rounding, for up to two million images. So no order of the devices shows.

use anyhow::ensure;
use m2t_torch::TorchError;
use m2t_torch::collective::{Collective, Op};
use tch::{Device, Kind, Tensor};

use super::tally::Tally;

/// Steps between two features.
const FINENESS: f64 = 65_536.0;
/// λ, as a share of the mean variance of a feature.
pub const RIDGE: f64 = 0.01;

/// What the regression needs to know of the images whose classes are known.
#[derive(Debug)]
pub struct Sums {
    /// Σ x·xᵀ, [D, D].
    products: Tensor,
    /// Σ x of each class, [classes, D].
    sums: Tensor,
    /// Images of each class, `[classes]`.
    counts: Tensor,
}

/// From features to a score a class: the regression of whether an image is of it.
#[derive(Debug)]
pub struct Probe {
    /// [D, classes].
    weight: Tensor,
    /// `[classes]`.
    bias: Tensor,
}

impl Sums {
    /// Of no image: features of this width.
    pub fn none(width: i64, n_classes: u32) -> Self {
        let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Double, Device::Cpu));
        let n_classes = i64::from(n_classes);
        Self {
            products: zeros(&[width, width]),
            sums: zeros(&[n_classes, width]),
            counts: zeros(&[n_classes]),
        }
    }

    /// More images: features [n, D] of unit length, and their classes.
    pub fn add(&mut self, rows: &Tensor, labels: &[u32]) {
        let rows = rounded(rows);
        let labels: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
        let (labels, ones) = (
            Tensor::from_slice(&labels),
            rows.new_ones([rows.size()[0]], (Kind::Double, Device::Cpu)),
        );
        self.products += rows.tr().matmul(&rows);
        let _ = self.sums.index_add_(0, &labels, &rows);
        let _ = self.counts.index_add_(0, &labels, &ones);
    }

    /// Of the images of all devices.
    ///
    /// # Errors
    /// When the group breaks.
    pub fn over(mut self, group: &dyn Collective) -> Result<Self, TorchError> {
        for sum in [&mut self.products, &mut self.sums, &mut self.counts] {
            group.combine(sum, Op::Sum)?;
        }
        Ok(self)
    }

    /// W = (cov(x) + λ)⁻¹ cov(x, y), y being 1 for the own class and 0 for others. λ is `ridge` times the mean variance of a feature.
    ///
    /// # Errors
    /// When there is no such matrix: features that are not numbers.
    pub fn solve(&self, ridge: f64) -> anyhow::Result<Probe> {
        let (n, width) = (self.counts.sum(Kind::Double), self.products.size()[0]);
        let shares = &self.counts / &n; // [classes]
        let mean = self.sums.sum_dim_intlist([0].as_slice(), false, Kind::Double) / &n; // [D]
        let covariance: Tensor = &self.products / &n - mean.outer(&mean); // [D, D]
        let with_classes: Tensor = &self.sums / &n - shares.outer(&mean); // [classes, D]
        let lambda: Tensor = covariance.trace() * (ridge / width as f64) + 1e-12;
        ensure!(
            lambda.double_value(&[]).is_finite(),
            "the features of the encoder are not finite"
        );
        let regular = covariance + Tensor::eye(width, (Kind::Double, Device::Cpu)) * lambda;
        let factor = regular.f_linalg_cholesky(false)?;
        let weight = with_classes.tr().f_cholesky_solve(&factor, false)?; // [D, classes]
        let bias = shares - mean.unsqueeze(0).matmul(&weight).squeeze_dim(0);
        Ok(Probe { weight, bias })
    }
}

impl Probe {
    /// A score a class for each row, [n, classes].
    pub fn scores(&self, rows: &Tensor) -> Tensor {
        rounded(rows).matmul(&self.weight) + &self.bias
    }

    /// Images with these features and classes, counted.
    pub fn tally(&self, tally: &mut Tally, rows: &Tensor, labels: &[u32]) {
        tally.add(&self.scores(rows), labels);
    }
}

/// In float64 on the CPU, as multiples of 2⁻¹⁶.
fn rounded(rows: &Tensor) -> Tensor {
    (rows.to_device(Device::Cpu).to_kind(Kind::Double) * FINENESS).round() / FINENESS
}
