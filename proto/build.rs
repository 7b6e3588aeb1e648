//! Compiles the `.proto` files without protoc: protox makes the descriptors, tonic-prost-build the Rust code. The
//! descriptors are kept beside the code for gRPC reflection.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 4] = [
    "m2t/v1/control.proto",
    "m2t/v1/machine.proto",
    "m2t/v1/report.proto",
    "m2t/v1/status.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("m2t.v1.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
