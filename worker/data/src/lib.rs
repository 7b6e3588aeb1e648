//! Index, decode, augment, loader.
