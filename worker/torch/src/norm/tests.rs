//! Against libtorch's own operations in float64, there and back, for each instruction set.

use std::process::Command;

use tch::{Device, IndexOp, Kind, Tensor};

use super::*;

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Numbers in a fixed disorder, away from 0 mean.
fn numbers(shape: &[i64], seed: i64) -> Tensor {
    let n: i64 = shape.iter().product();
    let at = Tensor::arange(n, (Kind::Double, Device::Cpu));
    ((at * 12.9898 + seed as f64).sin() * 437.585).frac().view(shape) * 3.0 + 0.5
}

#[derive(Debug)]
struct Way {
    shape: Vec<i64>,
    kind: Kind,
    /// Largest error in units of the largest value.
    within: f64,
    then: &'static str,
}

impl Way {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for shape in [
            &[7, 5][..],
            &[64, 40],
            &[3, 5, 7, 7],
            &[2, 64, 9, 11],
            &[5, 700, 3, 3],
            &[2, 8, 150, 160],
        ] {
            for (kind, within) in [(Kind::Double, 1e-11), (Kind::Float, 2e-5), (Kind::BFloat16, 0.02)] {
                for then in ["nothing", "relu", "add"] {
                    let shape = shape.to_vec();
                    all.push(Self {
                        shape,
                        kind,
                        within,
                        then,
                    });
                }
            }
        }
        all
    }

    /// What is computed in: float32 for bfloat16.
    fn inner(&self) -> Kind {
        match self.kind {
            Kind::Double => Kind::Double,
            _ => Kind::Float,
        }
    }

    fn leaf(&self, shape: &[i64], seed: i64, kind: Kind) -> Tensor {
        // The reference starts from the same rounded numbers.
        numbers(shape, seed)
            .to_kind(kind)
            .detach()
            .set_requires_grad(true)
    }

    fn check(&self, expected: &Tensor, got: &Tensor, what: &str) {
        let size = expected.abs().max().double_value(&[]).max(1e-3);
        let error = (expected - got.to_kind(Kind::Double))
            .abs()
            .max()
            .double_value(&[]);
        assert!(
            error <= self.within * size,
            "{self:?}: {what} is off by {error:e} of {size:e}"
        );
    }
}

fn double(x: &Tensor) -> Tensor {
    x.detach().to_kind(Kind::Double).set_requires_grad(true)
}

fn then<'a>(name: &str, residual: &'a Tensor) -> Then<'a> {
    match name {
        "nothing" => Then::Nothing,
        "relu" => Then::Relu,
        _ => Then::AddRelu(residual),
    }
}

fn what_follows(y: Tensor, name: &str, residual: &Tensor) -> Tensor {
    match name {
        "nothing" => y,
        "relu" => y.relu(),
        _ => (y + residual).relu(),
    }
}

#[test]
fn there_and_back_it_is_libtorchs() {
    for way in Way::all() {
        let channels = way.shape[1];
        let (x, residual) = (
            way.leaf(&way.shape, 1, way.kind),
            way.leaf(&way.shape, 2, way.kind),
        );
        let (weight, bias) = (
            way.leaf(&[channels], 3, way.inner()),
            way.leaf(&[channels], 4, way.inner()),
        );
        let running = [
            Tensor::zeros([channels], (way.inner(), Device::Cpu)),
            Tensor::ones([channels], (way.inner(), Device::Cpu)),
        ];
        let learnt = Learnt {
            weight: &weight,
            bias: &bias,
        };
        let statistics = Statistics {
            mean: &running[0],
            variance: &running[1],
        };
        let y = batch_norm(
            &x,
            learnt,
            statistics,
            (MOMENTUM, EPSILON),
            then(way.then, &residual),
        )
        .unwrap();
        assert_eq!((y.size(), y.kind()), (way.shape.clone(), way.kind), "{way:?}");
        let pull = numbers(&way.shape, 5);
        (&y * pull.to_kind(way.kind)).sum(Kind::Double).backward();

        let reference = [&x, &weight, &bias, &residual].map(double);
        let expected_running = [
            Tensor::zeros([channels], (Kind::Double, Device::Cpu)),
            Tensor::ones([channels], (Kind::Double, Device::Cpu)),
        ];
        let [rx, rw, rb, rr] = &reference;
        let normalised = rx.batch_norm(
            Some(rw),
            Some(rb),
            Some(&expected_running[0]),
            Some(&expected_running[1]),
            true,
            MOMENTUM,
            EPSILON,
            false,
        );
        let expected = what_follows(normalised, way.then, rr);
        (&expected * pull.to_kind(way.kind).to_kind(Kind::Double))
            .sum(Kind::Double)
            .backward();

        way.check(&expected, &y, "the result");
        way.check(&expected_running[0], &running[0], "the running mean");
        way.check(&expected_running[1], &running[1], "the running variance");
        way.check(&rx.grad(), &x.grad(), "the gradient of x");
        way.check(&rw.grad(), &weight.grad(), "the gradient of the weight");
        way.check(&rb.grad(), &bias.grad(), "the gradient of the bias");
        if way.then == "add" {
            way.check(&rr.grad(), &residual.grad(), "the gradient of the residual");
        }
    }
}

