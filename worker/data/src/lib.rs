//! Index, decode, augment, loader.

pub mod synth;
