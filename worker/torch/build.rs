//! Compiles the shim against the libtorch that torch-sys found, and hands its library folder on to the binaries.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    println!("cargo:libtorch_lib={lib}");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = Path::new(&lib).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_C10D_GLOO", None)
        .include("cpp")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(["cpp/autograd.cpp", "cpp/facts.cpp", "cpp/gloo.cpp"])
        .compile("m2t_torch_shim");
}