#[test]
fn moments_and_a_normalisation_by_given_ones_are_libtorchs() {
    for way in Way::all() {
        let channels = way.shape[1];
        let x = numbers(&way.shape, 1).to_kind(way.kind);
        let [mean, variance] = [0, 1].map(|_| Tensor::zeros([channels], (way.inner(), Device::Cpu)));
        moments(
            &x,
            Statistics {
                mean: &mean,
                variance: &variance,
            },
        )
        .unwrap();
        let exact = x.to_kind(Kind::Double).transpose(0, 1).flatten(1, -1);
        way.check(&exact.mean_dim([1].as_slice(), false, None), &mean, "the mean");
        way.check(
            &exact.var_dim([1].as_slice(), false, false),
            &variance,
            "the variance",
        );

        let (weight, bias) = (
            numbers(&[channels], 3).to_kind(way.inner()),
            numbers(&[channels], 4).to_kind(way.inner()),
        );
        let residual = numbers(&way.shape, 2).to_kind(way.kind);
        let expected = x.to_kind(Kind::Double).batch_norm(
            Some(double(&weight)),
            Some(double(&bias)),
            Some(double(&mean).detach()),
            Some(double(&variance).detach()),
            false,
            0.0,
            EPSILON,
            false,
        );
        let expected = what_follows(expected, way.then, &residual.to_kind(Kind::Double)).detach();
        let by = Statistics {
            mean: &mean,
            variance: &variance,
        };
        let learnt = Learnt {
            weight: &weight,
            bias: &bias,
        };
        let y = normalise(x, learnt, by, EPSILON, then(way.then, &residual)).unwrap();
        way.check(&expected, &y, "the result");
    }
}

#[test]
fn the_number_of_threads_is_not_seen() {
    let x = numbers(&[2, 24, 150, 160], 1).to_kind(Kind::Float);
    let once = |n_threads| {
        crate::set_threads(n_threads);
        let [mean, variance] = [0, 1].map(|_| Tensor::zeros([24], (Kind::Float, Device::Cpu)));
        moments(
            &x,
            Statistics {
                mean: &mean,
                variance: &variance,
            },
        )
        .unwrap();
        let all = Tensor::cat(&[mean, variance], 0);
        Vec::<f32>::try_from(all)
            .unwrap()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    assert_eq!(once(1), once(3));
    crate::set_threads(1);
}

#[test]
fn a_nan_stays_one_through_the_cut() {
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
        let inner = if kind == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let x = numbers(&[4, 3], 1).to_kind(kind);
        let _ = x.i((2, 1)).fill_(f64::NAN);
        let ones = Tensor::ones([3], (inner, Device::Cpu));
        let by = Statistics {
            mean: &ones,
            variance: &ones,
        };
        let learnt = Learnt {
            weight: &ones,
            bias: &ones,
        };
        let y = normalise(x, learnt, by, EPSILON, Then::Relu).unwrap();
        assert!(y.double_value(&[2, 1]).is_nan(), "{kind:?}");
        assert!(y.double_value(&[2, 0]) >= 0.0, "{kind:?}");
    }
}

/// Those of this processor: libtorch takes the one it is told to without looking.
fn instruction_sets() -> Vec<&'static str> {
    let mut sets = vec!["default"];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            sets.push("avx2");
        }
        let wide = ["avx512f", "avx512bw", "avx512vl", "avx512dq"];
        let here = [
            is_x86_feature_detected!("avx512f"),
            is_x86_feature_detected!("avx512bw"),
            is_x86_feature_detected!("avx512vl"),
            is_x86_feature_detected!("avx512dq"),
        ];
        if here.iter().all(|here| *here) {
            sets.push("avx512");
        } else {
            println!("skipped: avx512, for which this processor lacks some of {wide:?}");
        }
    }
    sets
}

/// Libtorch's choice of an instruction set, and with it ours, is made once a process.
#[test]
fn every_instruction_set_passes() {
    const INNER: &str = "M2T_INSTRUCTION_SET_TEST";
    if std::env::var_os(INNER).is_some() {
        return;
    }
    for set in instruction_sets() {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program)
            .args(["norm::tests", "flat::tests", "--test-threads=1"])
            .envs([("ATEN_CPU_CAPABILITY", set), (INNER, "1")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{set}: {said}");
        assert!(
            said.contains("there_and_back_it_is_libtorchs ... ok"),
            "{set}: {said}"
        );
    }
}
