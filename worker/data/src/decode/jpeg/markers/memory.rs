//! How much memory decoding takes at most, by the frame header alone: what claims too much is refused before it is begun.

use super::Frame;

impl Frame {
    /// Bytes held at once, the picture included and the file not.
    pub(in super::super) fn memory(&self, is_rare: bool) -> u64 {
        let n_pixels = u64::from(self.width) * u64::from(self.height);
        let planes = self.planes();
        let coefficients = if self.is_progressive { 2 * planes } else { 0 };
        // The decoder of rare kinds makes whole planes, and of them a picture with all components.
        let between = if is_rare {
            planes + n_pixels * self.components.len() as u64
        } else {
            0
        };
        3 * n_pixels + coefficients + between
    }

    /// Samples of all components, filled up to whole blocks as the data hold them.
    fn planes(&self) -> u64 {
        let factors = || {
            let of = |component: &super::Component| (component.horizontal.max(1), component.vertical.max(1));
            self.components.iter().map(of)
        };
        let widest = factors().map(|(h, _)| h).max().unwrap_or(1);
        let tallest = factors().map(|(_, v)| v).max().unwrap_or(1);
        let n_units = |length: u32, factor: u8| u64::from(length).div_ceil(8 * u64::from(factor));
        let n_blocks: u64 = factors().map(|(h, v)| u64::from(h) * u64::from(v)).sum();
        64 * n_blocks * n_units(self.width, widest) * n_units(self.height, tallest)
    }
}
