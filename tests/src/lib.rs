//! What the tests of whole programs share: a harness of real processes, and the mathematics of the fake trainer.
//!
//! The tests themselves lie beside this folder, one folder a `[[test]]`.

pub mod fake;
pub mod harness;
