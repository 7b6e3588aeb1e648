//! SGD and LARS, as published: momentum 0.9, the flat vectors updated in place.

use m2t_common::recipe::{OptimizerKind, Training};
use m2t_torch::flat::{self, Descent};
use tch::Tensor;

use crate::model::layout::{Layout, Role};

/// An optimizer with its constants.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    trust_coefficient: f64,
}

impl Optimizer {
    /// As the recipe says.
    pub fn new(training: &Training) -> Self {
        Self {
            kind: training.optimizer,
            momentum: training.momentum,
            weight_decay: training.weight_decay,
            trust_coefficient: training.trust_coefficient,
        }
    }

    /// Updates parameters p and buffer from the gradient g, all flat and of one layout.
    ///
    /// SGD: d = g + wd·p; buf ← 0.9·buf + d; p ← p − lr·buf. A buffer of zeros makes the first step's buf = d.
    /// LARS: buf ← 0.9·buf + a·(g + wd·p); p ← p − buf, where a is the parameter's own rate: the rate is *inside* the buffer.
    /// Weight decay acts on every parameter.
    pub fn update(&self, layout: &Layout, [p, buffer]: [&mut Tensor; 2], g: &Tensor, lr: f64) {
        match self.kind {
            OptimizerKind::Sgd => descend([p, buffer], g, self.descent(1.0, lr)),
            OptimizerKind::Lars => {
                for parameter in &layout.parameters {
                    let own = |flat: &Tensor| flat.narrow(0, parameter.offset, parameter.len());
                    let (mut p, mut buffer, g) = (own(p), own(buffer), own(g));
                    let rate = self.rate(parameter.role, &p, &g, lr);
                    descend([&mut p, &mut buffer], &g, self.descent(rate, 1.0));
                }
            }
        }
    }

    fn descent(&self, inner: f64, outer: f64) -> Descent {
        Descent {
            momentum: self.momentum,
            inner,
            decay: self.weight_decay,
            outer,
        }
    }

    /// a = lr·η·‖p‖/(‖g‖ + wd·‖p‖) for weights of convolutions and linear layers, if ‖p‖·‖g‖ > 1e-8; else lr.
    fn rate(&self, role: Role, p: &Tensor, g: &Tensor, lr: f64) -> f64 {
        match role {
            Role::NormWeight | Role::NormBias | Role::LinearBias { .. } | Role::ClassifierBias => lr,
            Role::Convolution | Role::Linear | Role::ClassifierWeight => {
                let (p, g) = (norm(p), norm(g));
                if p * g > 1e-8 {
                    lr * self.trust_coefficient * p / (g + self.weight_decay * p)
                } else {
                    lr
                }
            }
        }
    }
}

const FLAT: &str = "parameters, buffer and gradient are flat vectors of one layout";

fn descend(of: [&mut Tensor; 2], g: &Tensor, by: Descent) {
    flat::descend(of, g, by).expect(FLAT);
}

fn norm(x: &Tensor) -> f64 {
    flat::norm(x).expect(FLAT)
}
