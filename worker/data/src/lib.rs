//! From a folder of photographs to batches of two augmented views: index, decode, augment, loader.
//!
//! Everything is a pure function of the files' bytes, the recipe and the seed, so that any device, thread or restart
//! makes the same views, to the bit. Nothing here knows a network, a tensor or a coordinator.

pub mod arrange;
pub mod augment;
mod beside;
pub mod check;
pub mod decode;
pub mod index;
pub mod listing;
pub mod loader;
pub mod pack;
mod parallel;
pub mod sample;
mod simd;
pub mod synth;

#[cfg(test)]
mod fixtures;

pub use augment::{Canvas, ViewKey, ViewParameters};
pub use decode::{DecodeError, Decoder, Image, decode};
pub use index::{Cache, Index, IndexError};
pub use listing::{Listing, ListingError};
pub use loader::{Batch, Element, Layout, LoadError, Loader, LoaderSettings, Stopper, ViewFormat};
