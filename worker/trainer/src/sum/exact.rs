//! The exact sum: the same bits in every placement.
//!
//! For each segment the largest |value| over all ranks fixes one power of two; values are rounded to int64 at that scale,
//! with headroom for the sum over the world, added as integers inside a device and across devices, and scaled back.
//! Integer addition is associative: neither the order of the ranks nor their grouping on devices can be seen in the result.
//! What is lost is below 2⁻⁶¹ · world of a segment's largest value, far below a float32's own precision.
//!
//! Two rounds: one of maxima (with a slot a rank for "not finite"), one of integers.

use m2t_common::Rank;
use m2t_torch::collective::{Collective, Op};
use m2t_torch::flat::{self, Into};
use tch::{Kind, Tensor};

use super::{Broken, Parts, Shape, vector};

/// The sum over all ranks of all devices, in the kind of the parts.
pub fn sum(parts: Parts<'_>, shape: Shape<'_>, world: u32, group: &dyn Collective) -> Result<Tensor, Broken> {
    let maxima = maxima_over_ranks(parts, shape, world, group)?;
    let exponents: Vec<i32> = maxima
        .iter()
        .map(|&largest| scale_exponent(largest, world))
        .collect();
    let up = scales(&exponents, shape.segments, 1);
    let mut total: Option<Tensor> = None;
    for (_, part) in parts {
        let integers = (part.to_kind(Kind::Double) * &up).round_().to_kind(Kind::Int64);
        total = Some(match total {
            None => integers,
            Some(mut total) => {
                total += integers;
                total
            }
        });
    }
    let mut total = total.expect("a device hosts at least one rank");
    group.combine(&mut total, Op::Sum)?;
    let down = scales(&exponents, shape.segments, -1);
    Ok((total.to_kind(Kind::Double) * down).to_kind(parts[0].1.kind()))
}

/// The mean over all ranks of all devices of flat vectors, as one segment.
pub fn mean(
    parts: Parts<'_>,
    what: &'static str,
    world: u32,
    group: &dyn Collective,
    into: &mut Tensor,
) -> Result<(), Broken> {
    let shape = Shape {
        what,
        segments: &into.size(),
    };
    let largest = maxima_over_ranks(parts, shape, world, group)?[0];
    let exponent = scale_exponent(largest, world);
    let mut total = Tensor::empty(into.size(), (Kind::Int64, into.device()));
    for (i, (_, part)) in parts.iter().enumerate() {
        let how = if i == 0 { Into::Place } else { Into::Sum };
        flat::quantise(part, 2f64.powi(exponent), how, &mut total)?;
    }
    group.combine(&mut total, Op::Sum)?;
    Ok(flat::dequantise(
        &total,
        2f64.powi(-exponent) / f64::from(world),
        into,
    )?)
}

/// The ranks, over all devices, whose values are not finite. Every device must call it.
pub fn ranks_not_finite(
    own: &[(Rank, bool)],
    world: u32,
    group: &dyn Collective,
) -> Result<Vec<Rank>, Broken> {
    let mut flags = vector(&flags(own.iter().copied(), world));
    group.combine(&mut flags, Op::Max)?;
    Ok(named(&values(&flags)))
}

/// The largest |value| of each segment over all ranks of all devices.
fn maxima_over_ranks(
    parts: Parts<'_>,
    shape: Shape<'_>,
    world: u32,
    group: &dyn Collective,
) -> Result<Vec<f64>, Broken> {
    let n_segments = shape.segments.len();
    let mut largest = vec![0f64; n_segments];
    let mut finite = Vec::with_capacity(parts.len());
    for (rank, part) in parts {
        let own = maxima(part, shape.segments)?;
        finite.push((*rank, own.iter().all(|value| value.is_finite())));
        for (largest, own) in largest.iter_mut().zip(own) {
            // A value that is not finite is told by its rank's flag; max over devices need not order NaN.
            *largest = if own.is_finite() {
                largest.max(own)
            } else {
                *largest
            };
        }
    }
    largest.extend(flags(finite.into_iter(), world));
    let mut message = vector(&largest);
    group.combine(&mut message, Op::Max)?;
    let mut all = values(&message);
    let ranks = named(&all.split_off(n_segments));
    if ranks.is_empty() {
        Ok(all)
    } else {
        Err(Broken::NotFinite {
            what: shape.what,
            ranks,
        })
    }
}

fn maxima(part: &Tensor, segments: &[i64]) -> Result<Vec<f64>, Broken> {
    if let [_] = segments {
        return Ok(vec![flat::largest(part)?]);
    }
    // Many short segments: one pass here beats an operation each.
    let values = values(part);
    let mut rest = values.as_slice();
    let mut maxima = Vec::with_capacity(segments.len());
    for &length in segments {
        let (segment, behind) = rest.split_at(usize::try_from(length).unwrap_or_default());
        maxima.push(segment.iter().fold(0f64, |largest, v| {
            if v.is_nan() {
                f64::NAN
            } else {
                largest.max(v.abs())
            }
        }));
        rest = behind;
    }
    Ok(maxima)
}

/// e, so that `world` values below `largest`, times 2^e and rounded, add up within ±2⁶².
fn scale_exponent(largest: f64, world: u32) -> i32 {
    if largest == 0.0 {
        return 0;
    }
    let headroom = 32 - (world - 1).leading_zeros() as i32; // ⌈log₂ world⌉
    // 2^1000 keeps the scale itself and its inverse finite for the tiniest values.
    (62 - headroom - exponent_above(largest)).clamp(-1000, 1000)
}

/// The smallest x with `value` < 2^x, for a positive finite value.
fn exponent_above(value: f64) -> i32 {
    let x = value.log2().floor() as i32 + 1;
    // log2 rounds: a value just below a power of two may come out as the power itself.
    if value < 2f64.powi(x - 1) { x - 1 } else { x }
}

/// 2^(sign·e) of each segment: one number for one segment, else one an element.
fn scales(exponents: &[i32], segments: &[i64], sign: i32) -> Tensor {
    if let [exponent] = exponents {
        return Tensor::from(2f64.powi(sign * exponent));
    }
    let mut scales = Vec::new();
    for (exponent, &length) in exponents.iter().zip(segments) {
        scales.resize(
            scales.len() + usize::try_from(length).unwrap_or_default(),
            2f64.powi(sign * exponent),
        );
    }
    vector(&scales)
}

fn flags(finite: impl Iterator<Item = (Rank, bool)>, world: u32) -> Vec<f64> {
    let mut flags = vec![0f64; world as usize];
    for (rank, finite) in finite {
        flags[rank.0 as usize] = if finite { 0.0 } else { 1.0 };
    }
    flags
}

fn named(flags: &[f64]) -> Vec<Rank> {
    (0u32..)
        .zip(flags)
        .filter(|(_, flag)| **flag > 0.0)
        .map(|(rank, _)| Rank(rank))
        .collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.to_kind(Kind::Double)).expect("a vector of float64 converts")
}
