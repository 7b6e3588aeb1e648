//! The sums: placements and orders that must not be seen, sizes that must fit, values that must be refused.

use m2t_torch::collective::Solo;

use super::*;

fn parts(values: &[Vec<f32>]) -> Vec<(Rank, Tensor)> {
    (0u32..)
        .map(Rank)
        .zip(values.iter().map(|v| Tensor::from_slice(v)))
        .collect()
}

/// Values of wildly different size: float addition of them depends on its order.
fn contributions(world: usize, n: usize) -> Vec<Vec<f32>> {
    let mut stream = m2t_common::random::Stream::new("sum test", &[world as u64]);
    let mut value = || (stream.normal() * 10f64.powf(stream.uniform(-6.0, 3.0))) as f32;
    (0..world).map(|_| (0..n).map(|_| value()).collect()).collect()
}

fn bits(sum: &Tensor) -> Vec<u32> {
    Vec::<f32>::try_from(sum)
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

#[test]
fn the_exact_sum_does_not_see_the_order() {
    let values = contributions(7, 500);
    let segments = [200i64, 1, 299];
    let sum = |order: &[usize], segments: &[i64]| {
        let ordered: Vec<(Rank, Tensor)> = order
            .iter()
            .map(|&i| (Rank(i as u32), Tensor::from_slice(&values[i])))
            .collect();
        bits(
            &Summation::Exact { world: 7 }
                .sum(
                    &ordered,
                    Shape {
                        what: "test",
                        segments,
                    },
                    &Solo::default(),
                )
                .unwrap(),
        )
    };
    let there = sum(&[0, 1, 2, 3, 4, 5, 6], &segments);
    assert_eq!(there, sum(&[6, 2, 4, 0, 5, 1, 3], &segments));
    // And it is the sum: to the last bit of float32 that float64 would give, but for the segment's smallest values.
    for (i, bits) in there.iter().enumerate() {
        let expected: f64 = values.iter().map(|v| f64::from(v[i])).sum();
        assert!(
            (f64::from(f32::from_bits(*bits)) - expected).abs() <= expected.abs() * 6e-8 + 1e-12,
            "{i}"
        );
    }
    // What the exact sum is for: the float sum of the same numbers does see the order.
    let float = |order: &[usize]| {
        let ordered: Vec<(Rank, Tensor)> = order
            .iter()
            .map(|&i| (Rank(i as u32), Tensor::from_slice(&values[i])))
            .collect();
        bits(
            &Summation::Float { world: 7 }
                .sum(
                    &ordered,
                    Shape {
                        what: "test",
                        segments: &[500],
                    },
                    &Solo::default(),
                )
                .unwrap(),
        )
    };
    assert_ne!(float(&[0, 1, 2, 3, 4, 5, 6]), float(&[6, 2, 4, 0, 5, 1, 3]));
}

#[test]
fn the_widest_world_and_the_largest_values_fit() {
    for largest in [1.0, f32::MAX, 1e-45, 0.0, 3.9999998] {
        let values = vec![vec![largest; 4]; 64];
        let sum = Summation::Exact { world: 64 }
            .sum(
                &parts(&values),
                Shape {
                    what: "test",
                    segments: &[4],
                },
                &Solo::default(),
            )
            .unwrap();
        // 64 · f32::MAX is beyond float32; its average is not, and that is what a step uses.
        let expected = (f64::from(largest) * 64.0) as f32;
        assert_eq!(sum.double_value(&[0]) as f32, expected, "{largest}");
    }
}

#[test]
fn what_is_not_finite_is_named_by_rank() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = contributions(5, 10);
        values[3][4] = bad;
        for (summation, segments) in [
            (Summation::Exact { world: 5 }, &[10i64][..]),
            (Summation::Exact { world: 5 }, &[5, 5]),
            (Summation::Float { world: 5 }, &[10]),
        ] {
            let error = summation
                .sum(
                    &parts(&values),
                    Shape {
                        what: "the gradient",
                        segments,
                    },
                    &Solo::default(),
                )
                .unwrap_err();
            assert!(
                matches!(&error, Broken::NotFinite { ranks, .. } if ranks == &[Rank(3)]),
                "{error}"
            );
            assert!(error.to_string().contains("the gradient of rank 3"), "{error}");
        }
    }
}
