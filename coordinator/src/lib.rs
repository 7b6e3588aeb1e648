//! The coordinator's shell: gRPC, page, files, clock and signals around the pure core (m2t-coordinator-core).
//!
//! ```text
//!  daemons ══ gRPC ══► service ── inputs ──► driver (a thread that owns the core) ── effects ──► journal, output folder,
//!  operators ═ gRPC ═►   ▲                      │                                                streams of the daemons
//!                        └── status, messages ──┤
//!  browsers ══ HTTP ══► page ◄── status ────────┴── effects ──► chronicle (what the run did so far) ──► page, /metrics
//!  Prometheus ═ HTTP ═►  ▲
//! ```
//! It decides nothing: what happens goes into the core as an input, what the core answers is carried out in order. It
//! is a library so that tests can run it in their own process: [`open`] prepares a run from its arguments, [`serve`]
//! runs it on a given listener until it ends or is told to stop.

mod args;
mod checkpoints;
mod chronicle;
mod clock;
mod connections;
mod doorway;
mod driver;
mod exit;
mod exposition;
mod gate;
mod introduction;
mod journal;
mod listeners;
mod open;
mod output;
mod page;
mod security;
mod server;
mod service;

pub use args::{Args, Command};
pub use exit::ExitCode;
pub use listeners::{Http, Listeners};
pub use open::{Opened, Refused, open};
pub use security::{TlsArgs, TokenCommand};
pub use server::serve;
