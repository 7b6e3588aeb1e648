//! What a view looks like in memory: the kind of its numbers and their order. Writes a finished picture in that form.
//!
//! Every form holds the same 8-bit levels: `u8` as they are, the others normalised, bfloat16 rounded from float32. What
//! makes the picture is [`augment`](crate::augment)'s job.

use half::bf16;
use zerocopy::FromBytes;

use crate::augment::{Canvas, normalized};

/// The kind of a view's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Element {
    /// Normalised, in float32.
    #[default]
    F32,
    /// Normalised, in bfloat16.
    Bf16,
    /// The 8-bit levels themselves, for a device that normalises.
    U8,
}

/// The order of a view's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[3, pixels, pixels]`: a plane a channel (of a batch: NCHW).
    #[default]
    Planar,
    /// `[pixels, pixels, 3]`: a pixel's channels together (of a batch: NHWC).
    ChannelsLast,
}

/// What a view looks like in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewFormat {
    /// The kind of its numbers.
    pub element: Element,
    /// Their order.
    pub layout: Layout,
}

impl Element {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }
}

impl ViewFormat {
    /// Bytes of a view of `pixels` × `pixels`.
    pub fn view_size(self, pixels: u32) -> usize {
        3 * (pixels as usize).pow(2) * self.element.size()
    }

    /// Writes the picture on `canvas` to `out`, which has [`view_size`](Self::view_size) bytes and is aligned for its
    /// numbers.
    pub(super) fn write(self, canvas: &Canvas, out: &mut [u8]) {
        match (self.element, self.layout) {
            (Element::F32, Layout::Planar) => {
                canvas.write_normalized(<[f32]>::mut_from_bytes(out).expect("views are aligned for float32"));
            }
            (Element::F32, Layout::ChannelsLast) => {
                self.place(canvas, out, |channel, level| {
                    normalized(channel, level).to_ne_bytes()
                });
            }
            (Element::Bf16, _) => self.place(canvas, out, |channel, level| {
                bf16::from_f32(normalized(channel, level)).to_ne_bytes()
            }),
            (Element::U8, _) => self.place(canvas, out, |_, level| [level]),
        }
    }

    /// Puts `number` of each channel's levels where the layout wants it.
    fn place<const N: usize>(self, canvas: &Canvas, out: &mut [u8], number: impl Fn(usize, u8) -> [u8; N]) {
        let planes = canvas.planes();
        let n_pixels = planes.len() / 3;
        let (numbers, rest) = out.as_chunks_mut::<N>();
        assert!(
            numbers.len() == planes.len() && rest.is_empty(),
            "a view has three channels of pixels²"
        );
        for (channel, plane) in planes.chunks_exact(n_pixels).enumerate() {
            match self.layout {
                Layout::Planar => {
                    for (out, level) in numbers[channel * n_pixels..].iter_mut().zip(plane) {
                        *out = number(channel, *level);
                    }
                }
                Layout::ChannelsLast => {
                    for (pixel, level) in numbers.as_chunks_mut::<3>().0.iter_mut().zip(plane) {
                        pixel[channel] = number(channel, *level);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::center_view;
    use crate::decode::Image;
    use crate::fixtures::gradient;

    const PIXELS: u32 = 21;

    fn canvas() -> (Canvas, Vec<f32>) {
        let image = Image {
            width: 40,
            height: 31,
            pixels: gradient(40, 31, 3),
        };
        let mut canvas = Canvas::new(PIXELS);
        let mut planar = vec![0.0; 3 * (PIXELS as usize).pow(2)];
        center_view(&image, &mut canvas, &mut planar);
        (canvas, planar)
    }

    /// A view as numbers, in the order of its layout.
    fn written(element: Element, layout: Layout) -> Vec<f32> {
        let format = ViewFormat { element, layout };
        let mut out = bytes::BytesMut::zeroed(format.view_size(PIXELS));
        format.write(&canvas().0, &mut out);
        match element {
            Element::F32 => out.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect(),
            Element::Bf16 => out
                .as_chunks()
                .0
                .iter()
                .map(|b| bf16::from_ne_bytes(*b).to_f32())
                .collect(),
            Element::U8 => out.iter().map(|level| f32::from(*level)).collect(),
        }
    }

    #[test]
    fn every_form_holds_the_same_picture() {
        let (_, planar) = canvas();
        let n = (PIXELS as usize).pow(2);
        for layout in [Layout::Planar, Layout::ChannelsLast] {
            let [f32s, bf16s, levels] =
                [Element::F32, Element::Bf16, Element::U8].map(|element| written(element, layout));
            for (i, expected) in planar.iter().enumerate() {
                let (channel, pixel) = (i / n, i % n);
                let at = match layout {
                    Layout::Planar => channel * n + pixel,
                    Layout::ChannelsLast => 3 * pixel + channel,
                };
                assert_eq!(f32s[at], *expected, "{layout:?} {channel} {pixel}");
                assert_eq!(bf16s[at], bf16::from_f32(*expected).to_f32());
                assert_eq!(normalized(channel, levels[at] as u8), *expected);
            }
        }
    }
}
