//! Compiles the shim against the libtorch that torch-sys found, and hands its library folder on to the binaries.

use std::path::Path;

/// The loops of kernels.cpp are compiled for each of these, and the one is taken that libtorch itself takes.
const INSTRUCTION_SETS: [(&str, &[&str]); 3] = [
    ("plain", &[]),
    ("avx2", &["-mavx2", "-mfma"]),
    (
        "avx512",
        &[
            "-mavx2",
            "-mfma",
            "-mavx512f",
            "-mavx512bw",
            "-mavx512vl",
            "-mavx512dq",
            "-mprefer-vector-width=512",
        ],
    ),
];

fn main() {
    println!("cargo:rerun-if-changed=cpp");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    println!("cargo:libtorch_lib={lib}");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = Path::new(&lib).with_file_name("include");
    let is_x86 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    let mut shim = cpp();
    if is_x86 {
        shim.define("M2T_X86", None);
    }
    shim.define("_GLIBCXX_USE_CXX11_ABI", "1")
        .define("USE_C10D_GLOO", None)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files(
            [
                "arithmetic",
                "autograd",
                "chunks",
                "facts",
                "flat",
                "gloo",
                "memory",
                "norm",
                "profile",
            ]
            .map(|name| format!("cpp/{name}.cpp")),
        )
        .compile("m2t_torch_shim");
    let n_sets = if is_x86 { INSTRUCTION_SETS.len() } else { 1 };
    for (name, flags) in &INSTRUCTION_SETS[..n_sets] {
        let mut loops = cpp();
        for flag in flags
            .iter()
            .chain(&["-O3", "-fno-math-errno", "-fno-trapping-math"])
        {
            loops.flag(flag);
        }
        if is_x86 {
            loops.define("M2T_X86", None);
        }
        loops
            .define("M2T_KERNELS", format!("kernels_{name}").as_str())
            .file("cpp/kernels.cpp")
            .compile(&format!("m2t_kernels_{name}"));
    }
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false).include("cpp");
    build
}
