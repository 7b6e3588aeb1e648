//! Writes what `m2t --version` and `m2t-worker --version` say.

fn main() {
    m2t_build_facts::write(&[
        "worker/Cargo.toml",
        "worker/build.rs",
        "worker/src",
        "worker/data",
        "proto",
        "common",
    ]);
}
