//! The memory of views: one piece a rank and view, handed out image by image and put together again, without a copy,
//! and used again for later batches.
//!
//! ```text
//!  pool ──► whole ──split──► a part an image, each owned by the thread that writes it ──join──► Views ──drop──► pool
//! ```
//! Why pieces that are owned: threads write into one batch at the same time without a lock and without `unsafe`.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, BytesMut};
use zerocopy::FromBytes;

use super::format::{Element, ViewFormat};

/// Views begin at multiples of this: a cache line, and the widest vector of a processor.
const ALIGNMENT: usize = 64;

/// One view of each image of a rank, in the order of their places: `[b, 3, pixels, pixels]`, or with the channels last.
/// Its memory is used again once it is dropped.
pub struct Views {
    bytes: BytesMut,
    format: ViewFormat,
    pool: Arc<Pool>,
}

/// The memory of views of one size that nobody looks at.
#[derive(Debug)]
pub(super) struct Pool {
    format: ViewFormat,
    /// Bytes of a whole.
    size: usize,
    free: Mutex<Vec<BytesMut>>,
}

impl Views {
    /// The numbers as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The numbers, where they are float32.
    pub fn f32s(&self) -> Option<&[f32]> {
        (self.format.element == Element::F32)
            .then(|| <[f32]>::ref_from_bytes(&self.bytes).expect("views are aligned for float32"))
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

impl PartialEq for Views {
    fn eq(&self, other: &Self) -> bool {
        self.format == other.format && self.bytes == other.bytes
    }
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes, format, .. } = self;
        write!(f, "Views({} bytes, {format:?})", bytes.len())
    }
}

impl Pool {
    pub(super) fn new(format: ViewFormat, size: usize) -> Arc<Self> {
        Arc::new(Self {
            format,
            size,
            free: Mutex::new(Vec::new()),
        })
    }

    /// A whole to split; what stands in it is of no meaning.
    pub(super) fn take(&self) -> BytesMut {
        self.lock().pop().unwrap_or_else(|| {
            let mut bytes = BytesMut::zeroed(self.size + ALIGNMENT);
            bytes.advance(bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT));
            bytes.truncate(self.size);
            bytes
        })
    }

    /// Puts the parts of a whole together, in their order.
    pub(super) fn join(self: &Arc<Self>, parts: impl Iterator<Item = BytesMut>) -> Views {
        let bytes = parts.reduce(|mut whole, part| {
            whole.unsplit(part);
            whole
        });
        let bytes = bytes.unwrap_or_default();
        assert_eq!(bytes.len(), self.size, "all parts of a whole come back");
        Views {
            bytes,
            format: self.format,
            pool: Arc::clone(self),
        }
    }

    fn give_back(&self, bytes: BytesMut) {
        self.lock().push(bytes);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<BytesMut>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_place_and_memory_is_used_again() {
        let pool = Pool::new(ViewFormat::default(), 12 * 4);
        let mut whole = pool.take();
        let address = whole.as_ptr();
        assert_eq!(address.align_offset(ALIGNMENT), 0);
        let mut parts: Vec<BytesMut> = (0..4).map(|_| whole.split_to(12)).collect();
        for (i, part) in parts.iter_mut().enumerate().rev() {
            part.fill(i as u8);
        }
        drop(whole);
        let views = pool.join(parts.into_iter());
        assert_eq!(views.bytes().as_ptr(), address, "nothing was copied");
        assert_eq!(views.bytes(), [[0; 12], [1; 12], [2; 12], [3; 12]].as_flattened());
        assert_eq!(views.f32s().unwrap().len(), 12);
        drop(views);
        let again = pool.take();
        assert_eq!((again.as_ptr(), again.len()), (address, 48));
    }
}
