//! NCCL without a GPU: the groups of `Nccl` over a libnccl.so.2 and a libcuda.so.1 that the test compiles for itself (`nccl/fake/`).
//!
//! The fakes write down each call, really combine tensors of threads of this process, and hang, lag and fail as told. They also
//! judge: a call that breaks a rule of nonblocking communicators fails the test that made it, whatever it tests (`nccl/fake.rs`).
//! No test measures time; a wait that should not end by its deadline has one that no test lives to see.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "nccl/aborts.rs"]
mod aborts;
#[path = "nccl/fake.rs"]
mod fake;
#[path = "nccl/gpus.rs"]
mod gpus;
#[path = "nccl/libraries.rs"]
mod libraries;
#[path = "nccl/operations.rs"]
mod operations;
