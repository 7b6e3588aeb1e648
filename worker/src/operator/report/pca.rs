//! The two directions in which features differ most (principal components), by subspace iteration.
//!
//! Why not the whole decomposition: of 2,048 features it would take a minute, and only the first two directions are wanted. A few
//! vectors more than wanted are carried along, so that the first ones settle within a few rounds.

use nalgebra::{DMatrix, SymmetricEigen};

use super::features::Features;

/// Vectors that are carried along.
const CARRIED: usize = 6;
const ROUNDS: usize = 12;

/// Images in the plane of their two first components.
pub(super) struct Plane {
    /// Of each image that was asked for.
    pub(super) points: Vec<(f64, f64)>,
    /// What share of the whole variance each of the two holds, 0 to 1.
    pub(super) shares: [f64; 2],
}

/// The plane of `images`.
pub(super) fn plane(features: &Features, images: &[usize]) -> Plane {
    let centred = centred(features, images);
    let carried = CARRIED.min(features.width);
    let mut vectors = beginning(features.width, carried).qr().q();
    for _ in 0..ROUNDS {
        vectors = centred.tr_mul(&(&centred * &vectors)).qr().q();
    }
    let scores = &centred * vectors; // [n, carried]
    let small = SymmetricEigen::new(scores.tr_mul(&scores)); // [carried, carried]
    let mut order: Vec<usize> = (0..carried).collect();
    order.sort_by(|&a, &b| small.eigenvalues[b].total_cmp(&small.eigenvalues[a]));
    let rotated = scores * &small.eigenvectors;
    let total = centred.norm_squared().max(f64::MIN_POSITIVE);
    let component = |i: usize| order.get(i).copied();
    let at = |row: usize, i: usize| {
        component(i).map_or(0.0, |column| turned(&rotated, column) * rotated[(row, column)])
    };
    let share =
        |i: usize| component(i).map_or(0.0, |column| (small.eigenvalues[column] / total).clamp(0.0, 1.0));
    Plane {
        points: (0..images.len()).map(|row| (at(row, 0), at(row, 1))).collect(),
        shares: [share(0), share(1)],
    }
}

/// Features less their mean: a row an image.
fn centred(features: &Features, images: &[usize]) -> DMatrix<f64> {
    let mut matrix = DMatrix::from_fn(images.len(), features.width, |row, column| {
        f64::from(features.row(images[row])[column])
    });
    for mut column in matrix.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    matrix
}

/// Vectors to begin with, the same in every call: a fixed sequence without a pattern that features could have.
fn beginning(width: usize, n: usize) -> DMatrix<f64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    DMatrix::from_fn(width, n, |_, _| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    })
}

/// A direction has two ends; that with the farthest point is drawn to the right, or to the top.
fn turned(scores: &DMatrix<f64>, column: usize) -> f64 {
    let farthest = scores
        .column(column)
        .iter()
        .copied()
        .max_by(|a, b| a.abs().total_cmp(&b.abs()));
    if farthest.unwrap_or_default() < 0.0 {
        -1.0
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::report::features::tests::made;

    #[test]
    fn the_plane_is_that_of_the_two_largest_components() {
        // Along three of 40 directions the images differ, most along the first.
        let n = 300;
        let spread = |i: usize, period: f64| (i as f64 * period).sin();
        let rows = (0..n).map(|i| {
            let mut row = vec![0.0_f32; 40];
            row[0] = 10.0;
            row[7] = (3.0 * spread(i, 1.0)) as f32;
            row[20] = (1.0 * spread(i, 2.3)) as f32;
            row[33] = (0.2 * spread(i, 3.1)) as f32;
            row
        });
        let features = made(rows, |_| 0);
        let images: Vec<usize> = (0..n).collect();
        let plane = plane(&features, &images);
        let [first, second] = plane.shares;
        assert!((0.86..0.92).contains(&first), "{first}");
        assert!((0.09..0.12).contains(&second), "{second}");
        // What the first component says is what row[7] says, up to its sign.
        let product: f64 = (0..n).map(|i| plane.points[i].0 * spread(i, 1.0)).sum();
        let lengths: f64 = (0..n).map(|i| plane.points[i].0.powi(2)).sum::<f64>().sqrt()
            * (0..n).map(|i| spread(i, 1.0).powi(2)).sum::<f64>().sqrt();
        assert!((product / lengths).abs() > 0.99, "{}", product / lengths);
        // Called again, the same.
        assert_eq!(super::plane(&features, &images).points, plane.points);
    }

    #[test]
    fn one_image_and_equal_images_lie_on_one_point() {
        let features = made(std::iter::repeat_n(vec![1.0, 2.0], 3), |_| 0);
        for images in [vec![0], vec![0, 1, 2]] {
            let plane = plane(&features, &images);
            assert!(
                plane
                    .points
                    .iter()
                    .all(|at| at.0.abs() < 1e-6 && at.1.abs() < 1e-6)
            );
        }
    }
}
