//! The coordinator's shell: gRPC, files, clock and signals around the pure core (m2t-coordinator-core).
//!
//! ```text
//!  daemons ══ gRPC ══► service ── inputs ──► driver (a thread that owns the core) ── effects ──► journal, output folder,
//!  operators ═ gRPC ═►   ▲                      │                                                streams of the daemons
//!                        └── status, messages ──┘
//! ```
//! It decides nothing: what happens goes into the core as an input, what the core answers is carried out in order. It
//! is a library so that tests can run it in their own process: [`open`] prepares a run from its arguments, [`serve`]
//! runs it on a given listener until it ends or is told to stop.

mod args;
mod checkpoints;
mod clock;
mod driver;
mod exit;
mod journal;
mod open;
mod output;
mod server;
mod service;

pub use args::Args;
pub use exit::ExitCode;
pub use open::{Opened, Refused, open};
pub use server::serve;
