//! Against the same arithmetic a value at a time.

use tch::Device;

use super::*;

/// Longer than a piece of work, and odd.
const N: usize = (1 << 18) + 77;

fn numbers(seed: f64) -> Vec<f64> {
    (0..N)
        .map(|i| f64::from(((i as f64 * 12.9898 + seed).sin() * 437.585).fract() as f32))
        .collect()
}

fn vector(values: &[f64], kind: Kind) -> Tensor {
    Tensor::from_slice(values).to_kind(kind)
}

fn values(x: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(x.to_kind(Kind::Double)).unwrap()
}

fn assert_near(got: &Tensor, expected: impl Iterator<Item = f64>, kind: Kind) {
    let within = if kind == Kind::Float { 3e-7 } else { 1e-15 };
    for (i, (got, expected)) in values(got).into_iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= within * expected.abs().max(1.0),
            "{kind:?} {i}: {got} is not {expected}"
        );
    }
}

const KINDS: [Kind; 2] = [Kind::Float, Kind::Double];

#[test]
fn the_largest_is_found_wherever_it_stands_and_a_nan_before_it() {
    for kind in KINDS {
        for at in [0, 1, N / 2, N - 1] {
            let mut some = numbers(1.0);
            some[at] = -7.5;
            assert_eq!(largest(&vector(&some, kind)).unwrap(), 7.5);
            some[N - 1 - at] = f64::NAN;
            assert!(largest(&vector(&some, kind)).unwrap().is_nan());
            some[N - 1 - at] = f64::NEG_INFINITY;
            assert_eq!(largest(&vector(&some, kind)).unwrap(), f64::INFINITY);
        }
        assert_eq!(largest(&vector(&[], kind)).unwrap(), 0.0);
    }
}

#[test]
fn integers_are_the_rounded_values_and_come_back() {
    for kind in KINDS {
        let (one, other) = (numbers(1.0), numbers(2.0));
        let scale = 2f64.powi(40);
        let mut total = Tensor::empty([N as i64], (Kind::Int64, Device::Cpu));
        quantise(&vector(&one, kind), scale, Into::Place, &mut total).unwrap();
        quantise(&vector(&other, kind), scale, Into::Sum, &mut total).unwrap();
        let expected: Vec<i64> = one
            .iter()
            .zip(&other)
            .map(|(a, b)| (a * scale).round_ties_even() as i64 + (b * scale).round_ties_even() as i64)
            .collect();
        assert_eq!(Vec::<i64>::try_from(&total).unwrap(), expected);
        let mut back = vector(&one, kind);
        dequantise(&total, 0.5 / scale, &mut back).unwrap();
        assert_near(
            &back,
            expected.iter().map(|total| *total as f64 * 0.5 / scale),
            kind,
        );
    }
}

#[test]
fn halves_round_to_even() {
    let mut total = Tensor::empty([4], (Kind::Int64, Device::Cpu));
    quantise(
        &vector(&[0.5, 1.5, -0.5, -2.5], Kind::Float),
        1.0,
        Into::Place,
        &mut total,
    )
    .unwrap();
    assert_eq!(Vec::<i64>::try_from(&total).unwrap(), [0, 2, 0, -2]);
}

#[test]
fn descent_and_following_are_their_formulas() {
    let by = Descent {
        momentum: 0.9,
        inner: 0.5,
        decay: 0.25,
        outer: 0.125,
    };
    for kind in KINDS {
        let (p, b, g) = (numbers(1.0), numbers(2.0), numbers(3.0));
        let (mut parameters, mut buffer) = (vector(&p, kind), vector(&b, kind));
        descend([&mut parameters, &mut buffer], &vector(&g, kind), by).unwrap();
        let moved = |i: usize| 0.9 * b[i] + 0.5 * (g[i] + 0.25 * p[i]);
        assert_near(&buffer, (0..N).map(moved), kind);
        assert_near(&parameters, (0..N).map(|i| p[i] - 0.125 * moved(i)), kind);
        let mut teacher = vector(&p, kind);
        follow(&mut teacher, &vector(&g, kind), 0.75).unwrap();
        assert_near(&teacher, (0..N).map(|i| 0.75 * p[i] + 0.25 * g[i]), kind);
        let length = g.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm(&vector(&g, kind)).unwrap() - length).abs() < 1e-9 * length);
    }
}

#[test]
fn what_is_no_flat_vector_is_refused() {
    let x = vector(&[1.0; 6], Kind::Float);
    assert!(
        largest(&x.view([2, 3]).transpose(0, 1))
            .unwrap_err()
            .to_string()
            .contains("contiguous")
    );
    assert!(
        largest(&x.to_kind(Kind::Int))
            .unwrap_err()
            .to_string()
            .contains("float or double")
    );
    let mut shorter = Tensor::empty([5], (Kind::Int64, Device::Cpu));
    assert!(
        quantise(&x, 1.0, Into::Place, &mut shorter)
            .unwrap_err()
            .to_string()
            .contains("of 6 elements")
    );
}
