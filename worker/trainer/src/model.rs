//! The networks: encoder, projector, predictor, and how each normalises.
//!
//! A network is plain data: which parameters it has ([`layout`]) and in which order they are applied. Student and
//! teacher are the same [`Network`] with other weights and another [`Normalise`]; the teacher stops before the predictor.
//! Shapes: B images of a rank, C channels, h hidden width, z projection width.

pub mod classifier;
pub mod head;
pub mod initial;
pub mod layout;
pub mod norm;
pub mod resnet;

use m2t_common::recipe::{Model, Recipe};
use tch::Tensor;

use classifier::Classifier;
use head::Head;
use layout::{Extent, Layout};
pub use norm::Normalise;
use resnet::Encoder;

/// What a state is made of: what is trained, and how much of it the teacher has.
#[derive(Clone, Debug)]
pub struct Form {
    /// Parameters and normalisation layers of what is trained: the student, or a linear head.
    pub layout: Layout,
    /// How much of it the teacher has; a linear head has none.
    pub teacher: Extent,
}

impl Form {
    /// That of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        match &recipe.training.linear {
            None => Network::new(&recipe.model).form(),
            Some(linear) => Self {
                layout: Classifier::new(&recipe.model, linear.classes).layout,
                teacher: Layout::default().extent(),
            },
        }
    }
}

/// Encoder, projector and predictor of one recipe.
#[derive(Debug)]
pub struct Network {
    /// All parameters and normalisation layers of the student, in the order of the forward.
    pub layout: Layout,
    /// How much of it the teacher has: all before the predictor.
    pub teacher: Extent,
    /// How much of it the encoder has.
    pub encoder_extent: Extent,
    encoder: Encoder,
    projector: Head,
    predictor: Head,
}

impl Network {
    /// The network of a recipe.
    pub fn new(model: &Model) -> Self {
        let mut layout = Layout::default();
        let encoder = Encoder::new(model, &mut layout);
        let encoder_extent = layout.extent();
        let (hidden, low) = (i64::from(model.hidden_dim), i64::from(model.low_dim));
        let projector = Head::new(&mut layout, [0, 1, 3], [encoder.width, hidden, low]);
        let teacher = layout.extent();
        let predictor = Head::new(&mut layout, [4, 5, 7], [low, hidden, low]);
        Self {
            layout,
            teacher,
            encoder_extent,
            encoder,
            projector,
            predictor,
        }
    }

    /// What a state of it is made of.
    pub fn form(&self) -> Form {
        Form {
            layout: self.layout.clone(),
            teacher: self.teacher,
        }
    }

    /// The student's prediction, of unit length, in the kind of the state whatever the activations are made of.
    pub fn predict(&self, images: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let features = self.encoder.forward(images, weights, norm); // [B, d]
        let projection = self.projector.forward(&features, weights, norm); // [B, z]
        unit_length(&self.predictor.forward(&projection, weights, norm), weights) // [B, z]
    }

    /// The teacher's projection, of unit length, likewise.
    pub fn project(&self, images: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let features = self.encoder.forward(images, weights, norm); // [B, d]
        unit_length(&self.projector.forward(&features, weights, norm), weights) // [B, z]
    }

    /// The encoder's features after global pooling.
    pub fn features(&self, images: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        self.encoder.forward(images, weights, norm) // [B, d]
    }
}

/// Each row divided by its L2 norm, as `torch.nn.functional.normalize`; in the kind of the normalisations' parameters.
fn unit_length(x: &Tensor, weights: &[Tensor]) -> Tensor {
    let x = x.to_kind(weights[1].kind());
    let norm = x.norm_scalaropt_dim(2.0, [1].as_slice(), true).clamp_min(1e-12); // [B, 1]
    x / norm
}

/// Mean over the images of 2 − 2·q·k, for unit vectors the squared distance. Section 3 of the paper.
pub fn distance(prediction: &Tensor, target: &Tensor) -> Tensor {
    let cosine = (prediction * target).sum_dim_intlist([1].as_slice(), false, None); // [B]
    let squared: Tensor = 2.0 - 2.0 * cosine;
    squared.mean(None)
}

#[cfg(test)]
mod tests {
    use m2t_common::recipe::{Arch, Stem};

    use super::*;

    fn published(arch: Arch) -> Network {
        Network::new(&Model {
            arch,
            channels: 64,
            stem: Stem::Imagenet,
            hidden_dim: 4096,
            low_dim: 256,
        })
    }

    fn n_elements(network: &Network, n_parameters: usize) -> i64 {
        network.layout.parameters[..n_parameters]
            .iter()
            .map(layout::Parameter::len)
            .sum()
    }

    #[test]
    fn encoders_have_torchvisions_sizes() {
        for (arch, expected) in [
            (Arch::Resnet18, 11_176_512),
            (Arch::Resnet34, 21_284_672),
            (Arch::Resnet50, 23_508_032),
            (Arch::Resnet101, 42_500_160),
            (Arch::Resnet152, 58_143_808),
        ] {
            let network = published(arch);
            assert_eq!(
                n_elements(&network, network.encoder_extent.n_parameters),
                expected,
                "{arch:?}"
            );
        }
    }

    #[test]
    fn the_published_network_has_the_published_sizes() {
        let network = published(Arch::Resnet50);
        let student = n_elements(&network, network.layout.parameters.len());
        let teacher = n_elements(&network, network.teacher.n_parameters);
        assert_eq!((student, teacher), (35_067_456, 32_957_760));
        assert_eq!(2 * network.teacher.n_channels, 61_312); // mean and variance of each channel
        let names: Vec<&str> = network
            .layout
            .parameters
            .iter()
            .map(|p| p.name.as_str())
            .collect();
        for name in [
            "conv1.weight",
            "bn1.bias",
            "layer1.0.downsample.1.weight",
            "layer4.2.conv3.weight",
            "fc.7.bias",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn the_teacher_is_a_prefix_and_every_parameter_is_aligned() {
        let network = published(Arch::Resnet18);
        let last_of_teacher = &network.layout.parameters[network.teacher.n_parameters - 1];
        assert_eq!(last_of_teacher.name, "fc.3.bias");
        assert!(network.layout.parameters.iter().all(|p| p.offset % 16 == 0));
    }
}
