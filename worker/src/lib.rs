//! The daemon of a machine, and m2t, the operator tool.
//!
//! The daemon is a pure core ([`supervisor`]) in a thin shell ([`daemon`]). It computes nothing and holds no tensor:
//! it starts a machine's trainers, hands lines to and fro, and ends them. [`operator`] is what `m2t` does.

mod child;
pub mod contact;
pub mod daemon;
pub mod devices;
pub mod ending;
pub mod gpus;
pub mod operator;
pub mod supervisor;
