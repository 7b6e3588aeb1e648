//! Tells the binaries where libtorch lies: beside the workspace, so that a moved checkout still starts, and where it
//! was found at build time. And writes what `m2t-trainer --version` says.

fn main() {
    let lib = std::env::var("DEP_M2T_TORCH_LIBTORCH_LIB").expect("m2t-torch says where libtorch lies");
    for rpath in [
        "$ORIGIN/../../.libtorch/torch/lib",
        "$ORIGIN/../../../.libtorch/torch/lib",
        &lib,
    ] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{rpath}");
    }
    m2t_build_facts::write(&["worker/trainer", "worker/torch", "worker/data", "common"]);
}
