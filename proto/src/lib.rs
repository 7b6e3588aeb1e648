//! Wire types of package `m2t.v1` and the conversions between them and m2t-common; nothing else.
//!
//! [`wire`] is generated from `proto/m2t/v1/*.proto`. Everything inside the programs speaks m2t-common: a message is
//! converted where it enters or leaves a gRPC service. Towards the wire nothing can fail (`From`); from the wire every
//! field is checked (`TryFrom`, [`WireError`] names the field).

mod convert;
mod error;

pub use error::WireError;

/// The generated messages, clients and servers.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; the .proto files hold the comments"
)]
pub mod wire {
    tonic::include_proto!("m2t.v1");
}

/// The descriptors of all `m2t.v1` files, encoded, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/m2t.v1.bin"));
