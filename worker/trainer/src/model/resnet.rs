//! ResNet v1.5 ("Deep Residual Learning for Image Recognition", arXiv 1512.03385; the stride sits in the 3×3 of a
//! bottleneck, as in torchvision, whose names the parameters bear).

use m2t_common::recipe::{Arch, Model, Stem};
use m2t_torch::norm::Then;
use tch::Tensor;

use super::layout::{Layout, ParameterId, Role};
use super::norm::{Norm, Normalise};

/// From images [B, 3, H, W] to features [B, d].
#[derive(Debug)]
pub struct Encoder {
    /// d.
    pub width: i64,
    stem: ConvNorm,
    pool: Stem,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct ConvNorm {
    weight: ParameterId,
    stride: i64,
    padding: i64,
    norm: Norm,
}

/// A residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1.
#[derive(Debug)]
struct Block {
    convolutions: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

/// Shape of a convolution.
#[derive(Clone, Copy)]
struct Shape {
    from: i64,
    to: i64,
    kernel: i64,
    stride: i64,
}

impl Encoder {
    /// The encoder of a recipe.
    pub fn new(model: &Model, layout: &mut Layout) -> Self {
        let channels = i64::from(model.channels);
        let (kernel, stride) = match model.stem {
            Stem::Imagenet => (7, 2),
            Stem::Small => (3, 1),
        };
        let stem = ConvNorm::new(
            layout,
            ["conv1", "bn1"],
            Shape {
                from: 3,
                to: channels,
                kernel,
                stride,
            },
        );
        let (depths, bottleneck) = match model.arch {
            Arch::Resnet18 => ([2, 2, 2, 2], false),
            Arch::Resnet34 => ([3, 4, 6, 3], false),
            Arch::Resnet50 => ([3, 4, 6, 3], true),
            Arch::Resnet101 => ([3, 4, 23, 3], true),
            Arch::Resnet152 => ([3, 8, 36, 3], true),
        };
        let mut blocks = Vec::new();
        let mut from = channels;
        for (stage, depth) in depths.into_iter().enumerate() {
            let inner = channels << stage;
            for i in 0..depth {
                let name = format!("layer{}.{i}", stage + 1);
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let block = if bottleneck {
                    Block::bottleneck
                } else {
                    Block::basic
                };
                let (block, to) = block(
                    layout,
                    &name,
                    Shape {
                        from,
                        to: inner,
                        kernel: 3,
                        stride,
                    },
                );
                blocks.push(block);
                from = to;
            }
        }
        Self {
            width: from,
            stem,
            pool: model.stem,
            blocks,
        }
    }

    /// Features after global average pooling.
    pub fn forward(&self, images: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let mut x = self.stem.forward(images, weights, norm, Then::Relu); // [B, C, H/2, W/2], or [B, C, H, W]
        if self.pool == Stem::Imagenet {
            x = x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false); // [B, C, H/4, W/4]
        }
        for block in &self.blocks {
            x = block.forward(&x, weights, norm);
        }
        x.mean_dim([2, 3].as_slice(), false, None) // [B, d]
    }
}

impl ConvNorm {
    fn new(layout: &mut Layout, [conv, norm]: [&str; 2], shape: Shape) -> Self {
        let Shape {
            from,
            to,
            kernel,
            stride,
        } = shape;
        Self {
            weight: layout.parameter(
                format!("{conv}.weight"),
                &[to, from, kernel, kernel],
                Role::Convolution,
            ),
            stride,
            padding: kernel / 2,
            norm: Norm::new(layout, norm, to),
        }
    }

    fn forward(&self, x: &Tensor, weights: &[Tensor], norm: &mut impl Normalise, then: Then<'_>) -> Tensor {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        let y = x.conv2d(
            &weights[self.weight.0],
            None::<Tensor>,
            stride,
            padding,
            [1, 1],
            1,
        );
        self.norm.forward(y, weights, norm, then)
    }
}

impl Block {
    /// Two 3×3; gives as many channels as its inner width.
    fn basic(layout: &mut Layout, name: &str, shape: Shape) -> (Self, i64) {
        let to = shape.to;
        let shapes = [
            shape,
            Shape {
                from: to,
                to,
                kernel: 3,
                stride: 1,
            },
        ];
        (Self::new(layout, name, &shapes), to)
    }

    /// 1×1, 3×3 with the stride, 1×1 to four times the inner width.
    fn bottleneck(layout: &mut Layout, name: &str, shape: Shape) -> (Self, i64) {
        let Shape {
            from,
            to: inner,
            stride,
            ..
        } = shape;
        let shapes = [
            Shape {
                from,
                to: inner,
                kernel: 1,
                stride: 1,
            },
            Shape {
                from: inner,
                to: inner,
                kernel: 3,
                stride,
            },
            Shape {
                from: inner,
                to: 4 * inner,
                kernel: 1,
                stride: 1,
            },
        ];
        (Self::new(layout, name, &shapes), 4 * inner)
    }

    fn new(layout: &mut Layout, name: &str, shapes: &[Shape]) -> Self {
        let mut convolutions = Vec::new();
        for (i, shape) in (1..).zip(shapes) {
            convolutions.push(ConvNorm::new(
                layout,
                [&format!("{name}.conv{i}"), &format!("{name}.bn{i}")],
                *shape,
            ));
        }
        let stride: i64 = shapes.iter().map(|shape| shape.stride).product();
        let (from, to) = (shapes[0].from, shapes[shapes.len() - 1].to);
        let downsample = (stride != 1 || from != to).then(|| {
            let names = [&*format!("{name}.downsample.0"), &*format!("{name}.downsample.1")];
            ConvNorm::new(
                layout,
                names,
                Shape {
                    from,
                    to,
                    kernel: 1,
                    stride,
                },
            )
        });
        Self {
            convolutions,
            downsample,
        }
    }

    fn forward(&self, x: &Tensor, weights: &[Tensor], norm: &mut impl Normalise) -> Tensor {
        let (last, first) = self
            .convolutions
            .split_last()
            .expect("a block has two convolutions or three");
        let mut y = x.shallow_clone();
        for convolution in first {
            y = convolution.forward(&y, weights, norm, Then::Relu);
        }
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x, weights, norm, Then::Nothing),
            None => x.shallow_clone(),
        };
        last.forward(&y, weights, norm, Then::AddRelu(&shortcut))
    }
}
